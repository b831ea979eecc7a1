// The engine over real architectures, where equal means equal to the bit: on the reference backend
// and on the processor, with either type of cache.
#include <deque>

#include <catch2/catch.hpp>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/core/engine/toy_engine.h"
#include "tests/support/tiny_model.h"

namespace hearth::engine {
namespace {

using test::Answer;
using test::request_of;
using test::Tokens;

/// Prompts that share their first 41 tokens: a whole number of blocks and a part of one.
Tokens prompt_ending_with(std::int32_t token) {
    Tokens tokens;
    for (std::int32_t i = 0; i < 41; ++i) {
        tokens.push_back((11 + 37 * i) % 256);
    }
    for (std::int32_t i = 0; i < 7; ++i) {
        tokens.push_back((token + 5 * i) % 256);
    }
    return tokens;
}

/// Everything a request can be told, for comparison to the bit.
struct Told {
    Tokens tokens;
    std::vector<float> probabilities;
    std::int32_t cached_tokens = 0;
};

struct Kind {
    std::string architecture, backend;
    compute::Dtype cache_type;
};

std::unique_ptr<compute::Backend> make_backend(const std::string& name) {
    if (name == "reference") return reference::make_reference_backend();
    return cpu::make_cpu_backend({.thread_count = 2}).value();
}

struct ModelEngine {
    ModelEngine(const Kind& kind, EngineLimits limits) : backend(make_backend(kind.backend)) {
        limits.cache_type = kind.cache_type;
        auto made = Engine::make(
            test::tiny_model({.architecture = kind.architecture}), *backend, limits, clock);
        REQUIRE(made);
        engine = std::move(*made);
    }
    Told ask(Request request) {
        Told told;
        Answer answer;
        request.sink = [&told, sink = answer.sink()](const Event& event) {
            if (const auto* token = std::get_if<TokenEvent>(&event)) {
                told.probabilities.push_back(token->probability);
            }
            return sink(event);
        };
        REQUIRE(engine->submit(std::move(request)));
        told.tokens = answer.wait().tokens();
        told.cached_tokens = answer.usage().cached_tokens;
        return told;
    }

    test::FakeClock clock;
    std::unique_ptr<compute::Backend> backend;
    std::unique_ptr<Engine> engine;
};

TEST_CASE(
    "real architectures write the same text fresh, after a prefix hit, in pieces and in a batch",
    "[engine][models]") {
    const std::string architecture =
        GENERATE("deepseek2", "qwen3moe", "granitemoe", "llama", "qwen2");
    const std::string backend = GENERATE("reference", "cpu");
    const compute::Dtype cache_type = GENERATE(compute::Dtype::f16, compute::Dtype::q8_0);
    const Kind kind{architecture, backend, cache_type};
    INFO(architecture << " on " << backend << ", cache " << compute::traits(cache_type).name);
    const EngineLimits roomy{.context_tokens_max = 256, .cache_tokens = 1024};
    const Request request = request_of(prompt_ending_with(100), 24);
    const Told fresh = ModelEngine(kind, roomy).ask(request);
    REQUIRE(fresh.tokens.size() == 24);
    CHECK(fresh.cached_tokens == 0);

    SECTION("after a prefix hit that ends inside a block") {
        ModelEngine fixture(kind, roomy);
        fixture.ask(request_of(prompt_ending_with(30), 3));
        const Told again = fixture.ask(request);
        CHECK(again.cached_tokens == 41);
        CHECK(again.tokens == fresh.tokens);
        CHECK(again.probabilities == fresh.probabilities);
    }
    SECTION("again, with all but one token known") {
        ModelEngine fixture(kind, roomy);
        fixture.ask(request);
        const Told again = fixture.ask(request);
        CHECK(again.cached_tokens == 47);
        CHECK(again.tokens == fresh.tokens);
        CHECK(again.probabilities == fresh.probabilities);
    }
    SECTION("in pieces of 7 tokens") {
        EngineLimits limits = roomy;
        limits.prefill_tokens_per_step = 7;
        const Told pieces = ModelEngine(kind, limits).ask(request);
        CHECK(pieces.tokens == fresh.tokens);
        CHECK(pieces.probabilities == fresh.probabilities);
    }
    SECTION("in a batch of eight in which all fight for room") {
        EngineLimits limits = roomy;
        limits.cache_tokens = 160;
        limits.context_tokens_max = 160;
        ModelEngine fixture(kind, limits);
        std::deque<Answer> others(7);
        for (std::size_t i = 0; i < others.size(); ++i) {
            Request other = request_of(prompt_ending_with(static_cast<std::int32_t>(i)), 30);
            other.sink = others[i].sink();
            REQUIRE(fixture.engine->submit(std::move(other)));
        }
        const Told crowded = fixture.ask(request);
        CHECK(crowded.tokens == fresh.tokens);
        CHECK(crowded.probabilities == fresh.probabilities);
        for (Answer& other : others) {
            CHECK(other.wait().tokens().size() == 30);
        }
    }
    SECTION("with drafts and without") {
        EngineLimits limits = roomy;
        limits.draft_tokens_per_step = 0;
        Request repeating = request_of(request.prompt, 60);
        repeating.prompt.insert(
            repeating.prompt.end(), request.prompt.begin(), request.prompt.end() - 3);
        ModelEngine drafting(kind, roomy);
        ModelEngine plain(kind, limits);
        const Told drafted = drafting.ask(repeating);
        const Told told = plain.ask(repeating);
        CHECK(drafted.tokens == told.tokens);
        CHECK(drafted.probabilities == told.probabilities);
        CHECK(drafting.engine->status().tokens_drafted > 0);
        CHECK(plain.engine->status().tokens_drafted == 0);
    }
}

}  // namespace
}  // namespace hearth::engine

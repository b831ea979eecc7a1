// The door of the engine: what it refuses, whom it lets in, what it tells of itself.
#include "core/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <limits>
#include <random>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/core/engine/toy_engine.h"

namespace hearth::engine {
namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::expected_text;
using test::kToyVocab;
using test::prompt_of;
using test::request_of;
using test::Tokens;
using test::ToyEngine;

const SamplingSettings kGreedy{};
const SamplingSettings kWild{.temperature = 1.3F, .top_k = 20, .top_p = 0.95F, .seed = 77};

TEST_CASE("what cannot be is refused with a reason, and the sink is never called", "[engine]") {
    ToyEngine fixture({.context_tokens_max = 50});
    struct Case {
        const char* text;
        ErrorCode code;
        std::function<void(Request&)> change;
    };
    const Case cases[] = {
        {"empty", ErrorCode::invalid_argument, [](Request& r) { r.prompt.clear(); }},
        {"49", ErrorCode::too_large, [](Request& r) { r.prompt.resize(50); }},
        {"token 48", ErrorCode::invalid_argument, [](Request& r) { r.prompt[3] = kToyVocab; }},
        {"token -1", ErrorCode::invalid_argument, [](Request& r) { r.prompt[3] = -1; }},
        {"tokens_max", ErrorCode::invalid_argument, [](Request& r) { r.tokens_max = 0; }},
        {"sink", ErrorCode::invalid_argument, [](Request& r) { r.sink = {}; }},
        {"temperature",
         ErrorCode::invalid_argument,
         [](Request& r) { r.sampling.temperature = std::numeric_limits<float>::quiet_NaN(); }},
        {"temperature",
         ErrorCode::invalid_argument,
         [](Request& r) { r.sampling.temperature = -1; }},
        {"top_k", ErrorCode::invalid_argument, [](Request& r) { r.sampling.top_k = -1; }},
        {"top_p", ErrorCode::invalid_argument, [](Request& r) { r.sampling.top_p = 0; }},
        {"min_p", ErrorCode::invalid_argument, [](Request& r) { r.sampling.min_p = 1.5F; }},
    };
    for (const Case& item : cases) {
        INFO(item.text);
        Answer answer;
        Request request = request_of(prompt_of(10));
        request.sink = answer.sink();
        item.change(request);
        const Result<Ticket> ticket = fixture.started().submit(std::move(request));
        REQUIRE_FALSE(ticket);
        CHECK(ticket.error().code == item.code);
        CHECK(ticket.error().text.find(item.text) != std::string::npos);
        CHECK(answer.ends() == 0);
    }
    CHECK(fixture.started().status().steps == 0);
}

TEST_CASE("a full queue refuses, and takes again when there is room", "[engine]") {
    ToyEngine fixture({.sequences_max = 1, .queue_max = 3});
    fixture.control.hold();
    std::deque<Answer> answers(5);
    fixture.submit(request_of(prompt_of(5)), answers[0]);
    fixture.control.wait_for_steps(1);
    for (std::size_t i = 1; i <= 3; ++i) {
        fixture.submit(request_of(prompt_of(5)), answers[i]);
    }
    CHECK(fixture.started().status().waiting == 3);
    Request request = request_of(prompt_of(5));
    request.sink = answers[4].sink();
    const Result<Ticket> refused = fixture.started().submit(request);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::unavailable);
    fixture.control.open();
    answers[3].wait();
    CHECK(answers[4].ends() == 0);
    CHECK(fixture.started().submit(request));
    answers[4].wait();
}

TEST_CASE("a keystroke gets in at once while long answers fill every slot", "[engine]") {
    ToyEngine fixture({.sequences_max = 3, .prefill_tokens_per_step = 16});
    fixture.control.hold();
    std::deque<Answer> chats(4);
    for (std::int32_t i = 0; i < 4; ++i) {
        fixture.submit(request_of(prompt_of(300, i), 200), chats[static_cast<std::size_t>(i)]);
    }
    fixture.control.let(9);
    fixture.control.wait_for_steps(10);
    Answer answer;
    const Request keystroke = request_of(prompt_of(30, 9), 4, Priority::keystroke);
    fixture.submit(keystroke, answer);
    // The step under way, two of its prompt, then one for each token but the first.
    fixture.control.let(1 + 2 + 3);
    CHECK(answer.wait().tokens() == expected_text(keystroke));
    fixture.control.open();
    for (std::int32_t i = 0; i < 4; ++i) {
        CHECK(chats[static_cast<std::size_t>(i)].wait().tokens() ==
              expected_text(request_of(prompt_of(300, i), 200)));
    }
}

TEST_CASE("times and counts are told", "[engine]") {
    ToyEngine fixture({.sequences_max = 1});
    fixture.control.hold();
    Answer first;
    Answer second;
    fixture.submit(request_of(prompt_of(33), 1), first);
    fixture.control.wait_for_steps(1);
    fixture.submit(request_of(prompt_of(34), 2), second);
    fixture.clock.advance(30ms);
    fixture.control.let(1);
    fixture.control.wait_for_steps(2);
    fixture.clock.advance(12ms);
    fixture.control.let(1);
    fixture.control.wait_for_steps(3);
    fixture.clock.advance(5ms);
    fixture.control.open();
    const Usage usage = second.wait().usage();
    CHECK(usage.prompt_tokens == 34);
    CHECK(usage.cached_tokens == 33);
    CHECK(usage.generated_tokens == 2);
    CHECK(usage.queue_ms == Approx(30.0));
    CHECK(usage.first_token_ms == Approx(42.0));
    CHECK(usage.total_ms == Approx(47.0));

    const EngineStatus status = fixture.started().status();
    CHECK(status.requests_finished == 2);
    CHECK(status.steps == 3);
    CHECK(status.tokens_prefilled == 34);
    CHECK(status.tokens_generated == 3);
    CHECK(status.tokens_cached == 33);
    CHECK(status.waiting == 0);
    CHECK(status.running == 0);
}

TEST_CASE("an engine without requests sleeps", "[engine]") {
    ToyEngine fixture;
    fixture.ask(request_of(prompt_of(10), 3));
    const std::uint64_t steps = fixture.started().status().steps;
    CHECK(steps == 3);
    fixture.clock.advance(1h);
    CHECK(fixture.started().status().steps == steps);
    CHECK(fixture.ask(request_of(prompt_of(10, 1), 3)).size() == 3);
}

TEST_CASE("the limits in force fit the model and the cache", "[engine]") {
    ToyEngine fixture({.context_tokens_max = 9000,
                       .cache_tokens = 1000,
                       .sequences_max = 3,
                       .prefill_tokens_per_step = 20});
    SECTION("the cache bounds the context") {
        CHECK(fixture.started().limits().context_tokens_max == 992);
        CHECK(fixture.started().status().cache_blocks == 62);
        CHECK(fixture.backend.tokens_max == 23);
        CHECK(fixture.backend.uploads == 1);
    }
    SECTION("the model bounds the context") {
        fixture.model->set_context_length(200);
        CHECK(fixture.started().limits().context_tokens_max == 200);
    }
}

TEST_CASE("what keeps an engine from starting is said", "[engine]") {
    ToyEngine fixture;
    const auto error = [&] {
        auto made = Engine::make(fixture.model, fixture.backend, fixture.limits, fixture.clock);
        REQUIRE_FALSE(made);
        return made.error();
    };
    SECTION("a limit that allows nothing") {
        fixture.limits.sequences_max = 0;
        CHECK(error().code == ErrorCode::invalid_argument);
    }
    SECTION("a cache of less than a block") {
        fixture.limits.cache_tokens = 15;
        CHECK(error().code == ErrorCode::invalid_argument);
    }
    SECTION("a plan that does not fit its weights") {
        fixture.model->is_broken = true;
        CHECK(error().code == ErrorCode::invalid_argument);
    }
    SECTION("a cache of a type that the backend has not") {
        fixture.limits.cache_type = compute::Dtype::f32;
        CHECK(error().code == ErrorCode::unsupported);
        CHECK(
            error().text ==
            "the toy backend cannot keep keys and values in F32; ask for kv-cache f16, or for the "
            "cpu backend");
    }
    SECTION("a device without memory") {
        fixture.backend.is_memory_short = true;
        CHECK(error().code == ErrorCode::out_of_memory);
    }
}

TEST_CASE("an engine that goes away answers everyone once", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    std::deque<Answer> answers(30);
    {
        ToyEngine fixture({.sequences_max = 4, .queue_max = 40}, is_queued);
        fixture.control.hold();
        for (std::size_t i = 0; i < answers.size(); ++i) {
            fixture.submit(request_of(prompt_of(50, static_cast<std::int32_t>(i)), 7000),
                           answers[i]);
            if (i == 10) {
                fixture.control.let(5);
                fixture.control.wait_for_steps(6);
            }
        }
    }
    for (const Answer& answer : answers) {
        CHECK(answer.ends() == 1);
        CHECK(answer.reason() == FinishReason::cancelled);
        CHECK_FALSE(answer.is_talked_to_after_end());
    }
}

/// One thread's random requests, and what must hold for each answer.
void ask_at_random(ToyEngine& fixture,
                   std::uint32_t seed,
                   int count,
                   std::size_t memory,
                   std::atomic<int>& wrong) {
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t end) { return static_cast<std::int32_t>(random() % end); };
    std::deque<std::pair<Request, Answer>> open;
    const auto close_oldest = [&] {
        auto& [request, answer] = open.front();
        answer.wait();
        const Tokens tokens = answer.tokens();
        Tokens expected = expected_text(request, nullptr, memory);
        const bool is_whole = answer.reason() == FinishReason::tokens_max ||
                              answer.reason() == FinishReason::stop_token;
        if (!is_whole) expected.resize(std::min(tokens.size(), expected.size()));
        if (answer.ends() != 1 || answer.error() || tokens != expected) ++wrong;
        open.pop_front();
    };
    for (int i = 0; i < count; ++i) {
        auto& [request, answer] = open.emplace_back();
        request = request_of(prompt_of(1 + below(120), below(3)),
                             1 + below(20),
                             static_cast<Priority>(below(4)),
                             below(2) == 0 ? kGreedy : kWild);
        for (std::int32_t change = below(3); change > 0; --change) {
            request.prompt[static_cast<std::size_t>(
                below(static_cast<std::uint32_t>(request.prompt.size())))] = below(kToyVocab);
        }
        request.stop_tokens = {below(kToyVocab)};
        if (below(5) == 0) request.deadline = fixture.clock.now() + 1ms * below(20);
        if (below(5) == 0) answer.set_enough(1 + static_cast<std::size_t>(below(10)));
        CancelSource source;
        request.cancel = source.token();
        Request sent = request;
        sent.sink = answer.sink();
        const Result<Ticket> ticket = fixture.engine->submit(std::move(sent));
        if (!ticket) {
            if (ticket.error().code != ErrorCode::unavailable) ++wrong;
            open.pop_back();
            if (!open.empty()) close_oldest();
            continue;
        }
        if (below(4) == 0) fixture.engine->cancel(*ticket);
        if (below(6) == 0) source.cancel();
        if (below(8) == 0) fixture.clock.advance(1ms);
        while (open.size() > 8) {
            close_oldest();
        }
    }
    while (!open.empty()) {
        close_oldest();
    }
}

TEST_CASE("thousands of random requests from several threads get the right text, once",
          "[engine]") {
    const bool is_queued = GENERATE(false, true);
    // 1: texts repeat themselves, and drafts are often right. Little of everything, so that all of
    // it is fought for.
    const std::size_t memory = GENERATE(0, 1);
    ToyEngine fixture({.context_tokens_max = 150,
                       .cache_tokens = 480,
                       .sequences_max = 5,
                       .queue_max = 20,
                       .prefill_tokens_per_step = 40},
                      is_queued);
    fixture.control.set_memory(memory);
    Engine& engine = fixture.started();
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (std::uint32_t seed = 1; seed <= 4; ++seed) {
        threads.emplace_back([&, seed] { ask_at_random(fixture, seed, 1000, memory, wrong); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(wrong == 0);
    const EngineStatus status = engine.status();
    CHECK(status.running == 0);
    CHECK(status.waiting == 0);
    CHECK(status.tokens_cached > 0);
    CHECK(status.cache_blocks_free == status.cache_blocks);
    CHECK(status.tokens_drafted > status.tokens_guessed_right);
    if (memory > 0) CHECK(status.tokens_guessed_right > 500);
}

}  // namespace
}  // namespace hearth::engine

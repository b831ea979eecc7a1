// The short prompt of a cold file: when it is taken, and how the long one is computed behind it.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/engine/toy_engine.h"

namespace hearth::engine {
namespace {

using test::Answer;
using test::expected_text;
using test::kToyVocab;
using test::prompt_of;
using test::request_of;
using test::Tokens;
using test::ToyEngine;

constexpr auto kBudget = std::chrono::milliseconds(50);  // 75 tokens, as long as nothing is known

void wait_for_ends(ToyEngine& fixture, std::uint64_t count) {
    while (fixture.started().status().requests_finished < count) {
        std::this_thread::yield();
    }
}

/// A file in which somebody types, as prompts of a model that reads one of its halves first.
struct TypedFile {
    enum class Order { prefix_first, suffix_first };

    Order order = Order::suffix_first;
    Tokens prefix = prompt_of(600, 1);
    Tokens suffix = prompt_of(100, 2);  // more than the budget

    /// The short prompt has the last 40 tokens of what stood there at first.
    [[nodiscard]] Request key() const {
        const bool is_prefix_first = order == Order::prefix_first;
        Tokens prompt = is_prefix_first ? prefix : suffix;
        const Tokens& last = is_prefix_first ? suffix : prefix;
        prompt.insert(prompt.end(), last.begin(), last.end());
        Request request = request_of(std::move(prompt), 3, Priority::keystroke);
        request.stable_tokens =
            static_cast<std::int32_t>(is_prefix_first ? prefix.size() : request.prompt.size());
        request.short_prompt.assign(prefix.begin() + 560, prefix.end());
        request.cold_budget = kBudget;
        return request;
    }
    void type() { prefix.push_back(static_cast<std::int32_t>(prefix.size()) % kToyVocab); }
    void edit(std::size_t above) {
        std::int32_t& token = prefix[prefix.size() - above];
        token = (token + 1) % kToyVocab;
    }
};

constexpr auto kPrefixFirst = TypedFile::Order::prefix_first;
constexpr auto kSuffixFirst = TypedFile::Order::suffix_first;

/// Asks at the cursor; the text is right, whichever prompt was taken.
Usage ask(ToyEngine& fixture, const Request& request) {
    Answer answer;
    fixture.submit(request, answer);
    const bool is_short = answer.wait().usage().is_short;
    CHECK(answer.tokens() ==
          expected_text(request_of(is_short ? request.short_prompt : request.prompt, 3)));
    return answer.usage();
}

TEST_CASE("a prompt that takes too long gives way to the short one and is computed behind it",
          "[engine]") {
    ToyEngine fixture({.prefill_tokens_per_step = 100});
    Request request = request_of(prompt_of(150), 3, Priority::keystroke);
    request.short_prompt = prompt_of(20, 5);
    request.cold_budget = kBudget;
    Answer first;
    fixture.submit(request, first);
    CHECK(first.wait().tokens() == expected_text(request_of(request.short_prompt, 3)));
    CHECK(first.usage().is_short);
    CHECK(first.usage().prompt_tokens == 20);
    wait_for_ends(fixture, 2);
    Answer second;
    fixture.submit(request, second);
    CHECK(second.wait().tokens() == expected_text(request_of(request.prompt, 3)));
    CHECK_FALSE(second.usage().is_short);
    CHECK(second.usage().cached_tokens == 149);
    // The new end of a known prompt is short enough.
    request.prompt = prompt_of(200);
    Answer third;
    fixture.submit(request, third);
    CHECK(third.wait().tokens() == expected_text(request_of(request.prompt, 3)));
    CHECK_FALSE(third.usage().is_short);
}

TEST_CASE("a prompt that is computed for later makes way for the next", "[engine]") {
    ToyEngine fixture({.prefill_tokens_per_step = 100});
    Request request = request_of(prompt_of(250), 1, Priority::keystroke);
    request.short_prompt = prompt_of(20, 5);
    request.cold_budget = kBudget;
    Answer first;
    fixture.submit(request, first);
    first.wait();
    request.prompt = prompt_of(240, 9);
    Answer second;
    fixture.submit(request, second);
    CHECK(second.wait().usage().is_short);
    wait_for_ends(fixture, 4);
    const engine::EngineStatus status = fixture.started().status();
    CHECK(status.cache_blocks_free == status.cache_blocks);
    Answer third;
    fixture.submit(request, third);
    CHECK(third.wait().usage().cached_tokens == 239);
}

TEST_CASE("once a cold file is computed keys take the long prompt, whichever half goes first",
          "[engine]") {
    const bool is_queued = GENERATE(false, true);
    TypedFile file{.order = GENERATE(kPrefixFirst, kSuffixFirst)};
    ToyEngine fixture({.prefill_tokens_per_step = 200}, is_queued);
    CHECK(ask(fixture, file.key()).is_short);
    wait_for_ends(fixture, 2);
    for (int key = 0; key < 10; ++key) {
        file.type();
        const Request request = file.key();
        const Usage usage = ask(fixture, request);
        CHECK_FALSE(usage.is_short);
        CHECK(usage.prompt_tokens == std::ssize(request.prompt));
        CHECK(usage.cached_tokens == request.stable_tokens - 1);
    }
    CHECK(fixture.started().status().requests_finished == 12);  // nothing more is computed behind
}

TEST_CASE("of a prompt with the suffix last only the head is computed for later", "[engine]") {
    const TypedFile file{.order = kPrefixFirst};
    ToyEngine fixture({.prefill_tokens_per_step = 200});
    CHECK(ask(fixture, file.key()).is_short);
    wait_for_ends(fixture, 2);
    CHECK(fixture.started().status().tokens_prefilled == 40 + 600);
}

TEST_CASE("after an edit above and a pause the key takes the long prompt", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    TypedFile file{.order = GENERATE(kPrefixFirst, kSuffixFirst)};
    ToyEngine fixture({.prefill_tokens_per_step = 200}, is_queued);
    ask(fixture, file.key());
    wait_for_ends(fixture, 2);
    file.edit(150);
    CHECK(ask(fixture, file.key()).is_short);
    wait_for_ends(fixture, 4);
    file.type();
    CHECK_FALSE(ask(fixture, file.key()).is_short);
    file.edit(70);  // within the budget
    CHECK_FALSE(ask(fixture, file.key()).is_short);
}

TEST_CASE("a short prompt that would save less than a quarter is not taken", "[engine]") {
    TypedFile file;
    ToyEngine fixture({.prefill_tokens_per_step = 200});
    ask(fixture, file.key());
    wait_for_ends(fixture, 2);
    // Known are the first 4 tokens of the short prompt, and all of the long one but the last 36.
    file.edit(36);
    Request request = file.key();
    request.cold_budget = {};
    CHECK_FALSE(ask(fixture, request).is_short);
    // Of this one nothing is known, and 48 tokens of the long one are not.
    file.edit(48);
    request = file.key();
    request.cold_budget = {};
    request.short_prompt = prompt_of(36, 5);
    CHECK_FALSE(ask(fixture, request).is_short);
    file.edit(49);
    request = file.key();
    request.cold_budget = {};
    request.short_prompt = prompt_of(36, 6);
    CHECK(ask(fixture, request).is_short);
}

TEST_CASE("while somebody types, launched steps of other prompts are short", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({.prefill_tokens_per_step = 200}, is_queued);
    const auto ask_steps = [&](Priority priority, std::int32_t number) {
        const std::size_t before = fixture.control.steps().size();
        Answer answer;
        fixture.submit(request_of(prompt_of(150, number), 1, priority), answer);
        answer.wait();
        std::vector<std::size_t> tokens;
        const auto steps = fixture.control.steps();
        for (std::size_t i = before; i < steps.size(); ++i) {
            tokens.push_back(steps[i].tokens);
        }
        return tokens;
    };
    const std::vector<std::size_t> whole = {150};
    const std::vector<std::size_t> pieces = {32, 32, 32, 32, 22};
    CHECK(ask_steps(Priority::chat, 1) == whole);
    CHECK(ask_steps(Priority::keystroke, 2) == whole);
    // A step of the host is given up instead.
    CHECK(ask_steps(Priority::chat, 3) == (is_queued ? pieces : whole));
    fixture.clock.advance(std::chrono::seconds(2));
    CHECK(ask_steps(Priority::chat, 4) == whole);
}

TEST_CASE("beside a keystroke, steps of other prompts are short and rare", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    const bool is_asked = GENERATE(false, true);  // judged prompts run by themselves on a device
    ToyEngine fixture({.prefill_tokens_per_step = 200}, is_queued);
    fixture.control.hold();
    Answer key;
    Answer chat;
    Request prompt = request_of(prompt_of(150, 1), 1);
    if (is_asked) prompt.asked = {{.row = 149, .token = 3}};
    fixture.submit(request_of(prompt_of(20), 12, Priority::keystroke), key);
    fixture.control.wait_for_steps(1);
    fixture.submit(prompt, chat);
    fixture.clock.advance(std::chrono::seconds(2));  // the key itself was long ago
    fixture.control.open();
    chat.wait();
    std::vector<std::size_t> tokens;
    for (const auto& step : fixture.control.steps()) {
        tokens.push_back(step.tokens);
    }
    // The key's prompt and, on a device, the step launched ahead; then a turn and what is left.
    REQUIRE(tokens.size() >= 13);
    CHECK(std::ranges::count(tokens, 1U) == 10);
    CHECK(std::ranges::count(tokens, 33U) == 1);
    CHECK(std::ranges::max(tokens) == 118);
    key.wait();
}

TEST_CASE("keys never wait behind a prompt that is computed for later", "[engine]") {
    TypedFile file{.order = GENERATE(kPrefixFirst, kSuffixFirst)};
    ToyEngine fixture({.prefill_tokens_per_step = 200});
    const auto step = [&](std::size_t number) { return fixture.control.steps()[number]; };
    fixture.control.hold();
    Answer first;
    fixture.submit(file.key(), first);
    fixture.control.let(3);
    fixture.control.wait_for_steps(4);
    CHECK(step(3).tokens == 64);  // a piece of the long prompt
    file.type();
    Answer second;
    fixture.submit(file.key(), second);
    fixture.control.wait_for_steps(5);  // the piece was given up
    for (std::size_t key_step = 4; key_step < 7; ++key_step) {
        fixture.control.wait_for_steps(key_step + 1);
        CHECK(step(key_step).tokens == 1);
        fixture.control.let(1);
    }
    fixture.control.wait_for_steps(8);
    CHECK(step(7).tokens == 64);
    fixture.clock.advance(std::chrono::seconds(2));
    fixture.control.let(1);
    fixture.control.wait_for_steps(9);
    CHECK(step(8).tokens == 200);  // nobody is typing any more
    fixture.control.open();
    wait_for_ends(fixture, 4);
    file.type();
    CHECK_FALSE(ask(fixture, file.key()).is_short);
}

}  // namespace
}  // namespace hearth::engine

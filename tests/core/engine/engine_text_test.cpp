// What the engine writes: the same text in whatever company, and with as few steps as can be.
#include <algorithm>
#include <cstddef>
#include <deque>

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

const SamplingSettings kGreedy{};
const SamplingSettings kWild{.temperature = 1.3F, .top_k = 20, .top_p = 0.95F, .seed = 77};

TEST_CASE(
    "a text is the same alone, in a batch, after a prefix hit, in pieces and after making way",
    "[engine]") {
    const bool is_queued = GENERATE(false, true);
    const SamplingSettings sampling = GENERATE(kGreedy, kWild);
    const Request request = request_of(prompt_of(100), 40, Priority::chat, sampling);
    const Tokens expected = expected_text(request);

    SECTION("alone") {
        ToyEngine fixture({}, is_queued);
        CHECK(fixture.ask(request) == expected);
        CHECK(fixture.control.steps().front().tokens == 100);
    }
    SECTION("in pieces") {
        ToyEngine fixture({.prefill_tokens_per_step = 7}, is_queued);
        CHECK(fixture.ask(request) == expected);
        CHECK(fixture.control.steps().front().tokens == 7);
    }
    SECTION("in a batch of eight") {
        ToyEngine fixture({.prefill_tokens_per_step = 1000}, is_queued);
        fixture.control.hold();
        std::deque<Answer> answers(9);
        fixture.submit(request_of({3}, 1), answers[8]);
        fixture.control.wait_until_held();
        for (std::int32_t i = 0; i < 8; ++i) {
            // Half of them with the same head, all of different lengths.
            Request other = request;
            other.prompt = prompt_of(60 + 10 * i, i % 2 == 0 ? 0 : i);
            fixture.submit(i == 4 ? request : other, answers[static_cast<std::size_t>(i)]);
        }
        fixture.control.open();
        CHECK(answers[4].wait().tokens() == expected);
        CHECK(fixture.control.steps()[1].sequences == 8);
        CHECK(fixture.control.steps()[2].sequences == 8);
    }
    SECTION("after a prefix hit of any length") {
        for (const std::int32_t known : {1, 15, 16, 17, 33, 64, 99, 100}) {
            INFO(known);
            ToyEngine fixture({}, is_queued);
            Tokens head(request.prompt.begin(), request.prompt.begin() + known);
            head.push_back((request.prompt[static_cast<std::size_t>(known) % 100] + 1) % kToyVocab);
            fixture.ask(request_of(head, 1));
            Answer answer;
            fixture.submit(request, answer);
            CHECK(answer.wait().tokens() == expected);
            CHECK(answer.usage().cached_tokens == std::min(known, 99));
        }
    }
    SECTION("after making way for a keystroke") {
        ToyEngine fixture({.cache_tokens = 160, .sequences_max = 1}, is_queued);
        Answer answer;
        fixture.control.hold();
        fixture.submit(request, answer);
        fixture.control.let(6);
        fixture.control.wait_for_steps(7);
        Answer keystroke;
        const Request quick = request_of(prompt_of(70, 5), 5, Priority::keystroke);
        fixture.submit(quick, keystroke);
        fixture.control.open();
        CHECK(keystroke.wait().tokens() == expected_text(quick));
        CHECK(answer.wait().tokens() == expected);
        CHECK(answer.usage().prompt_tokens == 100);
        CHECK(answer.usage().generated_tokens == 40);
        CHECK(answer.usage().cached_tokens == 0);
    }
    SECTION("after making way for want of room") {
        ToyEngine fixture({.cache_tokens = 240, .sequences_max = 4}, is_queued);
        std::deque<Answer> answers(3);
        const Request others[] = {request_of(prompt_of(70, 1), 90),
                                  request_of(prompt_of(60, 2), 50)};
        fixture.control.hold();
        fixture.submit(others[0], answers[0]);
        fixture.submit(request, answers[1]);
        fixture.submit(others[1], answers[2]);
        fixture.control.open();
        CHECK(answers[0].wait().tokens() == expected_text(others[0]));
        CHECK(answers[1].wait().tokens() == expected);
        CHECK(answers[2].wait().tokens() == expected_text(others[1]));
    }
}

TEST_CASE("a guide is followed, alone and in company, and then let go", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    const SamplingSettings sampling = GENERATE(kGreedy, kWild);
    constexpr int kGuided = 5;
    Request request = request_of(prompt_of(50), 12, Priority::chat, sampling);
    test::ThreeStep guide(kToyVocab, kGuided);
    const Tokens expected = expected_text(request, &guide);
    REQUIRE(expected != expected_text(request));
    for (std::size_t i = 0; i < kGuided; ++i) {
        REQUIRE(static_cast<std::size_t>(expected[i]) % 3 == i % 3);
    }
    ToyEngine fixture({}, is_queued);
    fixture.control.hold();
    std::deque<Answer> answers(4);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        Request next = i % 2 == 0 ? request : request_of(prompt_of(30, 3), 15);
        if (i % 2 == 0) next.guide = std::make_shared<test::ThreeStep>(kToyVocab, kGuided);
        fixture.submit(std::move(next), answers[i]);
    }
    fixture.control.open();
    for (std::size_t i = 0; i < answers.size(); ++i) {
        CHECK(answers[i].wait().tokens() ==
              (i % 2 == 0 ? expected : expected_text(request_of(prompt_of(30, 3), 15))));
    }
}

TEST_CASE("one more typed token reuses all but itself", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    Tokens prompt = prompt_of(90);
    for (std::int32_t i = 0; i < 40; ++i) {
        Request request = request_of(prompt, 3, Priority::keystroke);
        Answer answer;
        fixture.submit(request, answer);
        CHECK(answer.wait().tokens() == expected_text(request));
        if (i > 0) CHECK(answer.usage().cached_tokens == static_cast<int>(prompt.size()) - 1);
        prompt.push_back(i % kToyVocab);
    }
}

TEST_CASE("a request that supersedes a half-read one goes on where that one was", "[engine]") {
    ToyEngine fixture({.prefill_tokens_per_step = 20});
    fixture.control.hold();
    Answer first;
    Answer second;
    const Ticket ticket = fixture.submit(request_of(prompt_of(200)), first);
    fixture.control.let(3);
    fixture.control.wait_for_steps(4);
    fixture.started().cancel(ticket);
    Request request = request_of(prompt_of(201));
    fixture.submit(request, second);
    fixture.control.open();
    CHECK(second.wait().tokens() == expected_text(request));
    CHECK(second.usage().cached_tokens == 80);
    CHECK(first.reason() == FinishReason::cancelled);
}

TEST_CASE("a device that picks tokens gets a step before the last one's tokens are told",
          "[engine][step_queue]") {
    ToyEngine fixture({}, true);
    const Request request = request_of(prompt_of(20), 6);
    const Tokens expected = expected_text(request);
    fixture.control.hold();
    Answer answer;
    const Ticket ticket = fixture.submit(request, answer);
    fixture.control.wait_for_steps(2);
    CHECK(answer.tokens().empty());
    SECTION("and no third one") {
        fixture.control.let(1);
        fixture.control.wait_for_steps(3);
        CHECK(answer.tokens() == Tokens{expected[0]});
        fixture.control.open();
        CHECK(answer.wait().tokens() == expected);
        CHECK(fixture.control.steps().size() == 6);  // none for a token past the last
    }
    SECTION("what it picks for one that has gone is dropped, with its room") {
        fixture.started().cancel(ticket);
        fixture.control.let(1);
        CHECK(answer.wait().reason() == FinishReason::cancelled);
        CHECK(answer.tokens().empty());
        Answer next;
        const Request other = request_of(prompt_of(25, 1), 5);
        fixture.submit(other, next);
        fixture.control.open();
        CHECK(next.wait().tokens() == expected_text(other));
        const EngineStatus status = fixture.started().status();
        CHECK(status.cache_blocks_free == status.cache_blocks);
    }
    SECTION("one that comes in meanwhile is admitted after one more") {
        Answer next;
        const Request other = request_of(prompt_of(25, 1), 5, Priority::keystroke);
        fixture.submit(other, next);
        fixture.control.let(2);
        fixture.control.wait_for_steps(3);
        CHECK(fixture.control.steps()[2].tokens == 25);
        fixture.control.open();
        CHECK(next.wait().tokens() == expected_text(other));
        CHECK(answer.wait().tokens() == expected);
    }
}

TEST_CASE("a text that repeats itself takes fewer steps, and stays the same", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    const SamplingSettings sampling = GENERATE(kGreedy, kWild);
    constexpr std::size_t kMemory = 2;
    const Request request = request_of(prompt_of(20), 300, Priority::chat, sampling);
    const Tokens expected = expected_text(request, nullptr, kMemory);
    ToyEngine fixture({}, is_queued);
    fixture.control.set_memory(kMemory);
    CHECK(fixture.ask(request) == expected);
    const EngineStatus status = fixture.started().status();
    CHECK(status.tokens_generated == 300);
    CHECK(status.tokens_guessed_right + status.steps >= 300);
    if (sampling.temperature == 0.0F) CHECK(status.steps < 150);
    ToyEngine plain({.draft_tokens_per_step = 0}, is_queued);
    plain.control.set_memory(kMemory);
    CHECK(plain.ask(request) == expected);
    CHECK(plain.started().status().steps == 300);
    CHECK(plain.started().status().tokens_drafted == 0);
}

}  // namespace
}  // namespace hearth::engine

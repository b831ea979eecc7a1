// How a request ends: from outside, by itself, by its sink, or because a step failed.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>

#include <catch2/catch.hpp>

#include "tests/core/engine/toy_engine.h"

namespace hearth::engine {
namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::expected_text;
using test::prompt_of;
using test::request_of;
using test::Tokens;
using test::ToyEngine;

enum class How { ticket, token, deadline };

TEST_CASE("what ends from outside ends within one step", "[engine]") {
    const How how = GENERATE(How::ticket, How::token, How::deadline);
    const bool is_prefilling = GENERATE(false, true);
    ToyEngine fixture({.prefill_tokens_per_step = 10});
    Request request = request_of(prompt_of(is_prefilling ? 90 : 10), 100);
    CancelSource source;
    request.cancel = source.token();
    request.deadline = fixture.clock.now() + 50ms;
    fixture.control.hold();
    Answer answer;
    const Ticket ticket = fixture.submit(request, answer);
    fixture.control.let(4);
    fixture.control.wait_for_steps(5);
    const Tokens before = answer.tokens();
    CHECK(before.size() == (is_prefilling ? 0U : 4U));

    if (how == How::ticket) fixture.started().cancel(ticket);
    if (how == How::token) source.cancel();
    if (how == How::deadline) fixture.clock.advance(50ms);
    fixture.control.open();
    answer.wait();
    CHECK(answer.tokens() == before);
    CHECK(answer.reason() ==
          (how == How::deadline ? FinishReason::deadline : FinishReason::cancelled));
    CHECK(fixture.control.steps().size() == 5);
    CHECK(fixture.started().status().cache_blocks_free == fixture.started().status().cache_blocks);
}

TEST_CASE("a long step is given up when its asker has gone or is out of time", "[engine]") {
    const How how = GENERATE(How::ticket, How::token, How::deadline);
    ToyEngine fixture({.prefill_tokens_per_step = 100});
    Request request = request_of(prompt_of(150), 10);
    CancelSource source;
    request.cancel = source.token();
    request.deadline = fixture.clock.now() + 50ms;
    fixture.control.hold();
    Answer answer;
    const Ticket ticket = fixture.submit(request, answer);
    fixture.control.wait_for_steps(1);
    if (how == How::ticket) fixture.started().cancel(ticket);
    if (how == How::token) source.cancel();
    if (how == How::deadline) fixture.clock.advance(50ms);
    // No permit was given.
    CHECK(answer.wait().reason() ==
          (how == How::deadline ? FinishReason::deadline : FinishReason::cancelled));
    CHECK(fixture.control.steps().size() == 1);
    fixture.control.open();
}

TEST_CASE("a long step makes way for somebody better", "[engine]") {
    ToyEngine fixture({.sequences_max = 4, .prefill_tokens_per_step = 100});
    fixture.control.hold();
    Answer chat;
    Answer equal;
    std::deque<Answer> keys(2);
    const Request prompt = request_of(prompt_of(230), 10);
    fixture.submit(prompt, chat);
    fixture.control.wait_for_steps(1);
    fixture.submit(request_of(prompt_of(20, 5), 3), equal);  // waits like anybody
    const Request key = request_of(prompt_of(30, 9), 4, Priority::keystroke);
    fixture.submit(key, keys[0]);
    // The step was given up without a permit; the next takes the better prompt, and the same chat
    // once more only when that is through.
    fixture.control.wait_for_steps(2);
    CHECK(fixture.started().status().steps_abandoned == 1);
    CHECK(fixture.control.steps()[0].tokens == 100);
    CHECK(fixture.control.steps()[1].tokens == 30);
    fixture.control.open();
    CHECK(keys[0].wait().tokens() == expected_text(key));
    CHECK(chat.wait().tokens() == expected_text(prompt));
    CHECK(equal.wait().tokens() == expected_text(request_of(prompt_of(20, 5), 3)));
}

TEST_CASE("a prompt gets on however often better ones come", "[engine]") {
    ToyEngine fixture({.sequences_max = 2, .prefill_tokens_per_step = 100});
    fixture.control.hold();
    Answer chat;
    const Request prompt = request_of(prompt_of(100), 1);
    fixture.submit(prompt, chat);
    fixture.control.wait_for_steps(1);
    const Request key = request_of(prompt_of(8, 9), 1, Priority::keystroke);
    Answer first;
    fixture.submit(key, first);
    fixture.control.wait_for_steps(2);  // the key's, behind the one that was given up
    fixture.control.let(1);
    first.wait();
    fixture.control.wait_for_steps(3);  // the prompt's again, or a keystroke's
    Answer second;
    fixture.submit(key, second);
    fixture.control.let(1);
    CHECK(chat.wait().tokens() == expected_text(prompt));
    fixture.control.open();
    second.wait();
    CHECK(fixture.started().status().steps_abandoned == 1);
}

TEST_CASE("a request can end while it waits", "[engine]") {
    const How how = GENERATE(How::ticket, How::token, How::deadline);
    ToyEngine fixture({.sequences_max = 1});
    fixture.control.hold();
    Answer first;
    Answer waiting;
    fixture.submit(request_of(prompt_of(5), 50), first);
    fixture.control.wait_for_steps(1);
    Request request = request_of(prompt_of(5, 1));
    CancelSource source;
    request.cancel = source.token();
    request.deadline = fixture.clock.now() + 50ms;
    const Ticket ticket = fixture.submit(request, waiting);
    if (how == How::ticket) fixture.started().cancel(ticket);
    if (how == How::token) source.cancel();
    if (how == How::deadline) fixture.clock.advance(50ms);
    fixture.control.let(1);
    waiting.wait();
    CHECK(waiting.reason() ==
          (how == How::deadline ? FinishReason::deadline : FinishReason::cancelled));
    CHECK(waiting.tokens().empty());
    CHECK(first.ends() == 0);
}

TEST_CASE("cancelling one request leaves the others alone", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    fixture.control.hold();
    std::deque<Answer> answers(4);
    std::vector<Ticket> tickets;
    tickets.reserve(4);
    for (std::int32_t i = 0; i < 4; ++i) {
        tickets.push_back(
            fixture.submit(request_of(prompt_of(30, i)), answers[static_cast<std::size_t>(i)]));
    }
    fixture.control.let(3);
    fixture.control.wait_for_steps(4);
    fixture.started().cancel(tickets[2]);
    fixture.started().cancel(Ticket{4711});
    fixture.control.open();
    for (std::int32_t i = 0; i < 4; ++i) {
        Answer& answer = answers[static_cast<std::size_t>(i)].wait();
        if (i == 2) {
            CHECK(answer.reason() == FinishReason::cancelled);
        } else {
            CHECK(answer.tokens() == expected_text(request_of(prompt_of(30, i))));
        }
    }
    fixture.started().cancel(tickets[2]);
}

TEST_CASE("a stop token ends the answer and does not leave", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    Request request = request_of(prompt_of(40), 40);
    const Tokens whole = expected_text(request);
    request.stop_tokens = {whole[12], 4000};
    const Tokens expected = expected_text(request);
    REQUIRE(expected.size() <= 12);
    Answer answer;
    fixture.submit(request, answer);
    CHECK(answer.wait().tokens() == expected);
    CHECK(answer.reason() == FinishReason::stop_token);
    CHECK(answer.usage().generated_tokens == static_cast<std::int32_t>(expected.size()));
}

TEST_CASE("a sink that has enough gets no further token", "[engine]") {
    ToyEngine fixture;
    Answer answer;
    answer.set_enough(3);
    fixture.submit(request_of(prompt_of(20)), answer);
    CHECK(answer.wait().tokens().size() == 3);
    CHECK(answer.reason() == FinishReason::sink_enough);
    CHECK(fixture.control.steps().size() == 3);
}

TEST_CASE("a sink that throws costs its own request only", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    Request request = request_of(prompt_of(20));
    std::atomic<int> calls = 0;
    request.sink = [&](const Event&) -> SinkAnswer {
        ++calls;
        throw std::bad_alloc();
    };
    REQUIRE(fixture.started().submit(request));
    CHECK(fixture.ask(request_of(prompt_of(9, 3))) == expected_text(request_of(prompt_of(9, 3))));
    CHECK(calls == 2);
}

TEST_CASE("an answer ends with its own limit or with the context", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({.context_tokens_max = 50}, is_queued);
    struct Case {
        std::int32_t prompt, tokens_max, generated;
    };
    for (const Case item : {Case{10, 7, 7}, Case{10, 1, 1}, Case{45, 7, 5}, Case{49, 7, 1}}) {
        Answer answer;
        fixture.submit(request_of(prompt_of(item.prompt), item.tokens_max), answer);
        CHECK(answer.wait().reason() == FinishReason::tokens_max);
        CHECK(static_cast<std::int32_t>(answer.tokens().size()) == item.generated);
    }
}

TEST_CASE("a step that fails costs its requests, not the engine", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    const bool is_memory = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    fixture.control.hold();
    Answer first;
    Answer second;
    fixture.submit(request_of(prompt_of(20)), first);
    fixture.submit(request_of(prompt_of(20, 1)), second);
    fixture.control.let(3);
    fixture.control.wait_for_steps(4);
    if (is_memory) {
        fixture.control.run_out_of_memory_next();
    } else {
        fixture.control.fail_next({ErrorCode::internal, "the device fell over", "toy"});
    }
    fixture.control.open();
    for (Answer* answer : {&first, &second}) {
        answer->wait();
        REQUIRE(answer->error());
        CHECK(answer->error()->code ==
              (is_memory ? ErrorCode::out_of_memory : ErrorCode::internal));
        if (!is_memory) CHECK(answer->error()->text == "the device fell over");
    }
    const Request request = request_of(prompt_of(20));
    CHECK(fixture.ask(request) == expected_text(request));
    CHECK(fixture.started().status().cache_blocks_free == fixture.started().status().cache_blocks);
}

/// Its memory runs out behind two tokens.
class ShortOfMemory final : public TokenGuide {
  public:
    [[nodiscard]] bool is_active() const override { return !has_failed(); }
    [[nodiscard]] std::span<const std::uint32_t> allowed() const override {
        return has_failed() ? std::span<const std::uint32_t>() : mask_;
    }
    void accept(std::int32_t /*token*/) override { ++seen_; }
    [[nodiscard]] bool has_failed() const override { return seen_ == 2; }

  private:
    const std::vector<std::uint32_t> mask_ = {~0U, ~0U};
    int seen_ = 0;
};

TEST_CASE("a guide that fails costs its own request only", "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    Request guided = request_of(prompt_of(20), 10);
    guided.guide = std::make_shared<ShortOfMemory>();
    const Request plain = request_of(prompt_of(20, 1), 10);
    Answer failing;
    Answer other;
    fixture.submit(guided, failing);
    fixture.submit(plain, other);
    CHECK(other.wait().tokens() == expected_text(plain));
    REQUIRE(failing.wait().error());
    CHECK(failing.error()->code == ErrorCode::out_of_memory);
    CHECK(failing.tokens().size() == 2);
}

TEST_CASE("a number that is not finite fails its request, spares the others and is forgotten",
          "[engine]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({}, is_queued);
    fixture.control.poison(prompt_of(40)[3]);
    Tokens clean(40, 1);
    const bool is_in_batch = GENERATE(false, true);
    Answer poisoned;
    Answer other;
    fixture.submit(request_of(prompt_of(40)), poisoned);
    if (is_in_batch) {
        fixture.submit(request_of(clean, 3), other);
        other.wait();
        CHECK(other.tokens() == expected_text(request_of(clean, 3)));
    }
    poisoned.wait();
    REQUIRE(poisoned.error());
    CHECK(poisoned.error()->code == ErrorCode::internal);
    CHECK(poisoned.error()->text.find("not finite") != std::string::npos);
    CHECK(poisoned.tokens().empty());

    fixture.control.poison(-1);
    Answer again;
    fixture.submit(request_of(prompt_of(40)), again);
    CHECK(again.wait().tokens() == expected_text(request_of(prompt_of(40))));
    CHECK(again.usage().cached_tokens == 0);
}

}  // namespace
}  // namespace hearth::engine

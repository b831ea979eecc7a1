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
        fixture.control.wait_for_steps(1);
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
        CHECK(fixture.control.steps()[2].sequences == 2);
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

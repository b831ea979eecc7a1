// Requests that ask how probable tokens of their prompt are: the same numbers on every way.
#include <cmath>
#include <deque>
#include <random>

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
using test::toy_logits;
using test::ToyEngine;

Request asking(Tokens prompt, std::vector<Asked> asked) {
    Request request = request_of(std::move(prompt), 1, Priority::fix);
    request.asked = std::move(asked);
    return request;
}

/// All rows from `first` on: the token that stands there, and another one.
std::vector<Asked> all_from(const Tokens& prompt, std::int32_t first) {
    std::vector<Asked> asked;
    for (std::int32_t row = first; row < std::ssize(prompt); ++row) {
        const bool is_last = row + 1 == std::ssize(prompt);
        asked.push_back({row, is_last ? 0 : prompt[static_cast<std::size_t>(row) + 1]});
        asked.push_back({row, row % kToyVocab});
    }
    return asked;
}

void check_told(const Request& request, Answer& answer, std::size_t memory = 0) {
    answer.wait();
    const std::vector<double> told = answer.log_probabilities();
    CHECK(answer.reason() == FinishReason::tokens_max);
    CHECK(answer.tokens().empty());
    REQUIRE(told.size() == request.asked.size());
    for (std::size_t i = 0; i < told.size(); ++i) {
        const auto [row, token] = request.asked[i];
        const auto logits =
            toy_logits(std::span(request.prompt).first(static_cast<std::size_t>(row) + 1), memory);
        double sum = 0.0;
        for (const float logit : logits) {
            sum += std::exp(static_cast<double>(logit));
        }
        const double wanted = logits[static_cast<std::size_t>(token)] - std::log(sum);
        INFO("row " << row << ", token " << token);
        CHECK(told[i] == Approx(wanted).margin(1e-5));
    }
}

TEST_CASE("probabilities are told alone, in pieces, after a prefix hit and on a device that picks",
          "[engine][asked]") {
    const bool is_queued = GENERATE(false, true);
    ToyEngine fixture({.sequences_max = 3, .prefill_tokens_per_step = 7}, is_queued);
    const Tokens prompt = prompt_of(45);
    for (const std::int32_t first : {0, 20, 31, 32, 44, 3}) {
        INFO("queued " << is_queued << ", from row " << first);
        const Request request = asking(prompt, all_from(prompt, first));
        Answer answer;
        fixture.submit(request, answer);
        check_told(request, answer);
        CHECK(answer.usage().cached_tokens <= first);
    }
}

TEST_CASE("what is asked beside others changes neither", "[engine][asked]") {
    const bool is_queued = GENERATE(false, true);
    // 1: texts repeat themselves, and their drafts are tried in the steps of what is asked.
    const std::size_t memory = GENERATE(0, 1);
    ToyEngine fixture({.sequences_max = 4, .prefill_tokens_per_step = 16}, is_queued);
    fixture.control.set_memory(memory);
    fixture.control.hold();
    std::deque<Request> requests;
    std::deque<Answer> answers(9);
    for (std::int32_t i = 0; i < std::ssize(answers); ++i) {
        // Three of them say the same for the first 40 tokens.
        Tokens prompt = prompt_of(i % 3 == 0 ? 40 : 30 + i, i % 3 == 0 ? 0 : i);
        if (i % 3 == 0) prompt.push_back(i);
        requests.push_back(i % 3 == 2 ? request_of(prompt, 60)
                                      : asking(prompt, all_from(prompt, 25)));
        fixture.submit(requests.back(), answers[static_cast<std::size_t>(i)]);
    }
    fixture.control.open();
    for (std::size_t i = 0; i < answers.size(); ++i) {
        INFO("request " << i << ", queued " << is_queued);
        if (requests[i].asked.empty()) {
            CHECK(answers[i].wait().tokens() == expected_text(requests[i], nullptr, memory));
        } else {
            check_told(requests[i], answers[i], memory);
        }
    }
    if (memory > 0) CHECK(fixture.started().status().tokens_guessed_right > 0);
}

TEST_CASE("the asker that has gone hears so", "[engine][asked]") {
    ToyEngine fixture({.sequences_max = 1, .prefill_tokens_per_step = 8});
    fixture.control.hold();
    CancelSource gone;
    const Tokens prompt = prompt_of(40);
    Request request = asking(prompt, all_from(prompt, 10));
    request.cancel = gone.token();
    Answer answer;
    fixture.submit(request, answer);
    fixture.control.wait_for_steps(1);
    gone.cancel();
    fixture.control.open();
    CHECK(answer.wait().reason() == FinishReason::cancelled);
    CHECK(answer.log_probabilities().empty());
}

TEST_CASE("what cannot be asked is refused", "[engine][asked]") {
    ToyEngine fixture;
    const std::vector<std::vector<Asked>> wrong = {
        {{-1, 0}}, {{5, 0}}, {{3, 0}, {2, 0}}, {{1, -1}}, {{1, kToyVocab}}};
    for (const auto& asked : wrong) {
        Request request = asking(prompt_of(5), asked);
        Answer answer;
        request.sink = answer.sink();
        const Result<Ticket> ticket = fixture.started().submit(std::move(request));
        REQUIRE_FALSE(ticket);
        CHECK(ticket.error().code == ErrorCode::invalid_argument);
    }
}

}  // namespace
}  // namespace hearth::engine

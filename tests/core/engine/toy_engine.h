// What the tests of the engine share: an answer that collects events, an engine over the toy model,
// requests, and the text that each has to get.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "core/engine/engine.h"
#include "core/engine/sampler.h"
#include "tests/core/engine/toy_model.h"
#include "tests/support/fake_clock.h"

namespace hearth::test {

using engine::Engine;
using engine::EngineLimits;
using engine::Event;
using engine::EventSink;
using engine::FinishReason;
using engine::Priority;
using engine::Request;
using engine::Sampler;
using engine::SamplingSettings;
using engine::SinkAnswer;
using engine::Ticket;
using engine::Usage;
using Tokens = std::vector<std::int32_t>;

/// What came of one request. The sink keeps its own hold on it, so a test may end before its
/// engine.
class Answer {
  public:
    EventSink sink() {
        return [state = state_](const Event& event) { return state->on_event(event); };
    }
    /// From this many tokens on the sink says "enough".
    void set_enough(std::size_t count) {
        const LockGuard lock(state_->mutex);
        state_->enough = count;
    }
    Answer& wait() {
        const LockGuard lock(state_->mutex);
        while (state_->ends == 0) {
            state_->changed.wait(state_->mutex);
        }
        return *this;
    }
    [[nodiscard]] Tokens tokens() const { return read(&State::tokens); }
    [[nodiscard]] std::optional<FinishReason> reason() const { return read(&State::reason); }
    [[nodiscard]] Usage usage() const { return read(&State::usage); }
    [[nodiscard]] std::vector<double> log_probabilities() const {
        return read(&State::log_probabilities);
    }
    [[nodiscard]] std::optional<Error> error() const { return read(&State::error); }
    [[nodiscard]] int ends() const { return read(&State::ends); }
    [[nodiscard]] bool is_talked_to_after_end() const {
        return read(&State::is_talked_to_after_end);
    }

  private:
    struct State {
        SinkAnswer on_event(const Event& event) {
            const LockGuard lock(mutex);
            is_talked_to_after_end = is_talked_to_after_end || ends > 0;
            if (const auto* token = std::get_if<engine::TokenEvent>(&event)) {
                tokens.push_back(token->token);
            } else {
                ++ends;
                if (const auto* finished = std::get_if<engine::FinishedEvent>(&event)) {
                    reason = finished->reason;
                    usage = finished->usage;
                    log_probabilities = finished->log_probabilities;
                } else {
                    error = std::get<engine::FailedEvent>(event).error;
                }
            }
            changed.notify_all();
            return tokens.size() >= enough ? SinkAnswer::enough : SinkAnswer::go_on;
        }

        Mutex mutex;
        ConditionVariable changed;
        std::size_t enough = 1'000'000;
        Tokens tokens;
        int ends = 0;
        bool is_talked_to_after_end = false;
        std::optional<FinishReason> reason;
        Usage usage;
        std::vector<double> log_probabilities;
        std::optional<Error> error;
    };
    template <typename T>
    [[nodiscard]] T read(T State::*member) const {
        const LockGuard lock(state_->mutex);
        return (*state_).*member;
    }

    std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// An engine over the toy model, with everything that a test turns.
struct ToyEngine {
    explicit ToyEngine(EngineLimits wanted = {}, bool is_queued = false) : limits(wanted) {
        backend.is_queued = is_queued;
    }

    /// The engine starts with the first request.
    Engine& started() {
        if (!engine) {
            auto made = Engine::make(model, backend, limits, clock);
            REQUIRE(made);
            engine = std::move(*made);
        }
        return *engine;
    }
    Ticket submit(Request request, Answer& answer) {
        request.sink = answer.sink();
        Result<Ticket> ticket = started().submit(std::move(request));
        REQUIRE(ticket);
        return *ticket;
    }
    Tokens ask(Request request) {
        Answer answer;
        submit(std::move(request), answer);
        return answer.wait().tokens();
    }
    ~ToyEngine() {
        control.open();
        engine.reset();
        CHECK(control.faults().empty());
    }
    ToyEngine(const ToyEngine&) = delete;
    ToyEngine& operator=(const ToyEngine&) = delete;

    EngineLimits limits;
    FakeClock clock;
    ToyControl control;
    ToyBackend backend{control};
    std::shared_ptr<ToyModel> model = std::make_shared<ToyModel>();
    std::unique_ptr<Engine> engine;
};

/// A prompt of `count` tokens; different numbers part at the first token.
inline Tokens prompt_of(std::int32_t count, std::int32_t number = 0) {
    Tokens tokens{number % kToyVocab};
    for (std::int32_t i = 1; i < count; ++i) {
        tokens.push_back((i * 7 + number) % kToyVocab);
    }
    return tokens;
}

/// Of the first `count` tokens, number i leaves the remainder i % 3 when divided by 3.
class ThreeStep final : public engine::TokenGuide {
  public:
    ThreeStep(std::int32_t vocab_size, int count) : vocab_size_(vocab_size), count_(count) {
        fill();
    }
    [[nodiscard]] bool is_active() const override { return !mask_.empty(); }
    [[nodiscard]] std::span<const std::uint32_t> allowed() const override { return mask_; }
    void accept(std::int32_t /*token*/) override {
        ++seen_;
        fill();
    }

  private:
    void fill() {
        const std::int64_t words = seen_ < count_ ? compute::mask_words(vocab_size_) : 0;
        mask_.assign(static_cast<std::size_t>(words), 0);
        for (int token = seen_ % 3; token < vocab_size_ && !mask_.empty(); token += 3) {
            mask_[static_cast<std::size_t>(token / 32)] |= 1U << static_cast<unsigned>(token % 32);
        }
    }
    const std::int32_t vocab_size_;
    const int count_;
    int seen_ = 0;
    std::vector<std::uint32_t> mask_;
};

/// What the toy model answers, computed without engine, cache or batch. `guide`: one like the
/// request's, which remembers what it has seen.
inline Tokens expected_text(const Request& request,
                            engine::TokenGuide* guide = nullptr,
                            std::size_t memory = 0) {
    using Mask = std::span<const std::uint32_t>;
    Sampler sampler(kToyVocab);
    Tokens tokens = request.prompt;
    Tokens text;
    while (static_cast<std::int32_t>(text.size()) < request.tokens_max) {
        compute::PickOrder order{request.sampling, static_cast<std::int32_t>(tokens.size())};
        const auto allowed = guide == nullptr ? Mask() : guide->allowed();
        if (!allowed.empty()) order.allowed = allowed.data();
        const auto pick = sampler.pick(toy_logits(tokens, memory), order);
        if (std::ranges::count(request.stop_tokens, pick.token) > 0) break;
        tokens.push_back(pick.token);
        text.push_back(pick.token);
        if (guide != nullptr) guide->accept(pick.token);
    }
    return text;
}

inline Request request_of(Tokens prompt,
                          std::int32_t tokens_max = 20,
                          Priority priority = Priority::chat,
                          SamplingSettings sampling = {}) {
    Request request;
    request.prompt = std::move(prompt);
    request.tokens_max = tokens_max;
    request.priority = priority;
    request.sampling = sampling;
    return request;
}

}  // namespace hearth::test

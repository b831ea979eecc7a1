#include "core/assist/answer_stream.h"

#include <utility>
#include <variant>

namespace hearth::assist {

using engine::FinishReason;
using engine::SinkAnswer;

AnswerStream::AnswerStream(std::shared_ptr<const tokenizer::Tokenizer> tokenizer,
                           std::unique_ptr<TextGate> gate,
                           std::int32_t tokens_max)
    : tokenizer_(std::move(tokenizer)),
      // A piece per token, one from the end of the text.
      pieces_(static_cast<std::size_t>(tokens_max) + 1),
      decoder_(*tokenizer_),
      gate_(std::move(gate)) {}

void AnswerStream::push(std::string piece) {
    if (piece.empty()) return;
    const bool has_room = pieces_.try_push(std::move(piece));
    HEARTH_ASSERT(has_room || is_ended_);
}

void AnswerStream::end_text(FinishReason reason) {
    if (std::exchange(is_text_ended_, true)) return;
    if (const std::string rest = decoder_.finish();
        !rest.empty() && reason == FinishReason::stop_token) {
        GateAnswer answer = gate_->feed(rest, 1.0F);
        answer.text += answer.is_enough ? std::string() : gate_->finish(reason);
        push(std::move(answer.text));
        return;
    }
    push(gate_->finish(reason));
}

void AnswerStream::end_with(const engine::TokenEvent& stop) {
    if (is_text_ended_) return;
    tokens_.push_back(stop);
    gate_->feed_stop(stop.probability, stop.rivals.front().probability);
    end_text(FinishReason::stop_token);
}

bool AnswerStream::replay(std::span<const engine::TokenEvent> known) {
    const LockGuard lock(mutex_);
    known_count_ = known.size();
    for (const engine::TokenEvent& event : known) {
        if (on_token(event) == SinkAnswer::enough) return true;
    }
    return false;
}

SinkAnswer AnswerStream::on_token(const engine::TokenEvent& event) {
    if (is_text_ended_) return SinkAnswer::enough;
    if (tokenizer_->is_special(event.token)) {
        end_with(event);
        return SinkAnswer::enough;
    }
    tokens_.push_back(event);
    GateAnswer answer = gate_->feed(
        decoder_.feed(event.token), event.probability, event.rivals.front().probability);
    push(std::move(answer.text));
    if (!answer.is_enough) return SinkAnswer::go_on;
    is_text_ended_ = true;
    return SinkAnswer::enough;
}

SinkAnswer AnswerStream::on_event(const engine::Event& event) {
    const LockGuard lock(mutex_);
    if (is_ended_) return SinkAnswer::enough;
    if (const auto* token = std::get_if<engine::TokenEvent>(&event)) return on_token(*token);
    if (const auto* finished = std::get_if<engine::FinishedEvent>(&event)) {
        outcome_.reason = finished->reason;
        outcome_.usage = finished->usage;
        if (finished->stop) end_with(*finished->stop);
        end_text(finished->reason);
    } else {
        outcome_.error = std::get<engine::FailedEvent>(event).error;
    }
    is_ended_ = true;
    pieces_.close();
    return SinkAnswer::enough;
}

void AnswerStream::end(FinishReason reason) {
    const LockGuard lock(mutex_);
    if (std::exchange(is_ended_, true)) return;
    outcome_.reason = reason;
    outcome_.usage.generated_tokens = static_cast<std::int32_t>(tokens_.size() - known_count_);
    end_text(reason);
    pieces_.close();
}

AnswerStream::Outcome AnswerStream::outcome() const {
    const LockGuard lock(mutex_);
    Outcome outcome = outcome_;
    outcome.confidence = gate_->evidence().confidence();
    return outcome;
}

std::vector<engine::TokenEvent> AnswerStream::tokens() const {
    const LockGuard lock(mutex_);
    return tokens_;
}

}  // namespace hearth::assist

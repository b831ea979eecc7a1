// AnswerStream: one generation between the engine, which feeds it, and the job that waits for it.
// Decoding and gating happen as the token comes, so that "enough" ends the sequence in the same
// step; what was released travels to the job through a queue bounded by the token limit.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/assist/text_gate.h"
#include "core/base/bounded_queue.h"
#include "core/base/mutex.h"
#include "core/engine/request.h"
#include "core/tokenizer/stream_decoder.h"

namespace hearth::assist {

class AnswerStream {
  public:
    AnswerStream(std::shared_ptr<const tokenizer::Tokenizer> tokenizer,
                 std::unique_ptr<TextGate> gate,
                 std::int32_t tokens_max);

    /// Takes tokens that are known before the engine is asked; the answer goes on behind them.
    /// True: its end is among them. They count as tokens of `tokens_max`. Before any event.
    bool replay(std::span<const engine::TokenEvent> known);

    /// [engine] The request's sink. A special token ends the answer, whichever it is.
    engine::SinkAnswer on_event(const engine::Event& event);

    /// [job] The next released piece; empty at the end, or when `until` has passed.
    std::optional<std::string> next(TimePoint until) { return pieces_.pop_until(until); }

    /// [job] Ends the answer now: its gate is asked for what is sound, later tokens are ignored.
    /// Nothing happens when it has ended already.
    void end(engine::FinishReason reason);

    struct Outcome {
        std::optional<Error> error;
        std::optional<engine::FinishReason> reason;  ///< empty with an error, or before the end
        engine::Usage usage;
        float confidence = 0.0F;  ///< Evidence::confidence()
    };
    [[nodiscard]] Outcome outcome() const;

    /// [job] All tokens so far, in order; the stop token, where there was one, last.
    [[nodiscard]] std::vector<engine::TokenEvent> tokens() const;

  private:
    engine::SinkAnswer on_token(const engine::TokenEvent& event) HEARTH_REQUIRES(mutex_);
    void end_text(engine::FinishReason reason) HEARTH_REQUIRES(mutex_);
    void end_with(const engine::TokenEvent& stop) HEARTH_REQUIRES(mutex_);
    void push(std::string piece) HEARTH_REQUIRES(mutex_);

    const std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
    BoundedQueue<std::string> pieces_;

    mutable Mutex mutex_;
    tokenizer::StreamDecoder decoder_ HEARTH_GUARDED_BY(mutex_);
    const std::unique_ptr<TextGate> gate_ HEARTH_GUARDED_BY(mutex_);
    bool is_text_ended_ HEARTH_GUARDED_BY(mutex_) = false;
    bool is_ended_ HEARTH_GUARDED_BY(mutex_) = false;
    std::vector<engine::TokenEvent> tokens_ HEARTH_GUARDED_BY(mutex_);  ///< at most tokens_max
    std::size_t known_count_ HEARTH_GUARDED_BY(mutex_) = 0;             ///< of them
    Outcome outcome_ HEARTH_GUARDED_BY(mutex_);
};

}  // namespace hearth::assist

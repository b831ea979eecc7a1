// What is asked of the engine and what comes back: values, no behaviour.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "core/base/cancel_token.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/compute/sampling.h"

namespace hearth::engine {

/// Names one submitted request, for cancel().
struct Ticket {
    std::uint64_t id = 0;
};

/// Who goes first when not all can. Lower runs earlier; equal ones in order of arrival.
enum class Priority : std::uint8_t { keystroke, fix, chat, background };

using compute::Rival;
using compute::SamplingSettings;

enum class FinishReason : std::uint8_t {
    stop_token,   ///< the model ended its answer; the stop token itself is not emitted
    tokens_max,   ///< the request's own limit, or the end of the context
    sink_enough,  ///< the reader had what it wanted
    deadline,     ///< time was up; what was emitted stands
    cancelled,    ///< the asker has gone
};

struct Usage {
    std::int32_t prompt_tokens = 0;
    std::int32_t cached_tokens = 0;     ///< of the prompt, found in the cache
    std::int32_t generated_tokens = 0;  ///< emitted
    double queue_ms = 0.0;              ///< from submit to admission
    double first_token_ms = 0.0;        ///< from submit to the first token; 0 without one
    double total_ms = 0.0;              ///< from submit to the end
    bool is_short = false;              ///< the short prompt was taken; the counts are of it
};

using TokenEvent = compute::Pick;
struct FinishedEvent {
    FinishReason reason;
    Usage usage;
    std::optional<TokenEvent> stop = {};  ///< the token that ended the answer, for stop_token
    /// (asked) natural logarithms, where the request asked for probabilities and got them all
    std::vector<double> log_probabilities = {};
};
struct FailedEvent {
    Error error;
};
using Event = std::variant<TokenEvent, FinishedEvent, FailedEvent>;

/// The sink's answer to a token; ignored for the other events.
enum class SinkAnswer : std::uint8_t { go_on, enough };
/// Called on [engine]: quick, never blocks, never calls the engine.
using EventSink = std::function<SinkAnswer(const Event&)>;

/// Which tokens may come next in one answer, where not all may: the text is known, or has to follow
/// a grammar.
///
/// Thread: engine.
class TokenGuide {
  public:
    TokenGuide() = default;
    TokenGuide(const TokenGuide&) = delete;
    TokenGuide& operator=(const TokenGuide&) = delete;
    virtual ~TokenGuide() = default;

    /// False: any token may come, now and later.
    [[nodiscard]] virtual bool is_active() const = 0;
    /// (compute::mask_words) a bit per token, at least one of them set; empty: any may come. May
    /// wait for the mask, a moment. Valid until the next call of accept().
    [[nodiscard]] virtual std::span<const std::uint32_t> allowed() const = 0;
    /// What came.
    virtual void accept(std::int32_t token) = 0;
    /// True: it could not say what may come (memory ran out), so what was picked since then does
    /// not count and the request fails. Known once allowed() or is_active() was asked.
    [[nodiscard]] virtual bool has_failed() const { return false; }
};

/// How probable would `token` be behind the token at `row` of the prompt?
struct Asked {
    std::int32_t row = 0;
    std::int32_t token = 0;
};

struct Request {
    std::vector<std::int32_t> prompt;
    /// Not empty: nothing is generated, these probabilities are told at the end, before any filter
    /// and mask. By ascending row; the rows from the first one on are always computed.
    std::vector<Asked> asked = {};
    /// So many tokens at the head of `prompt` are the same for the next key; 0: all. What stands
    /// behind them has to be computed for every key.
    std::int32_t stable_tokens = 0;
    /// Taken instead where `prompt` is cold: computing what is not cached of its stable head would
    /// last longer than `cold_budget`, and by more than a third longer than what is not cached of
    /// this one. Then that head is computed behind the answer, with what nobody else needs, so
    /// that a later request finds it. Empty: there is none.
    std::vector<std::int32_t> short_prompt = {};
    Duration cold_budget = {};
    SamplingSettings sampling;
    bool wants_rivals = false;                    ///< each token's event names likely others
    std::shared_ptr<TokenGuide> guide = nullptr;  ///< null: any token may come
    std::vector<std::int32_t> stop_tokens;
    std::int32_t tokens_max = 64;  ///< generated ones
    Priority priority = Priority::chat;
    std::optional<TimePoint> deadline;
    CancelToken cancel;
    EventSink sink;
};

}  // namespace hearth::engine

// Scheduler: who advances in the next step, and by how many tokens. Two queues, waiting and
// running, both in the order of priority, then arrival. Knows tokens, counts and block numbers; no
// clock, no model, no sink.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "core/engine/kv_cache.h"
#include "core/engine/sequence.h"

namespace hearth::engine {

struct SchedulerLimits {
    std::int32_t waiting_max = 0;  ///< what the caller lets in; sequences that make way come on top
    std::int32_t sequences_max = 0;
    std::int32_t prefill_tokens_per_step = 0;
    std::int32_t draft_tokens_per_step = 0;  ///< of all sequences; they count as prefill
};

/// Whether somebody is typing: the next key may come during the step.
enum class Pace : std::uint8_t { idle, typing };

/// A sequence's part of a step: its next `token_count` uncomputed tokens.
struct Share {
    Sequence* sequence = nullptr;
    std::int32_t token_count = 0;
};

/// Thread: engine.
class Scheduler {
  public:
    using Queue = std::vector<std::unique_ptr<Sequence>>;

    /// `cache` outlives it, and has room for the longest sequence that is ever enqueued.
    Scheduler(KvCache& cache, const SchedulerLimits& limits);

    void enqueue(std::unique_ptr<Sequence> sequence);

    /// Whether admit() and next_batch() will let nobody in and make nobody wait: the next step can
    /// then be launched while tokens of the last one are still unknown.
    [[nodiscard]] bool is_settled() const;

    /// Lets the best waiting sequences run while there is a slot and room in the cache; running
    /// ones of lower priority make way for them. Nobody overtakes a better one that does not fit.
    void admit();

    /// The next step: first one token of every sequence that decodes, with its draft as far as
    /// there is room for it, then the prompts, best first, at most prefill_tokens_per_step
    /// together. Beside a keystroke lower ones do not decode, and prompts of lower priority than
    /// the best sequence of the step have to wait; every kTurn steps they have their turn: a token
    /// each, without a draft, and of the prompts the best one at least a part of the step, however
    /// much the better ones want. A background prompt has none beside a keystroke, and while
    /// somebody is typing it comes in pieces of kTypingPiece. Then a step has at most
    /// `typing_tokens` of all prompts that are no keystrokes. When a sequence finds no room for its
    /// next token, the last of the running ones make way, itself at worst.
    ///
    /// Owner and life: valid until the next call of any verb.
    std::span<const Share> next_batch(Pace pace = Pace::idle, std::int32_t typing_tokens = kAll);

    /// Whether the next step is a keystroke's, as far as it is known before next_batch().
    [[nodiscard]] bool is_for_keystroke() const { return best_priority() == Priority::keystroke; }
    /// Whether a draft of `sequence` would be tried in the next step.
    [[nodiscard]] bool may_draft(const Sequence& sequence) const {
        return sequence.request.priority == Priority::keystroke || !is_for_keystroke();
    }

    /// Takes a sequence out, wherever it is, and gives its blocks back.
    std::unique_ptr<Sequence> retire(const Sequence& sequence, Rows rows);

    [[nodiscard]] const Queue& waiting() const { return waiting_; }
    [[nodiscard]] const Queue& running() const { return running_; }
    [[nodiscard]] bool is_empty() const { return waiting_.empty() && running_.empty(); }

    /// Those of lower priority are held back in all steps but one of so many. A step in which two
    /// decode reads the experts of both, so it takes up to twice as long: one of eight makes a
    /// keystroke 12 % longer at most, where 20 % are allowed. And a mixture of experts reads most
    /// of its weights for a piece of any size, so rare large pieces delay the better sequence less
    /// than frequent small ones.
    static constexpr std::int32_t kTurn = 8;
    /// The part of such a step that is kept for the best prompt that was held back, at least.
    static constexpr std::int32_t kTurnPart = 4;
    /// A key that comes during a step waits for the rest of it.
    static constexpr std::int32_t kTypingPiece = 64;
    static constexpr std::int32_t kAll = std::numeric_limits<std::int32_t>::max();

  private:
    [[nodiscard]] Priority best_priority() const;
    [[nodiscard]] const Sequence* best_lower_prompt() const;
    [[nodiscard]] bool is_turn() const { return steps_held_ + 1 >= kTurn; }
    std::int32_t add_next_tokens();
    void add_prompts(std::int32_t budget, Pace pace, std::int32_t typing_tokens);
    [[nodiscard]] bool ensure_room(Sequence& sequence);
    void cut_draft(Sequence& sequence, std::int32_t tokens_max);
    void make_way();

    // Fixed after construction.
    KvCache& cache_;
    const SchedulerLimits limits_;

    // Engine thread only. The queues' room is taken once: moving between them cannot fail.
    Queue waiting_;
    Queue running_;
    std::vector<Share> batch_;
    std::int32_t steps_held_ = 0;  ///< since those of lower priority had their turn
    bool is_held_ = false;         ///< somebody is held back in the step that is made
};

}  // namespace hearth::engine

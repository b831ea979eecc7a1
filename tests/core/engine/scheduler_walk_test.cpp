// The scheduler and the cache in thousands of short random walks, with drafts, prompts that are
// judged, steps launched ahead and keys that never end: nobody is lost, no block has two writers,
// and nobody waits longer than for the work of those who are before it.
#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <utility>

#include <catch2/catch.hpp>

#include "core/engine/scheduler.h"

namespace hearth::engine {
namespace {

using compute::kBlockTokens;

/// What is known of one request.
struct Course {
    std::int32_t work = 0;  ///< steps it takes at most while it is the best of all
    std::int32_t computed_tokens = 0;
    std::int32_t steps_waited = 0;  ///< since it came
    std::int32_t work_ahead = 0;    ///< of those before it that have ended since it came
};

/// What a walk has seen, so that a test can say that it was there.
struct Seen {
    std::int64_t drafts_right = 0;
    std::int64_t judged = 0;            ///< prompts that ended
    std::int64_t launched_ahead = 0;    ///< steps, while tokens of the last one were unknown
    std::int64_t held_back = 0;         ///< steps beside a keystroke
    std::int64_t turns_of_full = 0;     ///< steps that a better prompt would have filled
    std::int64_t work_beside_keys = 0;  ///< tokens of others while keys never ended
};

/// One walk: some requests that come at random, until all have ended.
class Walk {
  public:
    explicit Walk(std::uint32_t seed, Seen& seen)
        : random_(seed),
          seen_(seen),
          is_ahead_(below(3) == 0),
          has_endless_keys_(below(4) == 0),
          limits_(make_limits()),
          typing_tokens_(below(2) == 0 ? Scheduler::kAll : 4 + below(20)),
          block_count_(6 + below(10)),
          cache_(block_count_, [](std::int32_t, std::int32_t) {}),
          scheduler_(cache_, limits_),
          arrivals_left_(1 + below(has_endless_keys_ ? 3 : 8)) {}

    /// The first rule that did not hold; empty: all did.
    std::string run() {
        while (arrivals_left_ > 0 || !scheduler_.is_empty()) {
            if (arrivals_left_ > 0 && below(4) == 0) {
                --arrivals_left_;
                add(static_cast<Priority>(has_endless_keys_ ? 1 + below(3) : below(4)));
            }
            if (has_endless_keys_) type();
            step();
            if (!fault_.empty()) return fault_;
        }
        return cache_.idle_count() == block_count_ ? "" : "blocks are lost";
    }

  private:
    /// One sequence's part of a step.
    struct Part {
        Sequence* sequence = nullptr;  ///< null once it ended
        std::int32_t token_count = 0;
        std::int32_t picks = 0;
    };

    std::int32_t below(std::int32_t end) {
        return static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(end));
    }
    SchedulerLimits make_limits() {
        const std::int32_t prefill = 4 + below(24);
        return {.waiting_max = 8,
                .sequences_max = (has_endless_keys_ ? 2 : 1) + below(4),
                .prefill_tokens_per_step = prefill,
                .draft_tokens_per_step = below(prefill / 2 + 1)};
    }

    /// Steps in which `token_count` tokens of a prompt are computed, at most, while it is the best
    /// of all, or of all but the keys that never end.
    [[nodiscard]] std::int32_t pieces_of(std::int32_t token_count, Priority priority) const {
        std::int32_t piece = limits_.prefill_tokens_per_step - limits_.draft_tokens_per_step;
        if (priority != Priority::keystroke) piece = std::min(piece, typing_tokens_);
        const std::int32_t part = (piece + Scheduler::kTurnPart - 1) / Scheduler::kTurnPart;
        piece = is_beside_keys(priority) ? part : piece - part;
        return (token_count + piece - 1) / piece;
    }
    [[nodiscard]] bool is_beside_keys(Priority priority) const {
        return has_endless_keys_ && priority != Priority::keystroke;
    }

    /// Few different tokens and few places where prompts part.
    Sequence& add(Priority priority) {
        auto sequence = std::make_unique<Sequence>();
        sequence->ticket.id = ++arrivals_;
        sequence->request.priority = priority;
        const std::int32_t answer = 1 + below(12);
        // Beside keys there is always room for the best of the others.
        const std::int32_t part = !has_endless_keys_ ? 1 : priority == Priority::keystroke ? 3 : 2;
        const std::int32_t prompt = 1 + below(block_count_ / part * kBlockTokens - answer);
        for (std::int32_t i = 0; i < prompt; ++i) {
            sequence->tokens.push_back(below(40) == 0 ? 1 : 0);
        }
        sequence->length_max = prompt + answer;
        if (below(5) == 0) sequence->request.asked = {{below(prompt), 0}};
        Course& course = courses_[sequence.get()];
        course.work = pieces_of(prompt, priority) + answer;
        if (is_beside_keys(priority)) course.work *= Scheduler::kTurn;
        Sequence& added = *sequence;
        scheduler_.enqueue(std::move(sequence));
        return added;
    }

    /// A key every few steps, as long as anybody is left who has turns beside one. It supersedes
    /// the one before it.
    void type() {
        const std::vector<const Sequence*> all = alive();
        const bool is_over =
            arrivals_left_ == 0 && std::ranges::all_of(all, [&](const auto* each) {
                return each == key_ || each->request.priority == Priority::background;
            });
        if (key_ != nullptr && (is_over || below(6) == 0)) end(*key_);
        if (key_ == nullptr && !is_over) key_ = &add(Priority::keystroke);
    }

    void step() {
        while (!flights_.empty() && (!scheduler_.is_settled() || is_any(&Sequence::is_gated))) {
            collect();
        }
        scheduler_.admit();
        if (is_any(&Sequence::is_judged)) collect_all();
        for (const auto& sequence : scheduler_.running()) {
            if (!sequence->is_ready_for_draft()) continue;
            const std::int32_t room = sequence->length_max - sequence->length() - 1;
            sequence->draft.assign(static_cast<std::size_t>(below(room + 1)), 0);
        }
        const Pace pace = below(2) == 0 ? Pace::idle : Pace::typing;
        const std::span<const Share> next = scheduler_.next_batch(pace, typing_tokens_);
        const std::vector<Share> batch(next.begin(), next.end());
        note_lost_rows();
        check_batch(batch, pace);
        check_turns(batch);
        const bool is_launched_ahead = !flights_.empty();
        if (!batch.empty()) launch(batch);
        seen_.launched_ahead += is_launched_ahead && !batch.empty() ? 1 : 0;
        if (is_ahead_ && !is_any(&Sequence::is_judged)) {
            if (flights_.size() == 2 || (batch.empty() && !flights_.empty())) collect();
        } else {
            collect_all();
        }
        check_cache();
        check_waits();
        for (const Sequence* sequence : alive()) {
            if (below(100) == 0) end(*sequence);
        }
    }

    [[nodiscard]] bool is_any(bool (Sequence::*is_such)() const) const {
        return std::ranges::any_of(scheduler_.running(), [&](const auto& sequence) {
            return (sequence.get()->*is_such)();
        });
    }

    /// Rows of those who made way are computed again, as far as they were overwritten.
    void note_lost_rows() {
        for (const auto& sequence : scheduler_.running()) {
            Course& course = courses_[sequence.get()];
            const std::int32_t lost = course.computed_tokens - sequence->table.computed_tokens;
            if (lost > 0) {
                const Priority priority = sequence->request.priority;
                const std::int32_t turns = is_beside_keys(priority) ? Scheduler::kTurn : 1;
                course.work += turns * pieces_of(lost, priority);
            }
            course.computed_tokens = sequence->table.computed_tokens;
        }
    }

    void launch(const std::vector<Share>& batch) {
        std::vector<Part>& parts = flights_.emplace_back();
        for (const Share& share : batch) {
            Sequence& sequence = *share.sequence;
            const std::int32_t picks = sequence.logit_rows_of(share.token_count);
            parts.push_back({&sequence, share.token_count, picks});
            if (has_endless_keys_ && sequence.request.priority != Priority::keystroke) {
                seen_.work_beside_keys += share.token_count;
            }
        }
        for (const Part& part : parts) {
            part.sequence->rows_in_flight += part.token_count;
            if (part.picks > 0) ++part.sequence->picks_in_flight;
        }
    }
    void collect_all() {
        while (!flights_.empty()) {
            collect();
        }
    }
    void collect() {
        const std::vector<Part> parts = std::move(flights_.front());
        flights_.pop_front();
        for (const Part& part : parts) {
            if (part.sequence == nullptr) continue;
            Sequence& sequence = *part.sequence;
            sequence.rows_in_flight -= part.token_count;
            if (part.picks > 0) --sequence.picks_in_flight;
            compute(sequence, part);
            courses_[&sequence].computed_tokens = sequence.table.computed_tokens;
            const bool is_read =
                sequence.is_judged() && sequence.table.computed_tokens == sequence.token_count();
            seen_.judged += is_read ? 1 : 0;
            if (is_read || sequence.token_count() == sequence.length_max) end(sequence);
        }
    }

    /// The picks of a step; of a draft as much is right as chance will have it.
    void compute(Sequence& sequence, const Part& part) {
        const auto commit = [&](std::int32_t count) {
            cache_.commit(sequence.tokens, sequence.table, sequence.table.computed_tokens + count);
        };
        if (part.picks == 0 || sequence.is_judged()) return commit(part.token_count);
        commit(part.token_count - part.picks + 1);
        const std::size_t drafted = std::exchange(sequence.draft, {}).size();
        for (std::size_t right = 0;; ++right) {
            sequence.tokens.push_back(below(3));
            if (right == drafted || below(3) == 0) return;
            commit(1);
            ++seen_.drafts_right;
        }
    }

    [[nodiscard]] std::vector<const Sequence*> alive() const {
        std::vector<const Sequence*> all;
        for (const auto* queue : {&scheduler_.waiting(), &scheduler_.running()}) {
            for (const auto& sequence : *queue) {
                all.push_back(sequence.get());
            }
        }
        return all;
    }

    void check_batch(const std::vector<Share>& batch, Pace pace) {
        std::int32_t most = limits_.prefill_tokens_per_step;
        std::int32_t tokens = 0;
        std::int32_t slow_tokens = 0;  // of prompts that are no keystrokes
        for (const Share& share : batch) {
            const Sequence& sequence = *share.sequence;
            const bool decodes = sequence.uncomputed_count() == 1;
            most += decodes ? 1 : 0;
            tokens += share.token_count;
            const bool is_key = sequence.request.priority == Priority::keystroke;
            if (!is_key && !decodes) slow_tokens += share.token_count;
            if (decodes && share.token_count > 1 && !scheduler_.may_draft(sequence)) {
                fault_ = "a draft of another in a keystroke's step";
            }
        }
        if (tokens > most) fault_ = "a step has too many tokens";
        if (pace == Pace::typing && slow_tokens > typing_tokens_) fault_ = "a key would wait long";
        if (std::ssize(batch) > limits_.sequences_max) fault_ = "too many sequences advance";
        if (batch.empty() && flights_.empty() && !scheduler_.is_empty()) fault_ = "nobody advances";
    }

    /// Who decodes, and the best prompt, beside better ones is held back seven times running at
    /// most, but for background prompts beside a keystroke.
    void check_turns(const std::vector<Share>& batch) {
        const auto is_in = [&](const auto& sequence) {
            return std::ranges::find(batch, sequence.get(), &Share::sequence) != batch.end();
        };
        std::optional<Priority> best;
        bool is_lower_prompt_known = false;
        bool is_held = false;
        bool is_decoding_held = false;
        std::int32_t wanted = 0;
        for (const auto& sequence : scheduler_.running()) {
            const std::int32_t uncomputed = sequence->uncomputed_count();
            const Priority priority = sequence->request.priority;
            if (uncomputed == 0) continue;
            if (!best) best = priority;
            if (uncomputed == 1) {
                is_decoding_held = is_decoding_held || !is_in(sequence);
                if (!is_in(sequence) && best != Priority::keystroke) fault_ = "one does not decode";
                continue;
            }
            if (priority == best) {
                wanted += uncomputed;
                continue;
            }
            if (priority == Priority::background && best == Priority::keystroke) {
                if (is_in(sequence)) fault_ = "a background prompt has a turn beside a keystroke";
                continue;
            }
            if (std::exchange(is_lower_prompt_known, true)) continue;
            is_held = is_held || !is_in(sequence);
            if (is_in(sequence) && wanted >= limits_.prefill_tokens_per_step) ++seen_.turns_of_full;
        }
        is_held = is_held || is_decoding_held;
        seen_.held_back += is_decoding_held ? 1 : 0;
        held_steps_ = is_held ? held_steps_ + 1 : 0;
        if (held_steps_ >= Scheduler::kTurn) fault_ = "somebody has no turn";
    }

    void check_cache() {
        std::vector<const BlockTable*> tables;
        for (const Sequence* sequence : alive()) {
            tables.push_back(&sequence->table);
        }
        if (!cache_.is_consistent(tables)) fault_ = "the cache is not consistent";
        for (const auto& sequence : scheduler_.waiting()) {
            if (!sequence->table.blocks.empty()) fault_ = "one that waits has blocks";
        }
    }

    /// In each step the best of all advances, and beside keys that never end the best of the others
    /// in each turn, so nobody waits for more than the work of those before it, and its own.
    void check_waits() {
        const std::vector<const Sequence*> all = alive();
        for (const Sequence* sequence : all) {
            const bool is_promised =
                !has_endless_keys_ || sequence->request.priority != Priority::background;
            Course& course = courses_[sequence];
            std::int32_t load = course.work + course.work_ahead;
            for (const Sequence* other : all) {
                if (is_waited_for(*other, *sequence)) load += courses_[other].work;
            }
            if (++course.steps_waited > load && is_promised) fault_ = "a request starves";
        }
    }
    [[nodiscard]] bool is_waited_for(const Sequence& other, const Sequence& sequence) const {
        const bool is_key_beside = other.request.priority == Priority::keystroke &&
                                   is_beside_keys(sequence.request.priority);
        return is_before(other, sequence) && !is_key_beside;
    }

    void end(const Sequence& sequence) {
        for (const Sequence* other : alive()) {
            if (is_waited_for(sequence, *other)) {
                courses_[other].work_ahead += courses_[&sequence].work;
            }
        }
        for (std::vector<Part>& parts : flights_) {
            for (Part& part : parts) {
                if (part.sequence == &sequence) part.sequence = nullptr;
            }
        }
        courses_.erase(&sequence);
        if (key_ == &sequence) key_ = nullptr;
        scheduler_.retire(sequence, below(5) == 0 ? Rows::distrust : Rows::keep);
    }

    std::mt19937 random_;
    Seen& seen_;
    const bool is_ahead_;  ///< a step is launched before the last one's tokens are known
    const bool has_endless_keys_;
    const SchedulerLimits limits_;
    const std::int32_t typing_tokens_;
    const std::int32_t block_count_;
    KvCache cache_;
    Scheduler scheduler_;
    std::map<const Sequence*, Course> courses_;
    std::deque<std::vector<Part>> flights_;  ///< launched and not yet collected
    const Sequence* key_ = nullptr;          ///< the newest of those that never end
    std::int32_t arrivals_left_;
    std::uint64_t arrivals_ = 0;
    std::int32_t held_steps_ = 0;
    std::string fault_;
};

TEST_CASE("in ten thousand random walks nobody is lost and nobody starves", "[engine][scheduler]") {
    Seen seen;
    for (std::uint32_t seed = 0; seed < 10'000; ++seed) {
        const std::string fault = Walk(seed, seen).run();
        if (!fault.empty()) FAIL("seed " << seed << ": " << fault);
    }
    CHECK(seen.drafts_right > 10'000);
    CHECK(seen.judged > 5'000);
    CHECK(seen.launched_ahead > 10'000);
    CHECK(seen.held_back > 10'000);
    CHECK(seen.turns_of_full > 1'000);
    CHECK(seen.work_beside_keys > 10'000);
}

}  // namespace
}  // namespace hearth::engine

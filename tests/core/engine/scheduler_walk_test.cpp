// The scheduler and the cache in thousands of short random walks, with drafts: nobody is lost, no
// block has two writers, and nobody waits longer than for the work of those who are before it.
#include <algorithm>
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

/// One walk: some requests that come at random, until all have ended.
class Walk {
  public:
    explicit Walk(std::uint32_t seed)
        : random_(seed),
          limits_(make_limits()),
          block_count_(6 + below(10)),
          cache_(block_count_, [](std::int32_t, std::int32_t) {}),
          scheduler_(cache_, limits_),
          arrivals_left_(1 + below(8)) {}

    /// The first rule that did not hold; empty: all did.
    std::string run() {
        while (arrivals_left_ > 0 || !scheduler_.is_empty()) {
            if (arrivals_left_ > 0 && below(4) == 0) add();
            step();
            if (!fault_.empty()) return fault_;
        }
        return cache_.idle_count() == block_count_ ? "" : "blocks are lost";
    }
    [[nodiscard]] std::int32_t drafts_right() const { return drafts_right_; }

  private:
    std::int32_t below(std::int32_t end) {
        return static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(end));
    }
    SchedulerLimits make_limits() {
        const std::int32_t prefill = 2 + below(24);
        return {.waiting_max = 8,
                .sequences_max = 1 + below(4),
                .prefill_tokens_per_step = prefill,
                .draft_tokens_per_step = below(prefill / 2 + 1)};
    }
    /// Tokens of its prompt that the best of all gets in a step, at least.
    [[nodiscard]] std::int32_t piece() const {
        return limits_.prefill_tokens_per_step - limits_.draft_tokens_per_step;
    }
    [[nodiscard]] std::int32_t pieces_of(std::int32_t token_count) const {
        return (token_count + piece() - 1) / piece();
    }

    /// Few different tokens and few places where prompts part.
    void add() {
        --arrivals_left_;
        auto sequence = std::make_unique<Sequence>();
        sequence->ticket.id = ++arrivals_;
        sequence->request.priority = static_cast<Priority>(below(4));
        const std::int32_t answer = 1 + below(12);
        const std::int32_t prompt = 1 + below(block_count_ * kBlockTokens - answer);
        for (std::int32_t i = 0; i < prompt; ++i) {
            sequence->tokens.push_back(below(40) == 0 ? 1 : 0);
        }
        sequence->length_max = prompt + answer;
        courses_[sequence.get()].work = pieces_of(prompt) + answer;
        scheduler_.enqueue(std::move(sequence));
    }

    void step() {
        scheduler_.admit();
        for (const auto& sequence : scheduler_.running()) {
            if (!sequence->is_ready_for_draft()) continue;
            const std::int32_t room = sequence->length_max - sequence->length() - 1;
            sequence->draft.assign(static_cast<std::size_t>(below(room + 1)), 0);
        }
        const Pace pace = below(2) == 0 ? Pace::idle : Pace::typing;
        const std::span<const Share> next = scheduler_.next_batch(pace);
        const std::vector<Share> batch(next.begin(), next.end());
        note_lost_rows();
        check_batch(batch);
        check_turns(batch);
        std::vector<const Sequence*> ended;
        for (const Share& share : batch) {
            compute(share);
            Sequence& sequence = *share.sequence;
            courses_[&sequence].computed_tokens = sequence.table.computed_tokens;
            if (sequence.token_count() == sequence.length_max) ended.push_back(&sequence);
        }
        check_cache();
        check_waits();
        for (const auto* queue : {&scheduler_.waiting(), &scheduler_.running()}) {
            for (const auto& sequence : *queue) {
                const bool is_in = std::ranges::find(ended, sequence.get()) != ended.end();
                if (!is_in && below(100) == 0) ended.push_back(sequence.get());
            }
        }
        for (const Sequence* sequence : ended) {
            end(*sequence);
        }
    }

    /// Rows of those who made way are computed again, as far as they were overwritten.
    void note_lost_rows() {
        for (const auto& sequence : scheduler_.running()) {
            Course& course = courses_[sequence.get()];
            const std::int32_t lost = course.computed_tokens - sequence->table.computed_tokens;
            if (lost > 0) course.work += pieces_of(lost);
            course.computed_tokens = sequence->table.computed_tokens;
        }
    }

    /// The picks of a step; of a draft as much is right as chance will have it.
    void compute(const Share& share) {
        Sequence& sequence = *share.sequence;
        const std::int32_t picks = sequence.logit_rows_of(share.token_count);
        const std::size_t drafted = std::exchange(sequence.draft, {}).size();
        const auto commit = [&](std::int32_t count) {
            cache_.commit(sequence.tokens, sequence.table, sequence.table.computed_tokens + count);
        };
        if (picks == 0) return commit(share.token_count);
        commit(share.token_count - picks + 1);
        for (std::size_t right = 0;; ++right) {
            sequence.tokens.push_back(below(3));
            if (right == drafted || below(3) == 0) return;
            commit(1);
            ++drafts_right_;
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

    void check_batch(const std::vector<Share>& batch) {
        std::int32_t most = limits_.prefill_tokens_per_step;
        for (const Share& share : batch) {
            most += share.sequence->uncomputed_count() == 1 ? 1 : 0;
        }
        std::int32_t tokens = 0;
        for (const Share& share : batch) {
            tokens += share.token_count;
        }
        if (tokens > most) fault_ = "a step has too many tokens";
        if (std::ssize(batch) > limits_.sequences_max) fault_ = "too many sequences advance";
        if (batch.empty() != scheduler_.is_empty()) fault_ = "a step is empty, or is for nobody";
    }

    /// A prompt for which there was room in the step is held back seven times running at most, but
    /// for background prompts beside a keystroke.
    void check_turns(const std::vector<Share>& batch) {
        std::int32_t budget = limits_.prefill_tokens_per_step;
        for (const Share& share : batch) {
            budget -= share.token_count - (share.sequence->uncomputed_count() == 1 ? 1 : 0);
        }
        bool is_held = false;
        for (const auto& sequence : scheduler_.running()) {
            const bool is_in =
                std::ranges::find(batch, sequence.get(), &Share::sequence) != batch.end();
            const bool is_background = sequence->request.priority == Priority::background;
            const bool is_beside_key =
                scheduler_.running().front()->request.priority == Priority::keystroke;
            if (is_in && is_background && is_beside_key && sequence->uncomputed_count() > 1) {
                fault_ = "a background prompt has a turn beside a keystroke";
            }
            if (sequence->uncomputed_count() > 1 && budget > 0 && !is_in) {
                is_held = is_held || !(is_background && is_beside_key);
            }
        }
        held_steps_ = is_held ? held_steps_ + 1 : 0;
        if (held_steps_ >= Scheduler::kPrefillTurn) fault_ = "a prompt has no turn";
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

    /// In each step the best of all advances, so nobody waits for more than the work of those
    /// before it, and its own.
    void check_waits() {
        const std::vector<const Sequence*> all = alive();
        for (const Sequence* sequence : all) {
            Course& course = courses_[sequence];
            std::int32_t load = course.work + course.work_ahead;
            for (const Sequence* other : all) {
                if (is_before(*other, *sequence)) load += courses_[other].work;
            }
            if (++course.steps_waited > load) fault_ = "a request starves";
        }
    }

    void end(const Sequence& sequence) {
        for (const Sequence* other : alive()) {
            if (is_before(sequence, *other)) courses_[other].work_ahead += courses_[&sequence].work;
        }
        courses_.erase(&sequence);
        scheduler_.retire(sequence, below(5) == 0 ? Rows::distrust : Rows::keep);
    }

    std::mt19937 random_;
    const SchedulerLimits limits_;
    const std::int32_t block_count_;
    KvCache cache_;
    Scheduler scheduler_;
    std::map<const Sequence*, Course> courses_;
    std::int32_t arrivals_left_;
    std::uint64_t arrivals_ = 0;
    std::int32_t held_steps_ = 0;
    std::int32_t drafts_right_ = 0;
    std::string fault_;
};

TEST_CASE("in ten thousand random walks nobody is lost and nobody starves", "[engine][scheduler]") {
    std::int64_t drafts_right = 0;
    for (std::uint32_t seed = 0; seed < 10'000; ++seed) {
        Walk walk(seed);
        const std::string fault = walk.run();
        if (!fault.empty()) FAIL("seed " << seed << ": " << fault);
        drafts_right += walk.drafts_right();
    }
    CHECK(drafts_right > 10'000);
}

}  // namespace
}  // namespace hearth::engine

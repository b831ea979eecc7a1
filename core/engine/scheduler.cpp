#include "core/engine/scheduler.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "core/base/assert.h"

namespace hearth::engine {
namespace {

void insert_in_order(Scheduler::Queue& queue, std::unique_ptr<Sequence> sequence) {
    const auto place = std::ranges::upper_bound(
        queue, sequence, [](const auto& a, const auto& b) { return is_before(*a, *b); });
    queue.insert(place, std::move(sequence));
}

std::unique_ptr<Sequence> remove_from(Scheduler::Queue& queue, const Sequence& sequence) {
    const auto place = std::ranges::find(queue, &sequence, &std::unique_ptr<Sequence>::get);
    if (place == queue.end()) return nullptr;
    std::unique_ptr<Sequence> removed = std::move(*place);
    queue.erase(place);
    return removed;
}

}  // namespace

Scheduler::Scheduler(KvCache& cache, const SchedulerLimits& limits)
    : cache_(cache),
      limits_(limits) {
    waiting_.reserve(static_cast<std::size_t>(limits.waiting_max) +
                     static_cast<std::size_t>(limits.sequences_max));
    running_.reserve(static_cast<std::size_t>(limits.sequences_max));
    batch_.reserve(static_cast<std::size_t>(limits.sequences_max));
}

void Scheduler::enqueue(std::unique_ptr<Sequence> sequence) {
    insert_in_order(waiting_, std::move(sequence));
}

bool Scheduler::is_settled() const {
    const bool may_admit = !waiting_.empty() &&
                           (running_.size() < static_cast<std::size_t>(limits_.sequences_max) ||
                            running_.back()->request.priority > waiting_.front()->request.priority);
    return !may_admit && static_cast<std::size_t>(cache_.idle_count()) >= running_.size();
}

void Scheduler::admit() {
    while (!waiting_.empty()) {
        Sequence& next = *waiting_.front();
        while (running_.size() >= static_cast<std::size_t>(limits_.sequences_max) ||
               !cache_.try_reserve(next.tokens, next.table, next.first_logit_row())) {
            HEARTH_ASSERT(!running_.empty());
            if (running_.back()->request.priority <= next.request.priority) return;
            make_way();
        }
        insert_in_order(running_, remove_from(waiting_, next));
    }
}

std::span<const Share> Scheduler::next_batch(Pace pace, std::int32_t typing_tokens) {
    batch_.clear();
    const std::int32_t drafted = add_next_tokens();
    add_prompts(limits_.prefill_tokens_per_step - drafted, pace, typing_tokens);
    return batch_;
}

/// Of every sequence that decodes. Returns how many tokens their drafts have together.
std::int32_t Scheduler::add_next_tokens() {
    std::int32_t drafted = 0;
    for (std::size_t i = 0; i < running_.size(); ++i) {
        Sequence& sequence = *running_[i];
        if (sequence.uncomputed_count() != 1 || !ensure_room(sequence)) continue;
        cut_draft(sequence, limits_.draft_tokens_per_step - drafted);
        const auto size = static_cast<std::int32_t>(sequence.draft.size());
        drafted += size;
        batch_.push_back({&sequence, 1 + size});
    }
    return drafted;
}

void Scheduler::add_prompts(std::int32_t budget, Pace pace, std::int32_t typing_tokens) {
    bool is_held = false;
    for (const auto& sequence : running_) {
        if (sequence->uncomputed_count() <= 1 || budget == 0) continue;
        const Priority best = running_.front()->request.priority;
        const bool is_background = sequence->request.priority == Priority::background;
        if (is_background && best == Priority::keystroke) break;
        if (sequence->request.priority != best && steps_held_ + 1 < kPrefillTurn) {
            is_held = true;
            break;
        }
        if (pace == Pace::typing && sequence->request.priority != Priority::keystroke) {
            budget = std::min({budget, typing_tokens, is_background ? kTypingPiece : kAll});
        }
        const std::int32_t count = std::min(budget, sequence->uncomputed_count());
        budget -= count;
        batch_.push_back({sequence.get(), count});
    }
    steps_held_ = is_held ? steps_held_ + 1 : 0;
}

std::unique_ptr<Sequence> Scheduler::retire(const Sequence& sequence, Rows rows) {
    std::unique_ptr<Sequence> retired = remove_from(running_, sequence);
    if (retired == nullptr) retired = remove_from(waiting_, sequence);
    HEARTH_ASSERT(retired != nullptr);
    cache_.release(retired->tokens, retired->table, rows);
    return retired;
}

/// False when `sequence` itself had to make way.
bool Scheduler::ensure_room(Sequence& sequence) {
    while (!cache_.try_extend(sequence.table, sequence.length())) {
        const bool is_last = running_.back().get() == &sequence;
        make_way();
        if (is_last) return false;
    }
    return true;
}

/// Nobody makes way for a guess: a block stays for each running sequence.
void Scheduler::cut_draft(Sequence& sequence, std::int32_t tokens_max) {
    const auto has_room_for = [&](std::int32_t size) {
        const auto blocks = static_cast<std::int32_t>(sequence.table.blocks.size());
        const std::int32_t more = blocks_for(sequence.length() + size) - blocks;
        return more <= 0 ||
               cache_.idle_count() - more >= static_cast<std::int32_t>(running_.size());
    };
    auto size = std::min(static_cast<std::int32_t>(sequence.draft.size()), tokens_max);
    while (size > 0 && !has_room_for(size)) {
        --size;
    }
    sequence.draft.resize(static_cast<std::size_t>(size));
    const bool has_room = cache_.try_extend(sequence.table, sequence.length() + size);
    HEARTH_ASSERT(has_room);
}

/// The last of the running sequences waits again, in its old place. Its rows are kept as long as
/// their room is not needed.
void Scheduler::make_way() {
    Sequence& last = *running_.back();
    HEARTH_ASSERT(last.rows_in_flight == 0 && last.picks_in_flight == 0);
    last.draft.clear();
    cache_.release(last.tokens, last.table, Rows::keep);
    insert_in_order(waiting_, std::move(running_.back()));
    running_.pop_back();
}

}  // namespace hearth::engine

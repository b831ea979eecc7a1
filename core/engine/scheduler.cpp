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
    is_held_ = false;
    const std::int32_t drafted = add_next_tokens();
    add_prompts(limits_.prefill_tokens_per_step - drafted, pace, typing_tokens);
    steps_held_ = is_held_ ? steps_held_ + 1 : 0;
    return batch_;
}

/// Of those who have something to do in the next step.
Priority Scheduler::best_priority() const {
    for (const auto& sequence : running_) {
        if (sequence->uncomputed_count() > 0) return sequence->request.priority;
    }
    return Priority::background;
}

/// Of every sequence that decodes. Returns how many tokens their drafts have together.
std::int32_t Scheduler::add_next_tokens() {
    const bool is_for_key = is_for_keystroke();
    std::int32_t drafted = 0;
    for (std::size_t i = 0; i < running_.size(); ++i) {
        Sequence& sequence = *running_[i];
        if (sequence.uncomputed_count() != 1) continue;
        const bool is_lower = is_for_key && sequence.request.priority != Priority::keystroke;
        if (is_lower && !is_turn()) {
            is_held_ = true;
            continue;
        }
        if (!ensure_room(sequence)) continue;
        cut_draft(sequence, is_lower ? 0 : limits_.draft_tokens_per_step - drafted);
        const auto size = static_cast<std::int32_t>(sequence.draft.size());
        drafted += size;
        batch_.push_back({&sequence, 1 + size});
    }
    return drafted;
}

void Scheduler::add_prompts(std::int32_t budget, Pace pace, std::int32_t typing_tokens) {
    const Priority best = best_priority();
    const auto most_of = [&](Priority priority) {
        if (pace == Pace::idle || priority == Priority::keystroke) return kAll;
        return priority == Priority::background ? std::min(typing_tokens, kTypingPiece)
                                                : typing_tokens;
    };
    std::int32_t kept = 0;
    if (const Sequence* lower = is_turn() ? best_lower_prompt() : nullptr) {
        const std::int32_t part = (std::min(budget, most_of(best)) + kTurnPart - 1) / kTurnPart;
        kept = std::min({part, lower->uncomputed_count(), most_of(lower->request.priority)});
    }
    for (const auto& sequence : running_) {
        if (sequence->uncomputed_count() <= 1) continue;
        const Priority priority = sequence->request.priority;
        if (priority == Priority::background && best == Priority::keystroke) break;
        if (priority != best && !is_turn()) {
            is_held_ = true;
            break;
        }
        budget = std::min(budget, most_of(priority));
        const std::int32_t room = priority == best ? budget - kept : budget;
        const std::int32_t count = std::min(room, sequence->uncomputed_count());
        if (count <= 0) continue;
        budget -= count;
        batch_.push_back({sequence.get(), count});
    }
}

/// The best of those that are held back but for a turn, or null.
const Sequence* Scheduler::best_lower_prompt() const {
    const Priority best = best_priority();
    for (const auto& sequence : running_) {
        const Priority priority = sequence->request.priority;
        if (priority == Priority::background && best == Priority::keystroke) break;
        if (priority != best && sequence->uncomputed_count() > 1) return sequence.get();
    }
    return nullptr;
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

#include "kernels/cuda/expert_slots.h"

#include "core/base/assert.h"

namespace hearth::cuda {
namespace {

std::size_t at(int index) {
    return static_cast<std::size_t>(index);
}

}  // namespace

ExpertSlots::ExpertSlots(int expert_count, int slot_count)
    : last_use_(at(expert_count), 0),
      slot_of_(at(expert_count), kNobody),
      slots_(at(slot_count)) {
    HEARTH_ASSERT(slot_count >= 1 && slot_count < expert_count);
}

void ExpertSlots::note(std::span<const std::uint8_t> used) {
    HEARTH_ASSERT(used.size() == last_use_.size());
    ++step_;
    for (std::size_t expert = 0; expert < used.size(); ++expert) {
        if (used[expert] != 0) last_use_[expert] = step_;
    }
}

/// The missing expert that was used last; of equal ones the first.
int ExpertSlots::wanted() const {
    int best = kNobody;
    for (int expert = 0; expert < static_cast<int>(slot_of_.size()); ++expert) {
        if (slot_of_[at(expert)] != kNobody || last_use_[at(expert)] == 0) continue;
        if (best == kNobody || last_use_[at(expert)] > last_use_[at(best)]) best = expert;
    }
    return best;
}

/// An empty slot, else the full one whose expert was used least recently.
int ExpertSlots::cheapest_slot() const {
    int best = kNobody;
    for (int slot = 0; slot < static_cast<int>(slots_.size()); ++slot) {
        if (expert_in(slot) == kNobody) return slot;
        if (!is_full(slot)) continue;
        if (best == kNobody || last_use_[at(expert_in(slot))] < last_use_[at(expert_in(best))]) {
            best = slot;
        }
    }
    return best;
}

std::optional<ExpertSlots::Fetch> ExpertSlots::begin_fetch() {
    const int expert = wanted();
    const int slot = cheapest_slot();
    if (expert == kNobody || slot == kNobody) return std::nullopt;
    const int evicted = expert_in(slot);
    if (evicted != kNobody) {
        if (last_use_[at(evicted)] >= last_use_[at(expert)]) return std::nullopt;
        slot_of_[at(evicted)] = kNobody;
    }
    slot_of_[at(expert)] = slot;
    slots_[at(slot)] = {.expert = expert, .is_full = false};
    return Fetch{.expert = expert, .slot = slot, .evicted = evicted};
}

void ExpertSlots::end_fetch(const Fetch& fetch) {
    HEARTH_ASSERT(expert_in(fetch.slot) == fetch.expert && !is_full(fetch.slot));
    slots_[at(fetch.slot)].is_full = true;
}

}  // namespace hearth::cuda

// ExpertSlots: which of a layer's experts lie in its slots on the device, and which should. The
// expert that was used last and is missing takes the place of the one that was used least recently,
// if that is longer ago. Knows numbers only; bytes and streams are elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hearth::cuda {

/// One layer. A slot is empty, on its way (its expert is being copied in) or full.   Thread:
/// engine.
class ExpertSlots {
  public:
    static constexpr int kNobody = -1;

    /// All slots are empty. `slot_count` is at least 1 and below `expert_count`.
    ExpertSlots(int expert_count, int slot_count);

    /// Notes the experts that the next step used: `used` is not 0 where it did.
    void note(std::span<const std::uint8_t> used);

    struct Fetch {
        int expert = kNobody;
        int slot = 0;
        int evicted = kNobody;  ///< the expert whose place it takes
        friend bool operator==(const Fetch&, const Fetch&) = default;
    };
    /// The fetch that helps most, begun: from here on the slot holds neither expert. None where no
    /// missing expert was used later than one that would make way.
    std::optional<Fetch> begin_fetch();
    /// The expert is in its slot.
    void end_fetch(const Fetch& fetch);

    [[nodiscard]] int slot_count() const { return static_cast<int>(slots_.size()); }
    /// The expert that is in the slot, or on its way there.
    [[nodiscard]] int expert_in(int slot) const {
        return slots_[static_cast<std::size_t>(slot)].expert;
    }
    [[nodiscard]] bool is_full(int slot) const {
        return slots_[static_cast<std::size_t>(slot)].is_full;
    }

  private:
    struct Slot {
        int expert = kNobody;
        bool is_full = false;
    };
    [[nodiscard]] int wanted() const;
    [[nodiscard]] int cheapest_slot() const;

    std::int64_t step_ = 0;
    std::vector<std::int64_t> last_use_;  ///< by expert: the step; 0: never
    std::vector<int> slot_of_;            ///< by expert: kNobody where it is not even on its way
    std::vector<Slot> slots_;
};

}  // namespace hearth::cuda

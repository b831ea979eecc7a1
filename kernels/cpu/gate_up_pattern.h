// Where a Plan has the first half of a feed-forward: two Projects of one x and the Swiglu of both.
#pragma once

#include <cstddef>
#include <optional>

#include "core/compute/plan.h"

namespace hearth::cpu {

/// Borrowed from the Plan.
struct GateUpPattern {
    static constexpr std::size_t kOperations = 3;
    const compute::Project& gate;
    const compute::Project& up;
    const compute::Swiglu& swiglu;
};

/// The pattern whose first operation is number `first`, if what the Projects give is read by its
/// Swiglu alone, so that it need not be kept.
std::optional<GateUpPattern> find_gate_up(const compute::Plan& plan, std::size_t first);

}  // namespace hearth::cpu

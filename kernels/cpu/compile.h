// From a Plan to operations: roundings of activations appear where weights want them, once per
// value and form; an expert block and an attention become their parts, and gate, up and activation
// of a feed-forward become one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/compute/plan.h"
#include "core/compute/tensor.h"
#include "kernels/cpu/schedule.h"

namespace hearth::cpu {

struct CompiledPlan {
    std::vector<Node> nodes;
    std::vector<std::int64_t> row_bytes;  ///< by buffer; 0: a place without memory
};

/// The result borrows `weights`.
CompiledPlan compile_plan(const compute::Plan& plan, std::span<const compute::Tensor> weights);

}  // namespace hearth::cpu

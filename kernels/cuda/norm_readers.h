// Finds the norms that one token needs no kernel for: those whose every reader can norm its input
// by itself. Plain matching over the Plan; tested without a device.
#pragma once

#include <cstddef>
#include <functional>

#include "core/compute/plan.h"

namespace hearth::cuda {

/// Rows of a product that norms its input: each block does it again, and of more blocks than run at
/// once it would be waited for more than once.
inline constexpr std::int64_t kNormRowsMax = 8192;

/// How many operations from operation `first` on are one token's work of kernels that can norm
/// their input; 0: they cannot.
using NormReader = std::function<std::size_t(std::size_t first)>;

/// Whether `plan.operations[norm]`, an RmsNorm, can be left to its readers: all of them can norm,
/// take the whole row, and still find what the norm reads.
bool readers_can_norm(const compute::Plan& plan, std::size_t norm, const NormReader& reader);

}  // namespace hearth::cuda

// What an operation of a Plan reads and writes, as slices.
#pragma once

#include <vector>

#include "core/compute/plan.h"

namespace hearth::cuda {

/// Slices without a value among them.
std::vector<compute::Slice> reads_of(const compute::Operation& operation);
std::vector<compute::Slice> writes_of(const compute::Operation& operation);

/// Whether two slices share columns.
bool overlap(const compute::Slice& a, const compute::Slice& b);
bool is_same(const compute::Slice& a, const compute::Slice& b);
/// Whether `whole` has all columns of `part`.
bool covers(const compute::Slice& whole, const compute::Slice& part);

}  // namespace hearth::cuda

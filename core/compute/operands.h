// What an operation of a Plan reads and writes, as slices.
#pragma once

#include <vector>

#include "core/compute/plan.h"

namespace hearth::compute {

/// Slices without a value among them.
std::vector<Slice> reads_of(const Operation& operation);
std::vector<Slice> writes_of(const Operation& operation);

/// Whether two slices share columns.
bool overlap(const Slice& a, const Slice& b);
bool is_same(const Slice& a, const Slice& b);
/// Whether `whole` has all columns of `part`.
bool covers(const Slice& whole, const Slice& part);

}  // namespace hearth::compute

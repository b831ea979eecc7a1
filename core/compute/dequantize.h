// Stored weights to floats, one plain loop per type: what a weight of a file *is*. Every faster
// kernel is tested against these loops.
#pragma once

#include <cstddef>
#include <span>

#include "core/compute/dtype.h"

namespace hearth::compute {

/// Decodes `values.size()` elements of `dtype` (any type but i32).
///
///   bytes    row_bytes(dtype, values.size())   little-endian, no alignment needed
///   values   a multiple of the type's block    f32, out
///
/// Thread: any.
void dequantize(Dtype dtype, std::span<const std::byte> bytes, std::span<float> values);

}  // namespace hearth::compute

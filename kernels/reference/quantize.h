// Floats to stored weights, one plain loop per type: used by the trainer when it writes a model, by
// tests, and nowhere on the way of a request.
#pragma once

#include <cstddef>
#include <span>

#include "core/compute/dtype.h"

namespace hearth::reference {

/// Encodes `values` as `dtype` (any type but i32). Deterministic.
///
/// The rules of the plain types, so that training can round in the same way, bit for bit:
///   F16, BF16   nearest, ties to even
///   Q8_0        d = max|x| / 127;  q = round(x * (1/d)), halves away from zero
///   Q4_0        e = the x of largest |x|, the first of equals;  d = e / -8;
///               q = min(15, trunc(x * (1/d) + 8.5));  a weight is half(d) * (q - 8)
///   Q5_0        the same with -16, 16.5 and 31
///   Q5_1        m = min x;  d = (max x - m) / 31;  q = min(31, trunc((x - m) * (1/d) + 0.5))
///   MXFP4       d = 2^(floor(log2 max|x|) - 2), as the MX specification has it;
///               q = the code nearest to x / d, ties to the even one, at most 6 in size
/// All in f32 without fused multiply-adds; 1/d comes from d before it is rounded to half, and is 0
/// where d is 0. Encoding decoded Q4_0 or Q5_0 weights gives the same blocks again.
/// Q4_K, Q5_K and Q6_K search scales of least weighted square error.
///
///   values   a multiple of the type's block    f32, finite, |x| within the range of half
///   bytes    row_bytes(dtype, values.size())   out
///
/// Thread: any.
void quantize(compute::Dtype dtype, std::span<const float> values, std::span<std::byte> bytes);

/// Activations as the CUDA backend rounds them in front of a quantised weight, in blocks of 32:
///   d = max|x| / 127 in f32;  out = d * q;  q = x * (127 / max|x|), nearest, ties to even
/// A value that is no finite number makes all of its block NaN.
///
///   values   a multiple of 32   f32      out   as many; may be values
///
/// Thread: any.
void round_activations(std::span<const float> values, std::span<float> out);

}  // namespace hearth::reference

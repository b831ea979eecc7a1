// An 8 x 8 transpose in AVX registers, for packing. Whoever includes this has the intrinsics.
#pragma once

#include "training/trainer/math_impl.h"

namespace hearth::trainer {
namespace {

/// Transposes eight rows of eight floats that lie `row` apart.
inline void transpose_eight(const float* in, Index row, float* out, Index out_row) {
    __m256 r[8];
    for (Index i = 0; i < 8; ++i) {
        r[i] = _mm256_loadu_ps(in + i * row);
    }
    __m256 t[8];
    for (Index i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (Index half = 0; half < 8; half += 4) {
        r[half] = _mm256_shuffle_ps(t[half], t[half + 2], 0x44);
        r[half + 1] = _mm256_shuffle_ps(t[half], t[half + 2], 0xEE);
        r[half + 2] = _mm256_shuffle_ps(t[half + 1], t[half + 3], 0x44);
        r[half + 3] = _mm256_shuffle_ps(t[half + 1], t[half + 3], 0xEE);
    }
    for (Index i = 0; i < 4; ++i) {
        _mm256_storeu_ps(out + i * out_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * out_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

}  // namespace
}  // namespace hearth::trainer

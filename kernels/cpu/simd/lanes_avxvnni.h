// The sums of products of AVX-VNNI, in lanes for rows and for panels. Included by
// kernels_avxvnni.cpp alone, before lanes_vnni.h; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/lanes_256.h"

namespace hearth::cpu {
namespace {

/// Eight sums of four products of an unsigned and a signed 8-bit number.
inline __m256i dot_fours(__m256i w, __m256i x) {
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), w, x);
}
/// sum + eight sums of two products of 16-bit numbers.
inline __m256i add_pairs(__m256i sum, __m256i a, __m256i b) {
    return _mm256_dpwssd_avx_epi32(sum, a, b);
}

/// sum + four columns of the unsigned quants times those of a token.
inline Ints16 add_columns(Ints16 sum, Ints16 quants, const std::int8_t* four) {
    const __m256i columns = broadcast_columns(four);
    return {_mm256_dpbusd_avx_epi32(sum.low, quants.low, columns),
            _mm256_dpbusd_avx_epi32(sum.top, quants.top, columns)};
}
/// The low 16 bits of both in each lane, those of `second` behind.
inline Ints16 join(Ints16 first, Ints16 second) {
    constexpr int kSeconds = 0xAA;
    return {_mm256_blend_epi16(first.low, _mm256_slli_epi32(second.low, 16), kSeconds),
            _mm256_blend_epi16(first.top, _mm256_slli_epi32(second.top, 16), kSeconds)};
}
inline Ints16 mul(Ints16 a, Ints16 b) {
    return {_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.top, b.top)};
}

}  // namespace
}  // namespace hearth::cpu

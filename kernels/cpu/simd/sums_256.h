// Sums over the lanes of 256-bit registers, in one fixed order. Included by kernels_avx*.cpp alone;
// internal linkage.
#pragma once

#include <immintrin.h>

namespace hearth::cpu {
namespace {

inline float sum_of_lanes(__m256 a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// Lane i: the sum over the lanes of a[i], neighbours first.
inline __m256 sums_of_lanes(const __m256* a) {
    const __m256 a01 = _mm256_hadd_ps(a[0], a[1]);
    const __m256 a23 = _mm256_hadd_ps(a[2], a[3]);
    const __m256 a45 = _mm256_hadd_ps(a[4], a[5]);
    const __m256 a67 = _mm256_hadd_ps(a[6], a[7]);
    const __m256 first = _mm256_hadd_ps(a01, a23);   // halves of the sums 0 to 3
    const __m256 second = _mm256_hadd_ps(a45, a67);  // of 4 to 7
    return _mm256_add_ps(_mm256_permute2f128_ps(first, second, 0x20),
                         _mm256_permute2f128_ps(first, second, 0x31));
}

/// Of four; the upper lanes are 0.
inline __m256i sums_of_lanes_of_4(const __m256i* a) {
    const __m256i halves =
        _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
    return _mm256_zextsi128_si256(
        _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
}
inline __m256i sums_of_lanes(const __m256i* a) {
    const __m256i a01 = _mm256_hadd_epi32(a[0], a[1]);
    const __m256i a23 = _mm256_hadd_epi32(a[2], a[3]);
    const __m256i a45 = _mm256_hadd_epi32(a[4], a[5]);
    const __m256i a67 = _mm256_hadd_epi32(a[6], a[7]);
    const __m256i first = _mm256_hadd_epi32(a01, a23);
    const __m256i second = _mm256_hadd_epi32(a45, a67);
    return _mm256_add_epi32(_mm256_permute2x128_si256(first, second, 0x20),
                            _mm256_permute2x128_si256(first, second, 0x31));
}

}  // namespace
}  // namespace hearth::cpu

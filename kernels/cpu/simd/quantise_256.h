// The rounding of activations to int8 in 256-bit registers, a group of eight blocks at a time.
// Included by vector_table.h; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd/sums_256.h"

namespace hearth::cpu {
namespace {

constexpr int kGroupBlocks = kGroupElements / kQ8Elements;
static_assert(kGroupBlocks == 8 && kQ8Elements == 2 * kQ8kSumElements);

/// A scale that is not larger has an inverse that overshoots, or none.
constexpr float kScaleMin = 1e-30F;

/// Lanes whose largest is the largest absolute one of 32 elements.
inline __m256 largest_of_32(const float* x) {
    const auto absolute = [&](int i) {
        return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), _mm256_loadu_ps(x + i));
    };
    return _mm256_max_ps(_mm256_max_ps(absolute(0), absolute(8)),
                         _mm256_max_ps(absolute(16), absolute(24)));
}

/// 32 elements times `factor`, to the nearest, ties to even.
template <bool kClamps>
inline __m256i round_32(const float* x, float factor) {
    const auto rounded = [&](int i) {
        __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor));
        if constexpr (kClamps) {
            scaled = _mm256_max_ps(_mm256_min_ps(scaled, _mm256_set1_ps(127.0F)),
                                   _mm256_set1_ps(-127.0F));
        }
        return _mm256_cvtps_epi32(scaled);
    };
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(rounded(0), rounded(8)),
                                             _mm256_packs_epi32(rounded(16), rounded(24)));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// Lane i: the largest of a[i].
inline __m256 largest_of_lanes(const __m256* a) {
    __m256 pairs[4];
    for (int i = 0; i < 4; ++i) {
        const __m256 even = a[2 * i];
        const __m256 odd = a[2 * i + 1];
        pairs[i] = _mm256_max_ps(_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd));
    }
    const auto fours = [](__m256 first, __m256 second) {
        const __m256d a01 = _mm256_castps_pd(first);
        const __m256d a23 = _mm256_castps_pd(second);
        return _mm256_max_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a01, a23)),
                             _mm256_castpd_ps(_mm256_unpackhi_pd(a01, a23)));
    };
    const __m256 first = fours(pairs[0], pairs[1]);
    const __m256 second = fours(pairs[2], pairs[3]);
    return _mm256_max_ps(_mm256_permute2f128_ps(first, second, 0x20),
                         _mm256_permute2f128_ps(first, second, 0x31));
}

/// The largest absolute element of each block; of blocks that are not there 0.
inline __m256 largest_of_blocks(const float* x, int blocks) {
    __m256 lanes[kGroupBlocks];
#pragma GCC unroll 8
    for (int b = 0; b < kGroupBlocks; ++b) {
        lanes[b] = b < blocks ? largest_of_32(x + b * kQ8Elements) : _mm256_setzero_ps();
    }
    return largest_of_lanes(lanes);
}

/// Sums of the quants of a group: of each half of a block, the halves of the blocks 0 to 3 and of 4
/// to 7, first halves first.
struct GroupSums {
    __m256i first, second;
};

/// Rounds the blocks with a scale's inverse each; sums of what is not there are 0.
template <bool kClamps>
inline GroupSums round_blocks(const float* x,
                              int blocks,
                              const float* inverses,
                              std::int8_t* quants) {
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i wide_ones = _mm256_set1_epi16(1);
    __m256i fours[kGroupBlocks];
#pragma GCC unroll 8
    for (int b = 0; b < kGroupBlocks; ++b) {
        fours[b] = _mm256_setzero_si256();
        if (b >= blocks) continue;
        const int at = b * kQ8Elements;
        const __m256i rounded = round_32<kClamps>(x + at, inverses[b]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(quants + at), rounded);
        fours[b] = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, rounded), wide_ones);
    }
    const auto of_halves = [](const __m256i* a) {
        return _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
    };
    return {of_halves(fours), of_halves(fours + 4)};
}

/// Lane b: the sum of block b.
inline __m256i sums_of_blocks(const GroupSums& sums) {
    return _mm256_add_epi32(_mm256_permute2x128_si256(sums.first, sums.second, 0x20),
                            _mm256_permute2x128_si256(sums.first, sums.second, 0x31));
}

/// Four blocks: their halves in order, in 16 bits.
inline __m128i in_order(__m256i halves) {
    const __m128i first = _mm256_castsi256_si128(halves);
    const __m128i second = _mm256_extracti128_si256(halves, 1);
    return _mm_packs_epi32(_mm_unpacklo_epi32(first, second), _mm_unpackhi_epi32(first, second));
}

inline __m256 scales_of(__m256 largest) {
    return _mm256_div_ps(largest, _mm256_set1_ps(127.0F));
}

/// Of scales that are 0 it is 0.
inline __m256 inverse_of(__m256 scales) {
    const __m256 is_there = _mm256_cmp_ps(scales, _mm256_setzero_ps(), _CMP_GT_OQ);
    return _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(1.0F), scales), is_there);
}

inline bool are_large(__m256 scales) {
    return _mm256_movemask_ps(_mm256_cmp_ps(scales, _mm256_set1_ps(kScaleMin), _CMP_GT_OQ)) == 0xFF;
}

inline GroupSums round_blocks(const float* x, int blocks, __m256 scales, std::int8_t* quants) {
    float inverses[kGroupBlocks];
    _mm256_storeu_ps(inverses, inverse_of(scales));
    if (are_large(scales)) return round_blocks<false>(x, blocks, inverses, quants);
    return round_blocks<true>(x, blocks, inverses, quants);
}

constexpr int blocks_left(std::int64_t elements) {
    const std::int64_t blocks = elements / kQ8Elements;
    return static_cast<int>(blocks < kGroupBlocks ? blocks : kGroupBlocks);
}

/// As Q8kGroup has it, of a group with these sums per 32.
inline bool fits_16_bits(const std::int8_t* quants, __m128i sums) {
    // Of four blocks, in 16 bits, and for each block in four places.
    __m256i fours[2];
    for (int i = 0; i < 2; ++i) {
        fours[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int b = 0; b < kGroupBlocks / 2; ++b) {
            const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quants) +
                                                     kGroupBlocks / 2 * i + b);
            const __m256i eights = _mm256_sad_epu8(_mm256_abs_epi8(block), _mm256_setzero_si256());
            fours[i] = _mm256_or_si256(fours[i], _mm256_slli_epi64(eights, 16 * b));
        }
    }
    const __m256i low = _mm256_unpacklo_epi64(fours[0], fours[1]);
    const __m256i pairs = _mm256_add_epi16(low, _mm256_unpackhi_epi64(fours[0], fours[1]));
    const __m128i sizes =
        _mm_add_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    // The sums of both signs have these as their sum and their difference.
    const __m128i twice = _mm_add_epi16(sizes, _mm_abs_epi16(sums));
    return _mm_movemask_epi8(_mm_cmpgt_epi16(twice, _mm_set1_epi16(2 * kRunSumMax))) == 0;
}

/// All scales first, so that one group's need not wait for another's quants.
inline void quantise_q8(const float* x, std::int64_t dim, void* out) {
    auto* group = static_cast<Q8Group*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        const __m256 largest = largest_of_blocks(x + first, blocks_left(dim - first));
        _mm256_storeu_ps(group->scales, scales_of(largest));
    }
    group = static_cast<Q8Group*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        const __m256 scales = _mm256_loadu_ps(group->scales);
        const GroupSums sums =
            round_blocks(x + first, blocks_left(dim - first), scales, group->quants);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(group->sums), sums_of_blocks(sums));
    }
}

inline void quantise_q8_k(const float* x, std::int64_t dim, void* out) {
    auto* group = static_cast<Q8kGroup*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        __m256 largest = largest_of_blocks(x + first, kGroupBlocks);
        largest = _mm256_max_ps(largest, _mm256_permute2f128_ps(largest, largest, 1));
        largest = _mm256_max_ps(largest, _mm256_permute_ps(largest, 0x4E));
        largest = _mm256_max_ps(largest, _mm256_permute_ps(largest, 0xB1));
        group->scale = _mm256_cvtss_f32(scales_of(largest));
    }
    group = static_cast<Q8kGroup*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        const __m256 scales = _mm256_set1_ps(group->scale);
        const GroupSums sums = round_blocks(x + first, kGroupBlocks, scales, group->quants);
        const __m256i of_32 = sums_of_blocks(sums);
        const __m128i sums_32 =
            _mm_packs_epi32(_mm256_castsi256_si128(of_32), _mm256_extracti128_si256(of_32, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(group->sums_32), sums_32);
        group->fits_16_bits = fits_16_bits(group->quants, sums_32);
        auto* of_16 = reinterpret_cast<__m128i*>(group->sums);
        _mm_storeu_si128(of_16, in_order(sums.first));
        _mm_storeu_si128(of_16 + 1, in_order(sums.second));
    }
}

/// One block; returns its scale.
inline float quantise_32(const float* x, std::int8_t* quants) {
    const __m256 scales = scales_of(largest_of_blocks(x, 1));
    round_blocks(x, 1, scales, quants);
    return _mm256_cvtss_f32(scales);
}

}  // namespace
}  // namespace hearth::cpu

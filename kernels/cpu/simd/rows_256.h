// The integer sums of quantised weights row by row, in 256-bit registers: the `Ints` of
// dot_quantised.h over the multiply-adds `dot_fours` and `add_pairs` of an instruction set.
// Included by kernels_avx2.cpp and kernels_avxvnni.cpp alone, behind their lanes; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/dot_quantised.h"
#include "kernels/cpu/simd/four_rows_256.h"

namespace hearth::cpu {
namespace {

/// Scale number `index` of eight in all 16-bit lanes.
template <int kIndex>
inline __m256i pick_scale(__m256i scales) {
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((2 * kIndex + 1) << 8 | (2 * kIndex)));
}

/// sums[t] += scale * (w . x[t]) for 32 unsigned weights.
template <int kCount>
inline void dot_run(__m256i w,
                    __m256i scale,
                    const Q8kGroup* const* tokens,
                    std::int64_t b,
                    int offset,
                    __m256i* sums) {
    for (int t = 0; t < kCount; ++t) {
        const __m256i pairs = _mm256_maddubs_epi16(w, load_32(tokens[t][b].quants + offset));
        sums[t] = add_pairs(sums[t], pairs, scale);
    }
}

/// 64 weights of Q4_K or Q5_K in order: 32 low nibbles with one scale, 32 high nibbles with the
/// next.
struct Pair {
    __m256i low, top;
};
template <int kPair>
inline Pair unpack_pair(const std::uint8_t* quants) {
    const __m256i low_bits = _mm256_set1_epi8(0x0F);
    const __m256i bytes = load_32(quants + 32 * kPair);
    return {_mm256_and_si256(bytes, low_bits),
            _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_bits)};
}
template <int kPair>
inline Pair unpack_pair(const BlockQ4K& block) {
    return unpack_pair<kPair>(block.quants);
}
/// Bits 2 * kPair and 2 * kPair + 1 of `high` are the fifth bits.
template <int kPair>
inline Pair unpack_pair(const BlockQ5K& block) {
    const Pair pair = unpack_pair<kPair>(block.quants);
    const __m256i bit = _mm256_set1_epi8(0x10);
    const __m256i high = _mm256_srli_epi16(load_32(block.high), 2 * kPair);
    return {_mm256_or_si256(pair.low, _mm256_and_si256(_mm256_slli_epi16(high, 4), bit)),
            _mm256_or_si256(pair.top, _mm256_and_si256(_mm256_slli_epi16(high, 3), bit))};
}

template <int kPair, int kCount, typename Block>
inline void dot_pair(const Block& block,
                     __m256i scales,
                     const Q8kGroup* const* tokens,
                     std::int64_t b,
                     __m256i* sums) {
    const Pair pair = unpack_pair<kPair>(block);
    dot_run<kCount>(pair.low, pick_scale<2 * kPair>(scales), tokens, b, 64 * kPair, sums);
    dot_run<kCount>(pair.top, pick_scale<2 * kPair + 1>(scales), tokens, b, 64 * kPair + 32, sums);
}

/// Run `kRun` of eight: scales 2 * kRun and 2 * kRun + 1, one per 16 elements.
template <int kRun>
inline __m256i pick_q6_scales(__m128i scales) {
    constexpr long long kFirst = 0x0101010101010101 * (2 * kRun);
    constexpr long long kSecond = 0x0101010101010101 * (2 * kRun + 1);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, _mm_set_epi64x(kSecond, kFirst)));
}

/// Half kHalf of a Q6_K block: 64 low bytes and 32 bytes of high bits are four runs of 32.
template <int kHalf, int kCount>
inline void dot_q6_half(const BlockQ6K& block,
                        __m128i scales,
                        const Q8kGroup* const* tokens,
                        std::int64_t b,
                        __m256i* sums) {
    const __m256i low_bits = _mm256_set1_epi8(0x0F);
    const __m256i high_bits = _mm256_set1_epi8(0x30);
    const __m256i first = load_32(block.low + 64 * kHalf);
    const __m256i second = load_32(block.low + 64 * kHalf + 32);
    const __m256i high = load_32(block.high + 32 * kHalf);
    constexpr int kFrom = 128 * kHalf;
    const __m256i run0 = _mm256_or_si256(_mm256_and_si256(first, low_bits),
                                         _mm256_and_si256(_mm256_slli_epi16(high, 4), high_bits));
    dot_run<kCount>(run0, pick_q6_scales<4 * kHalf>(scales), tokens, b, kFrom, sums);
    const __m256i run1 = _mm256_or_si256(_mm256_and_si256(second, low_bits),
                                         _mm256_and_si256(_mm256_slli_epi16(high, 2), high_bits));
    dot_run<kCount>(run1, pick_q6_scales<4 * kHalf + 1>(scales), tokens, b, kFrom + 32, sums);
    const __m256i run2 = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), low_bits),
                                         _mm256_and_si256(high, high_bits));
    dot_run<kCount>(run2, pick_q6_scales<4 * kHalf + 2>(scales), tokens, b, kFrom + 64, sums);
    const __m256i run3 = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(second, 4), low_bits),
                                         _mm256_and_si256(_mm256_srli_epi16(high, 2), high_bits));
    dot_run<kCount>(run3, pick_q6_scales<4 * kHalf + 3>(scales), tokens, b, kFrom + 96, sums);
}

struct Ints {
    /// Signed weights give their sign to x: |w| * 127 * 2 fits 16 bits.
    static __m256i dot_signed(__m256i w, __m256i x) {
        return dot_unsigned(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    }
    static __m256i dot_unsigned(__m256i w, __m256i x) { return dot_fours(w, x); }

    /// Q4_K and Q5_K.
    template <int kCount, typename Block>
    static void sum_block(const Block& block,
                          __m256i scales,
                          const Q8kGroup* const* tokens,
                          std::int64_t b,
                          __m256i* sums) {
        const __m256i both = _mm256_permute2x128_si256(scales, scales, 0x00);
        sum_runs<kCount>(block, both, tokens, b, sums);
    }
    /// The same with the eight scales in each half. In line, or all registers are saved around it.
    template <int kCount, typename Block>
    [[gnu::always_inline]] static void sum_runs(const Block& block,
                                                __m256i scales,
                                                const Q8kGroup* const* tokens,
                                                std::int64_t b,
                                                __m256i* sums) {
        for (int t = 0; t < kCount; ++t) {
            sums[t] = _mm256_setzero_si256();
        }
        dot_pair<0, kCount>(block, scales, tokens, b, sums);
        dot_pair<1, kCount>(block, scales, tokens, b, sums);
        dot_pair<2, kCount>(block, scales, tokens, b, sums);
        dot_pair<3, kCount>(block, scales, tokens, b, sums);
    }
    template <int kCount>
    static void sum_block(const BlockQ6K& block,
                          __m256i,
                          const Q8kGroup* const* tokens,
                          std::int64_t b,
                          __m256i* sums) {
        for (int t = 0; t < kCount; ++t) {
            sums[t] = _mm256_setzero_si256();
        }
        const __m128i scales = load_16(block.scales);
        dot_q6_half<0, kCount>(block, scales, tokens, b, sums);
        dot_q6_half<1, kCount>(block, scales, tokens, b, sums);
    }

    template <int kCount, typename Block>
    static std::int64_t dot_rows(const Block*,
                                 const DotCall& call,
                                 const Q8kGroup* const (&tokens)[kCount],
                                 float* out) {
        return dot_four_rows<FourRows<Ints, Block, kCount>, Block>(call, tokens, out);
    }
    template <int kCount>
    static std::int64_t dot_rows(const BlockQ6K*,
                                 const DotCall&,
                                 const Q8kGroup* const (&)[kCount],
                                 float*) {
        return 0;
    }
};

}  // namespace
}  // namespace hearth::cpu

// The kernels for AVX-512 F, BW, DQ, VL and VNNI. Compiled with those flags, so it may include
// intrinsics and plain structs only: no templates of the standard library, no inline functions of
// other rooms. The integer sums of the 256-types take 64 weights at once; their float part and the
// 32-types are the 256-bit code of dot_quantised.h.
#include <immintrin.h>

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/simd/dot_quantised.h"
#include "kernels/cpu/simd/four_rows_avx512.h"
#include "kernels/cpu/simd/lanes_avx512.h"
#include "kernels/cpu/simd/lanes_vnni.h"
#include "kernels/cpu/simd/vec_avx512.h"
#include "kernels/cpu/simd/vector_table.h"

namespace hearth::cpu {
namespace {

constexpr long long kBytes = 0x0101010101010101;  ///< times n: n in every byte

/// 64 weights of Q4_K or Q5_K in order: 32 low nibbles, then 32 high ones.
template <int kPair>
inline __m512i unpack_pair(const std::uint8_t* quants) {
    const __m512i bytes = in_both_halves(load_32(quants + 32 * kPair));
    return _mm512_and_si512(_mm512_srlv_epi16(bytes, by_half(0, kWords * 4)),
                            _mm512_set1_epi8(0x0F));
}
template <int kPair>
inline __m512i unpack_pair(const BlockQ4K& block) {
    return unpack_pair<kPair>(block.quants);
}
/// Bits 2 * kPair and 2 * kPair + 1 of `high` are the fifth bits.
template <int kPair>
inline __m512i unpack_pair(const BlockQ5K& block) {
    // The top bit of a byte times kBytes does not fit a signed word: as unsigned.
    constexpr auto kTop =
        static_cast<long long>(static_cast<unsigned long long>(kBytes) << (2 * kPair + 1));
    const __mmask64 has_bit = _mm512_test_epi8_mask(in_both_halves(load_32(block.high)),
                                                    by_half(kBytes << (2 * kPair), kTop));
    return _mm512_or_si512(unpack_pair<kPair>(block.quants), _mm512_maskz_set1_epi8(has_bit, 0x10));
}

/// sums[t] += scales * (w . x[t]) for 64 unsigned weights.
template <int kCount>
inline void dot_run(__m512i w,
                    __m512i scales,
                    const Q8kGroup* const* tokens,
                    std::int64_t b,
                    int offset,
                    __m512i* sums) {
    for (int t = 0; t < kCount; ++t) {
        const __m512i pairs = _mm512_maddubs_epi16(w, load_64(tokens[t][b].quants + offset));
        sums[t] = _mm512_dpwssd_epi32(sums[t], pairs, scales);
    }
}

template <int kPair, int kCount, typename Block>
inline void dot_pair(const Block& block,
                     __m512i scales,
                     const Q8kGroup* const* tokens,
                     std::int64_t b,
                     __m512i* sums) {
    const __m512i picked =
        _mm512_permutexvar_epi16(by_half(kWords * (2 * kPair), kWords * (2 * kPair + 1)), scales);
    dot_run<kCount>(unpack_pair<kPair>(block), picked, tokens, b, 64 * kPair, sums);
}

/// Scales 4 * kQuarter to 4 * kQuarter + 3, each for 16 weights.
template <int kQuarter>
inline __m512i pick_q6_scales(__m512i scales) {
    constexpr long long kFirst = kWords * 4 * kQuarter;
    return _mm512_permutexvar_epi16(_mm512_set_epi64(kFirst + 3 * kWords,
                                                     kFirst + 3 * kWords,
                                                     kFirst + 2 * kWords,
                                                     kFirst + 2 * kWords,
                                                     kFirst + kWords,
                                                     kFirst + kWords,
                                                     kFirst,
                                                     kFirst),
                                    scales);
}

/// Half kHalf of a Q6_K block: 64 low bytes and 32 bytes of high bits are four runs of 32.
template <int kHalf, int kCount>
inline void dot_q6_half(const BlockQ6K& block,
                        __m512i scales,
                        const Q8kGroup* const* tokens,
                        std::int64_t b,
                        __m512i* sums) {
    const __m512i low_bits = _mm512_set1_epi8(0x0F);
    const __m512i high_bits = _mm512_set1_epi8(0x30);
    const __m512i low = load_64(block.low + 64 * kHalf);
    const __m512i high = in_both_halves(load_32(block.high + 32 * kHalf));
    constexpr int kFrom = 128 * kHalf;
    const __m512i first = _mm512_or_si512(
        _mm512_and_si512(low, low_bits),
        _mm512_and_si512(_mm512_sllv_epi16(high, by_half(kWords * 4, kWords * 2)), high_bits));
    dot_run<kCount>(first, pick_q6_scales<2 * kHalf>(scales), tokens, b, kFrom, sums);
    const __m512i second = _mm512_or_si512(
        _mm512_and_si512(_mm512_srli_epi16(low, 4), low_bits),
        _mm512_and_si512(_mm512_srlv_epi16(high, by_half(0, kWords * 2)), high_bits));
    dot_run<kCount>(second, pick_q6_scales<2 * kHalf + 1>(scales), tokens, b, kFrom + 64, sums);
}

template <int kCount>
inline void clear(__m512i* sums) {
    for (int t = 0; t < kCount; ++t) {
        sums[t] = _mm512_setzero_si512();
    }
}

/// Lane i and lane i + 8 belong together.
template <int kCount>
inline void add_halves(const __m512i* wide, __m256i* sums) {
    for (int t = 0; t < kCount; ++t) {
        sums[t] = _mm256_add_epi32(_mm512_castsi512_si256(wide[t]),
                                   _mm512_extracti64x4_epi64(wide[t], 1));
    }
}

struct Ints {
    /// Signed weights give their sign to x.
    static __m256i dot_signed(__m256i w, __m256i x) {
        return dot_unsigned(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    }
    static __m256i dot_unsigned(__m256i w, __m256i x) {
        return _mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x);
    }

    /// Q4_K and Q5_K.
    template <int kCount, typename Block>
    static void sum_block(const Block& block,
                          __m256i scales,
                          const Q8kGroup* const* tokens,
                          std::int64_t b,
                          __m256i* sums) {
        __m512i wide[kCount];
        clear<kCount>(wide);
        const __m512i wide_scales = _mm512_castsi256_si512(scales);
        dot_pair<0, kCount>(block, wide_scales, tokens, b, wide);
        dot_pair<1, kCount>(block, wide_scales, tokens, b, wide);
        dot_pair<2, kCount>(block, wide_scales, tokens, b, wide);
        dot_pair<3, kCount>(block, wide_scales, tokens, b, wide);
        add_halves<kCount>(wide, sums);
    }
    template <int kCount>
    static void sum_block(const BlockQ6K& block,
                          __m256i scales,
                          const Q8kGroup* const* tokens,
                          std::int64_t b,
                          __m256i* sums) {
        __m512i wide[kCount];
        clear<kCount>(wide);
        const __m512i wide_scales = _mm512_castsi256_si512(scales);
        dot_q6_half<0, kCount>(block, wide_scales, tokens, b, wide);
        dot_q6_half<1, kCount>(block, wide_scales, tokens, b, wide);
        add_halves<kCount>(wide, sums);
    }

    template <int kCount, typename Block>
    static std::int64_t dot_rows(const Block*,
                                 const DotCall& call,
                                 const Q8kGroup* const (&tokens)[kCount],
                                 float* out) {
        return dot_four_rows<FourRows<Block, kCount>, Block>(call, tokens, out);
    }
};

}  // namespace

extern constinit const Kernels kAvx512Kernels = make_kernels<Ints>("avx512");

}  // namespace hearth::cpu

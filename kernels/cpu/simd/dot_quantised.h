// The dot products of quantised weights in 256-bit code over integer sums that an instruction set
// provides (`Ints`). The integers are exact and the float part is this one, so that AVX2 and
// AVX-512 give the same bits. Included by kernels_avx2.cpp and kernels_avx512.cpp alone; internal
// linkage.
//
// Ints has
//   dot_signed(w, x), dot_unsigned(w, x)   eight sums of four products of 8-bit numbers
//   sum_block<kCount>(block, scales, tokens, offset, sums)   for a block of 256: per token eight
//   sums
//       of products, each times its 6- or 8-bit scale
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd/token_tiles.h"

namespace hearth::cpu {
namespace {

using compute::BlockQ40;
using compute::BlockQ4K;
using compute::BlockQ50;
using compute::BlockQ51;
using compute::BlockQ5K;
using compute::BlockQ6K;
using compute::BlockQ80;
using compute::HalfBits;

constexpr std::int64_t kSumsPerBlock = kQ8kElements / kQ8kSumElements;

inline float to_float(HalfBits bits) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}
inline __m128i load_16(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline __m256i load_32(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline float sum_of_8(__m256 a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// 16 bytes to 32 nibbles in the order of the elements.
inline __m256i nibbles(const std::uint8_t* quants) {
    const __m128i bytes = load_16(quants);
    const __m256i both = _mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes);
    return _mm256_and_si256(both, _mm256_set1_epi8(0x0F));
}

/// 32 bits to 32 bytes: 0xFF where the bit is set.
inline __m256i spread_bits(const std::uint8_t* bits) {
    int word = 0;
    __builtin_memcpy(&word, bits, sizeof word);
    const __m256i byte_of_element = _mm256_setr_epi64x(
        0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of_element);
    const __m256i bit_of_element = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
    return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_element), bit_of_element);
}

// One type of 32-blocks: its quants as bytes, and whether they are signed (then the type has no
// minimum).
struct Q80 {
    using Block = BlockQ80;
    static constexpr bool kIsSigned = true;
    static __m256i quants(const Block& block) { return load_32(block.quants); }
};
struct Q40 {
    using Block = BlockQ40;
    static constexpr bool kIsSigned = true;
    static __m256i quants(const Block& block) {
        return _mm256_sub_epi8(nibbles(block.quants), _mm256_set1_epi8(8));
    }
};
struct Q50 {
    using Block = BlockQ50;
    static constexpr bool kIsSigned = true;
    static __m256i quants(const Block& block) {
        // Without the high bit the value is nibble - 16: the nibble under 0xF0.
        const __m256i without =
            _mm256_andnot_si256(spread_bits(block.high), _mm256_set1_epi8(static_cast<char>(0xF0)));
        return _mm256_or_si256(nibbles(block.quants), without);
    }
};
struct Q51 {
    using Block = BlockQ51;
    static constexpr bool kIsSigned = false;
    static __m256i quants(const Block& block) {
        const __m256i with = _mm256_and_si256(spread_bits(block.high), _mm256_set1_epi8(0x10));
        return _mm256_or_si256(nibbles(block.quants), with);
    }
};

template <typename Ints, typename Type>
struct Tile32 {
    using Block = typename Type::Block;

    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const std::int64_t blocks = call.dim / kQ8Elements;
        const std::int8_t* quants[kCount];
        const float* scales[kCount];
        for (int t = 0; t < kCount; ++t) {
            quants[t] = static_cast<const std::int8_t*>(call.activations[first + t]);
            scales[t] = reinterpret_cast<const float*>(quants[t] + call.dim);
        }
        for (std::int64_t r = 0; r < call.rows; ++r) {
            const auto* row = reinterpret_cast<const Block*>(row_of(call, r));
            __m256 products[kCount];
            float minima[kCount] = {};
            for (int t = 0; t < kCount; ++t) {
                products[t] = _mm256_setzero_ps();
            }
            for (std::int64_t b = 0; b < blocks; ++b) {
                const __m256i w = Type::quants(row[b]);
                const __m256 d = _mm256_set1_ps(to_float(row[b].d));
                for (int t = 0; t < kCount; ++t) {
                    const __m256i x = load_32(quants[t] + b * kQ8Elements);
                    const __m256i sum =
                        Type::kIsSigned ? Ints::dot_signed(w, x) : Ints::dot_unsigned(w, x);
                    const __m256 factor = _mm256_mul_ps(d, _mm256_broadcast_ss(scales[t] + b));
                    products[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, products[t]);
                }
                if constexpr (!Type::kIsSigned) {
                    const float m = to_float(row[b].m);
                    for (int t = 0; t < kCount; ++t) {
                        minima[t] = __builtin_fmaf(m, scales[t][blocks + b], minima[t]);
                    }
                }
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = sum_of_8(products[t]) + minima[t];
            }
        }
    }
};

template <typename Ints, typename Type>
void dot_32(const DotCall& call) {
    for_token_tiles<Tile32<Ints, Type>>(call);
}

/// The eight 6-bit scales and minima of Q4_K and Q5_K.
struct KScales {
    __m256i scales;  ///< 16 bits each, in the lower half
    __m256i mins;    ///< 16 bits each, every one twice: the order of the sums per 16
};

inline KScales unpack_scales(const std::uint8_t* packed) {
    std::uint32_t words[3];
    __builtin_memcpy(words, packed, sizeof words);
    const std::uint32_t scales_high = (words[2] & 0x0F0F0F0F) | ((words[0] >> 2) & 0x30303030);
    const std::uint32_t mins_high = ((words[2] >> 4) & 0x0F0F0F0F) | ((words[1] >> 2) & 0x30303030);
    const __m128i bytes = _mm_setr_epi32(static_cast<int>(words[0] & 0x3F3F3F3F),
                                         static_cast<int>(scales_high),
                                         static_cast<int>(words[1] & 0x3F3F3F3F),
                                         static_cast<int>(mins_high));
    const __m256i wide = _mm256_cvtepu8_epi16(bytes);
    const __m128i mins = _mm256_extracti128_si256(wide, 1);
    return {wide, _mm256_set_m128i(_mm_unpackhi_epi16(mins, mins), _mm_unpacklo_epi16(mins, mins))};
}

template <int kCount>
struct KTokens {
    KTokens(const DotCall& call, std::int64_t first) {
        for (int t = 0; t < kCount; ++t) {
            quants[t] = static_cast<const std::int8_t*>(call.activations[first + t]);
            scales[t] = reinterpret_cast<const float*>(quants[t] + call.dim);
            sums[t] = reinterpret_cast<const std::int16_t*>(scales[t] + call.dim / kQ8kElements);
        }
    }
    const std::int8_t* quants[kCount];
    const float* scales[kCount];
    const std::int16_t* sums[kCount];
};

/// Q4_K and Q5_K.
template <typename Ints, typename Type>
struct TileK {
    using Block = Type;

    template <int kCount>
    static void add_block(const Block& block,
                          const KTokens<kCount>& tokens,
                          std::int64_t b,
                          __m256* totals) {
        const KScales k = unpack_scales(block.scales);
        __m256i sums[kCount];
        Ints::template sum_block<kCount>(block, k.scales, tokens, b * kQ8kElements, sums);
        const float d = to_float(block.d);
        const float dmin = to_float(block.dmin);
        for (int t = 0; t < kCount; ++t) {
            const float scale = tokens.scales[t][b];
            const __m256i minima =
                _mm256_madd_epi16(k.mins, load_32(tokens.sums[t] + b * kSumsPerBlock));
            totals[t] =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[t]), _mm256_set1_ps(d * scale), totals[t]);
            totals[t] = _mm256_fnmadd_ps(
                _mm256_cvtepi32_ps(minima), _mm256_set1_ps(dmin * scale), totals[t]);
        }
    }
};

/// Q6_K: the quants are taken as 0..63; the offset of 32 goes through the sums per 16.
template <typename Ints>
struct TileQ6K {
    using Block = BlockQ6K;

    template <int kCount>
    static void add_block(const Block& block,
                          const KTokens<kCount>& tokens,
                          std::int64_t b,
                          __m256* totals) {
        const __m256i scales = _mm256_cvtepi8_epi16(load_16(block.scales));
        __m256i sums[kCount];
        Ints::template sum_block<kCount>(block, scales, tokens, b * kQ8kElements, sums);
        const float d = to_float(block.d);
        for (int t = 0; t < kCount; ++t) {
            const __m256i offsets =
                _mm256_madd_epi16(scales, load_32(tokens.sums[t] + b * kSumsPerBlock));
            const __m256i sum = _mm256_sub_epi32(sums[t], _mm256_slli_epi32(offsets, 5));
            totals[t] = _mm256_fmadd_ps(
                _mm256_cvtepi32_ps(sum), _mm256_set1_ps(d * tokens.scales[t][b]), totals[t]);
        }
    }
};

template <typename Type>
struct Tile256 {
    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const KTokens<kCount> tokens(call, first);
        for (std::int64_t r = 0; r < call.rows; ++r) {
            const auto* row = reinterpret_cast<const typename Type::Block*>(row_of(call, r));
            __m256 totals[kCount];
            for (int t = 0; t < kCount; ++t) {
                totals[t] = _mm256_setzero_ps();
            }
            for (std::int64_t b = 0; b < call.dim / kQ8kElements; ++b) {
                Type::template add_block<kCount>(row[b], tokens, b, totals);
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = sum_of_8(totals[t]);
            }
        }
    }
};

template <typename Type>
void dot_256(const DotCall& call) {
    for_token_tiles<Tile256<Type>>(call);
}

}  // namespace
}  // namespace hearth::cpu

// The dot products of quantised weights row by row, in 256-bit code over integer sums that an
// instruction set provides (`Ints`). The integers are exact, and the order of the float sums is: of
// the 32-types, eight sums by place in a group of 256, added as sum_of_lanes does; of the
// 256-types, block after block. panel.h has the same order, so that every instruction set, few
// tokens and many give the same bits. Included by kernels_avx*.cpp alone; internal linkage.
//
// Ints has
//   dot_signed(w, x), dot_unsigned(w, x)   eight sums of four products of 8-bit numbers
//   sum_block<kCount>(block, scales, tokens, b, sums)   for a block of 256: per token eight sums
//       of products, each times its 6- or 8-bit scale
//   dot_rows<kCount>(blocks, call, tokens, out)   of a 256-type, the tokens against the first rows
//       of the call, as many as it takes side by side: returns how many
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd/sums_256.h"
#include "kernels/cpu/simd/token_tiles.h"

namespace hearth::cpu {
namespace {

using compute::BlockMxfp4;
using compute::BlockQ40;
using compute::BlockQ4K;
using compute::BlockQ50;
using compute::BlockQ51;
using compute::BlockQ5K;
using compute::BlockQ6K;
using compute::BlockQ80;
using compute::HalfBits;

inline float to_float(HalfBits bits) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}
inline __m128i load_16(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline __m256i load_32(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

/// 16 bytes to 32 nibbles in the order of the elements.
inline __m256i nibbles(const std::uint8_t* quants) {
    const __m128i bytes = load_16(quants);
    const __m256i both = _mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes);
    return _mm256_and_si256(both, _mm256_set1_epi8(0x0F));
}

/// 32 bits to 32 bytes: 0x10 where the bit is set.
inline __m256i fifth_bits(const std::uint8_t* bits) {
    int word = 0;
    __builtin_memcpy(&word, bits, sizeof word);
    const __m256i byte_of_element = _mm256_setr_epi64x(
        0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), byte_of_element);
    const __m256i bit_of_element = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
    const __m256i is_set =
        _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_element), bit_of_element);
    return _mm256_and_si256(is_set, _mm256_set1_epi8(0x10));
}

/// The halves of `count` blocks, then zeros. Built in registers: a load would wait for the stores
/// of its parts.
template <typename HalfOf>
inline __m256 to_floats(int count, HalfOf half_of) {
    const auto at = [&](int b) { return static_cast<short>(b < count ? half_of(b) : 0); };
    return _mm256_cvtph_ps(_mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}

/// The factors d of `count` blocks, then zeros.
template <typename Block>
inline __m256 factors_of(const Block* blocks, int count) {
    return to_floats(count, [&](int b) { return blocks[b].d; });
}
/// The bits of a block's factor: compute::half_scale_of_e8m0, whose code must not be compiled here.
inline int factor_bits_of(const BlockMxfp4& block) {
    const std::uint32_t exponent = block.exponent;
    return static_cast<int>(exponent < 2 ? 0x00200000U << exponent : (exponent - 1) << 23);
}
inline __m256 factors_of(const BlockMxfp4* blocks, int count) {
    const auto at = [&](int b) { return b < count ? factor_bits_of(blocks[b]) : 0; };
    return _mm256_castsi256_ps(
        _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}

/// How far weights are asked for ahead of their use. A single token waits for memory more than for
/// sums, and no machine reads ahead from one row, or one call's rows, to the next.
constexpr std::int64_t kAheadBytes = 8192;

/// Asks for the `bytes` that lie kAheadBytes, or more, behind `now`: the next rows of this call or
/// of another. Always inlined, as whatever does nothing else has to be: to g++ a call that only
/// asks has no effect, and is left out.
[[gnu::always_inline]] inline void ask_ahead(const void* now,
                                             std::int64_t bytes,
                                             std::int64_t ahead = kAheadBytes) {
    constexpr std::int64_t kLineBytes = 64;
    const char* first = static_cast<const char*>(now) + ahead;
    for (std::int64_t at = 0; at < bytes; at += kLineBytes) {
        __builtin_prefetch(first + at, 0, 2);
    }
}

// One type of 32-blocks. A weight is d * (quant - offset), and of types with a minimum that is
// added.
struct Q80 {
    using Block = BlockQ80;
    static constexpr bool kIsSigned = true;
    static constexpr bool kHasMinimum = false;
    static constexpr int kQuantMax = 255;  ///< with 128 added
    static constexpr int kOffset = 0;
    static __m256i quants(const Block& block) { return load_32(block.quants); }
};
struct Q40 {
    using Block = BlockQ40;
    static constexpr bool kIsSigned = false;
    static constexpr bool kHasMinimum = false;
    static constexpr int kQuantMax = 15;
    static constexpr int kOffset = 8;
    static __m256i quants(const Block& block) { return nibbles(block.quants); }
};
struct Q50 {
    using Block = BlockQ50;
    static constexpr bool kIsSigned = false;
    static constexpr bool kHasMinimum = false;
    static constexpr int kQuantMax = 31;
    static constexpr int kOffset = 16;
    static __m256i quants(const Block& block) {
        return _mm256_or_si256(nibbles(block.quants), fifth_bits(block.high));
    }
};
struct Q51 {
    using Block = BlockQ51;
    static constexpr bool kIsSigned = false;
    static constexpr bool kHasMinimum = true;
    static constexpr int kQuantMax = 31;
    static constexpr int kOffset = 0;
    static __m256i quants(const Block& block) {
        return _mm256_or_si256(nibbles(block.quants), fifth_bits(block.high));
    }
    static __m256 minima(const Block* blocks, int count) {
        return to_floats(count, [&](int b) { return blocks[b].m; });
    }
};

struct Mxfp4 {
    using Block = BlockMxfp4;
    static constexpr bool kIsSigned = false;
    static constexpr bool kHasMinimum = false;
    static constexpr int kQuantMax = 24;
    static constexpr int kOffset = 12;
    /// Of each code the quant.
    static __m256i table() {
        const __m128i doubled = load_16(compute::kMxfp4Doubled);
        return _mm256_broadcastsi128_si256(_mm_add_epi8(doubled, _mm_set1_epi8(kOffset)));
    }
    static __m256i quants(const Block& block) {
        return _mm256_shuffle_epi8(table(), nibbles(block.quants));
    }
};

constexpr int kBlocksPerGroup = kGroupElements / kQ8Elements;
constexpr int kRunsPerGroup = kGroupElements / kQ8Elements;
constexpr int kStepsPerRun = kQ8Elements / 4;

template <typename Ints, typename Type>
struct Tile32 {
    using Block = typename Type::Block;

    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const Q8Group* tokens[kCount];
        for (int t = 0; t < kCount; ++t) {
            tokens[t] = static_cast<const Q8Group*>(call.activations[first + t]);
        }
        const std::int64_t groups = call.dim / kGroupElements;
        const auto rest = static_cast<int>(call.dim % kGroupElements / kQ8Elements);
        for (std::int64_t r = 0; r < call.rows; ++r) {
            const auto* row = reinterpret_cast<const Block*>(row_of(call, r));
            __m256 totals[kCount];
            for (int t = 0; t < kCount; ++t) {
                totals[t] = _mm256_setzero_ps();
            }
            for (std::int64_t g = 0; g < groups; ++g, row += kBlocksPerGroup) {
                add_group<kCount>(row, kBlocksPerGroup, tokens, g, totals);
            }
            if (rest > 0) add_group<kCount>(row, rest, tokens, groups, totals);
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = sum_of_lanes(totals[t]);
            }
        }
    }

  private:
    template <int kCount>
    static inline void add_group(const Block* blocks,
                                 int count,
                                 const Q8Group* const* tokens,
                                 std::int64_t g,
                                 __m256* totals) {
        if constexpr (kCount == 1) ask_ahead(blocks, count * std::int64_t{sizeof(Block)});
        // The rows of a narrow head fill at most half a group.
        if (count <= kBlocksPerGroup / 2) {
            add_blocks<kCount, kBlocksPerGroup / 2>(blocks, count, tokens, g, totals);
        } else {
            add_blocks<kCount, kBlocksPerGroup>(blocks, count, tokens, g, totals);
        }
    }

    template <int kCount, int kBlocks>
    static inline void add_blocks(const Block* blocks,
                                  int count,
                                  const Q8Group* const* tokens,
                                  std::int64_t g,
                                  __m256* totals) {
        __m256i sums[kCount][kBlocks];
        for (int b = 0; b < kBlocks; ++b) {
            const bool is_there = b < count;
            const __m256i w = is_there ? Type::quants(blocks[b]) : _mm256_setzero_si256();
            for (int t = 0; t < kCount; ++t) {
                const __m256i x = load_32(tokens[t][g].quants + b * kQ8Elements);
                sums[t][b] = !is_there         ? w
                             : Type::kIsSigned ? Ints::dot_signed(w, x)
                                               : Ints::dot_unsigned(w, x);
            }
        }
        const __m256 d = factors_of(blocks, count);
        for (int t = 0; t < kCount; ++t) {
            const __m256 scales = _mm256_loadu_ps(tokens[t][g].scales);
            const __m256i sums_of_x = load_32(tokens[t][g].sums);
            if constexpr (Type::kHasMinimum) {
                const __m256 minima = _mm256_mul_ps(Type::minima(blocks, count), scales);
                totals[t] = _mm256_fmadd_ps(minima, _mm256_cvtepi32_ps(sums_of_x), totals[t]);
            }
            __m256i products;
            if constexpr (kBlocks == kBlocksPerGroup) {
                products = sums_of_lanes(sums[t]);
            } else {
                products = sums_of_lanes_of_4(sums[t]);
            }
            const __m256i offsets = _mm256_mullo_epi32(sums_of_x, _mm256_set1_epi32(Type::kOffset));
            products = _mm256_sub_epi32(products, offsets);
            totals[t] =
                _mm256_fmadd_ps(_mm256_mul_ps(d, scales), _mm256_cvtepi32_ps(products), totals[t]);
        }
    }
};

/// The eight 6-bit scales of Q4_K and Q5_K, then the eight minima, 16 bits each.
inline __m256i unpack_scales(const std::uint8_t* packed) {
    std::uint32_t words[3];
    __builtin_memcpy(words, packed, sizeof words);
    const std::uint32_t scales_high = (words[2] & 0x0F0F0F0F) | ((words[0] >> 2) & 0x30303030);
    const std::uint32_t mins_high = ((words[2] >> 4) & 0x0F0F0F0F) | ((words[1] >> 2) & 0x30303030);
    return _mm256_cvtepu8_epi16(_mm_setr_epi32(static_cast<int>(words[0] & 0x3F3F3F3F),
                                               static_cast<int>(scales_high),
                                               static_cast<int>(words[1] & 0x3F3F3F3F),
                                               static_cast<int>(mins_high)));
}

/// Lane 0: the sum over the lanes of a; lane 2: of b.
inline __m128i sums_of_both(__m256i a, __m256i b) {
    const __m256i low = _mm256_unpacklo_epi64(a, b);
    const __m256i pairs = _mm256_add_epi32(low, _mm256_unpackhi_epi64(a, b));
    const __m128i fours =
        _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    return _mm_add_epi32(fours, _mm_shuffle_epi32(fours, _MM_SHUFFLE(2, 3, 0, 1)));
}

/// Q4_K and Q5_K: lane 0 of a total gathers d * scale * quant, lane 2 the minima.
template <typename Ints, typename Block>
struct TileK {
    template <int kCount>
    static void add_block(const Block& block,
                          const Q8kGroup* const* tokens,
                          std::int64_t b,
                          __m128* totals) {
        const __m256i scales = unpack_scales(block.scales);
        const __m256i mins = _mm256_zextsi128_si256(_mm256_extracti128_si256(scales, 1));
        __m256i sums[kCount];
        Ints::template sum_block<kCount>(block, scales, tokens, b, sums);
        const float d = to_float(block.d);
        const float dmin = to_float(block.dmin);
        const __m128 factors = _mm_setr_ps(d, d, dmin, dmin);
        for (int t = 0; t < kCount; ++t) {
            const __m256i sums_of_x = _mm256_castsi128_si256(load_16(tokens[t][b].sums_32));
            const __m128i both = sums_of_both(sums[t], _mm256_madd_epi16(mins, sums_of_x));
            totals[t] = _mm_fmadd_ps(_mm_cvtepi32_ps(both),
                                     _mm_mul_ps(factors, _mm_set1_ps(tokens[t][b].scale)),
                                     totals[t]);
        }
    }
    static float finish(__m128 total) {
        return _mm_cvtss_f32(_mm_sub_ss(total, _mm_movehl_ps(total, total)));
    }
};

/// Q6_K: the quants are taken as 0..63; the offset of 32 goes through the sums per 16.
template <typename Ints>
struct TileK<Ints, BlockQ6K> {
    using Block = BlockQ6K;

    template <int kCount>
    static void add_block(const Block& block,
                          const Q8kGroup* const* tokens,
                          std::int64_t b,
                          __m128* totals) {
        const __m256i scales = _mm256_cvtepi8_epi16(load_16(block.scales));
        __m256i sums[kCount];
        Ints::template sum_block<kCount>(block, scales, tokens, b, sums);
        const float d = to_float(block.d);
        for (int t = 0; t < kCount; ++t) {
            const __m256i offsets = _mm256_madd_epi16(scales, load_32(tokens[t][b].sums));
            const __m256i sum = _mm256_sub_epi32(sums[t], _mm256_slli_epi32(offsets, 5));
            totals[t] = _mm_fmadd_ps(_mm_cvtepi32_ps(sums_of_both(sum, sum)),
                                     _mm_set1_ps(d * tokens[t][b].scale),
                                     totals[t]);
        }
    }
    static float finish(__m128 total) { return _mm_cvtss_f32(total); }
};

template <typename Ints, typename Block>
struct Tile256 {
    using Type = TileK<Ints, Block>;

    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const Q8kGroup* tokens[kCount];
        for (int t = 0; t < kCount; ++t) {
            tokens[t] = static_cast<const Q8kGroup*>(call.activations[first + t]);
        }
        std::int64_t r = Ints::template dot_rows<kCount>(static_cast<const Block*>(call.weights),
                                                         call,
                                                         tokens,
                                                         call.out + first * call.out_stride);
        for (; r < call.rows; ++r) {
            const auto* row = reinterpret_cast<const Block*>(row_of(call, r));
            __m128 totals[kCount];
            for (int t = 0; t < kCount; ++t) {
                totals[t] = _mm_setzero_ps();
            }
            for (std::int64_t b = 0; b < call.dim / kQ8kElements; ++b) {
                if constexpr (kCount == 1) ask_ahead(row + b, sizeof(Block));
                Type::template add_block<kCount>(row[b], tokens, b, totals);
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = Type::finish(totals[t]);
            }
        }
    }
};

}  // namespace
}  // namespace hearth::cpu

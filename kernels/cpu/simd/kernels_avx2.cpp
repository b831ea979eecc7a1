// The kernels for AVX2, FMA and F16C. Compiled with those flags, so it may include intrinsics and
// plain structs only: no templates of the standard library, no inline functions of other rooms.
#include <immintrin.h>

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/simd/vec_avx2.h"
#include "kernels/cpu/simd/vector_kernels.h"

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

inline float to_float(HalfBits bits) {
    return _cvtsh_ss(bits);
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

template <typename Type>
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
            Vec products[kCount];
            float minima[kCount] = {};
            for (int t = 0; t < kCount; ++t) {
                products[t] = zero();
            }
            for (std::int64_t b = 0; b < blocks; ++b) {
                const __m256i w = Type::quants(row[b]);
                const __m256 d = _mm256_set1_ps(to_float(row[b].d));
                for (int t = 0; t < kCount; ++t) {
                    const __m256i x = load_32(quants[t] + b * kQ8Elements);
                    const __m256 factor = _mm256_mul_ps(d, _mm256_broadcast_ss(scales[t] + b));
                    products[t].v =
                        _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot_block(w, x)), factor, products[t].v);
                }
                if constexpr (!Type::kIsSigned) {
                    const float m = to_float(row[b].m);
                    for (int t = 0; t < kCount; ++t) {
                        minima[t] = __builtin_fmaf(m, scales[t][blocks + b], minima[t]);
                    }
                }
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = sum_of(products[t]) + minima[t];
            }
        }
    }

  private:
    /// Eight sums of four products. Signed weights give their sign to x: |w| * 127 * 2 fits 16
    /// bits.
    static __m256i dot_block(__m256i w, __m256i x) {
        const __m256i pairs = Type::kIsSigned
                                  ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                                  : _mm256_maddubs_epi16(w, x);
        return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
};

template <typename Type>
void dot_32(const DotCall& call) {
    for_token_tiles<Tile32<Type>>(call);
}

/// The eight 6-bit scales and minima of Q4_K and Q5_K.
struct KScales {
    __m256i scales;  ///< 16 bits each, all eight in both halves
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
    return {_mm256_permute2x128_si256(wide, wide, 0x00),
            _mm256_set_m128i(_mm_unpackhi_epi16(mins, mins), _mm_unpacklo_epi16(mins, mins))};
}

/// Scale number `index` of eight in all 16-bit lanes.
template <int kIndex>
inline __m256i pick_scale(__m256i scales) {
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((2 * kIndex + 1) << 8 | (2 * kIndex)));
}

/// What a tile of a 256-type holds for its tokens.
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

/// sums[t] += scale * (w . x[t]) for 32 unsigned weights.
template <int kCount>
inline void dot_run(
    __m256i w, __m256i scale, const KTokens<kCount>& tokens, std::int64_t offset, __m256i* sums) {
    for (int t = 0; t < kCount; ++t) {
        const __m256i pairs = _mm256_maddubs_epi16(w, load_32(tokens.quants[t] + offset));
        sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(pairs, scale));
    }
}

struct Q4K {
    using Block = BlockQ4K;
    static constexpr bool kHasHighBits = false;
    static __m256i high_bits(const Block&) { return _mm256_setzero_si256(); }
};
struct Q5K {
    using Block = BlockQ5K;
    static constexpr bool kHasHighBits = true;
    static __m256i high_bits(const Block& block) { return load_32(block.high); }
};

/// Q4_K and Q5_K: 32 low nibbles with one scale, 32 high nibbles with the next; Q5_K adds bit
/// 2 * kPair or 2 * kPair + 1 of `high`.
template <typename Type, int kPair, int kCount>
inline void dot_pair(const typename Type::Block& block,
                     __m256i high,
                     __m256i scales,
                     const KTokens<kCount>& tokens,
                     std::int64_t offset,
                     __m256i* sums) {
    const __m256i low_bits = _mm256_set1_epi8(0x0F);
    const __m256i bytes = load_32(block.quants + 32 * kPair);
    __m256i low = _mm256_and_si256(bytes, low_bits);
    __m256i top = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_bits);
    if constexpr (Type::kHasHighBits) {
        const __m256i bit = _mm256_set1_epi8(0x10);
        const __m256i pair = _mm256_srli_epi16(high, 2 * kPair);
        low = _mm256_or_si256(low, _mm256_and_si256(_mm256_slli_epi16(pair, 4), bit));
        top = _mm256_or_si256(top, _mm256_and_si256(_mm256_slli_epi16(pair, 3), bit));
    }
    dot_run<kCount>(low, pick_scale<2 * kPair>(scales), tokens, offset + 64 * kPair, sums);
    dot_run<kCount>(top, pick_scale<2 * kPair + 1>(scales), tokens, offset + 64 * kPair + 32, sums);
}

template <typename Type>
struct TileK {
    using Block = typename Type::Block;

    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const KTokens<kCount> tokens(call, first);
        for (std::int64_t r = 0; r < call.rows; ++r) {
            const auto* row = reinterpret_cast<const Block*>(row_of(call, r));
            Vec totals[kCount];
            for (int t = 0; t < kCount; ++t) {
                totals[t] = zero();
            }
            for (std::int64_t b = 0; b < call.dim / kQ8kElements; ++b) {
                add_block<kCount>(row[b], tokens, b, totals);
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = sum_of(totals[t]);
            }
        }
    }

  private:
    template <int kCount>
    static void add_block(const Block& block,
                          const KTokens<kCount>& tokens,
                          std::int64_t b,
                          Vec* totals) {
        const KScales k = unpack_scales(block.scales);
        const __m256i high = Type::high_bits(block);
        __m256i sums[kCount];
        for (int t = 0; t < kCount; ++t) {
            sums[t] = _mm256_setzero_si256();
        }
        const std::int64_t offset = b * kQ8kElements;
        dot_pair<Type, 0, kCount>(block, high, k.scales, tokens, offset, sums);
        dot_pair<Type, 1, kCount>(block, high, k.scales, tokens, offset, sums);
        dot_pair<Type, 2, kCount>(block, high, k.scales, tokens, offset, sums);
        dot_pair<Type, 3, kCount>(block, high, k.scales, tokens, offset, sums);
        const float d = to_float(block.d);
        const float dmin = to_float(block.dmin);
        for (int t = 0; t < kCount; ++t) {
            const float scale = tokens.scales[t][b];
            const __m256i minima = _mm256_madd_epi16(
                k.mins, load_32(tokens.sums[t] + b * (kQ8kElements / kQ8kSumElements)));
            totals[t].v = _mm256_fmadd_ps(
                _mm256_cvtepi32_ps(sums[t]), _mm256_set1_ps(d * scale), totals[t].v);
            totals[t].v = _mm256_fnmadd_ps(
                _mm256_cvtepi32_ps(minima), _mm256_set1_ps(dmin * scale), totals[t].v);
        }
    }
};

template <typename Type>
void dot_256(const DotCall& call) {
    for_token_tiles<TileK<Type>>(call);
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
                        const KTokens<kCount>& tokens,
                        std::int64_t offset,
                        __m256i* sums) {
    const __m256i low_bits = _mm256_set1_epi8(0x0F);
    const __m256i high_bits = _mm256_set1_epi8(0x30);
    const __m256i first = load_32(block.low + 64 * kHalf);
    const __m256i second = load_32(block.low + 64 * kHalf + 32);
    const __m256i high = load_32(block.high + 32 * kHalf);
    const std::int64_t from = offset + 128 * kHalf;
    const __m256i run0 = _mm256_or_si256(_mm256_and_si256(first, low_bits),
                                         _mm256_and_si256(_mm256_slli_epi16(high, 4), high_bits));
    dot_run<kCount>(run0, pick_q6_scales<4 * kHalf>(scales), tokens, from, sums);
    const __m256i run1 = _mm256_or_si256(_mm256_and_si256(second, low_bits),
                                         _mm256_and_si256(_mm256_slli_epi16(high, 2), high_bits));
    dot_run<kCount>(run1, pick_q6_scales<4 * kHalf + 1>(scales), tokens, from + 32, sums);
    const __m256i run2 = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), low_bits),
                                         _mm256_and_si256(high, high_bits));
    dot_run<kCount>(run2, pick_q6_scales<4 * kHalf + 2>(scales), tokens, from + 64, sums);
    const __m256i run3 = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(second, 4), low_bits),
                                         _mm256_and_si256(_mm256_srli_epi16(high, 2), high_bits));
    dot_run<kCount>(run3, pick_q6_scales<4 * kHalf + 3>(scales), tokens, from + 96, sums);
}

struct TileQ6K {
    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const KTokens<kCount> tokens(call, first);
        for (std::int64_t r = 0; r < call.rows; ++r) {
            const auto* row = reinterpret_cast<const BlockQ6K*>(row_of(call, r));
            Vec totals[kCount];
            for (int t = 0; t < kCount; ++t) {
                totals[t] = zero();
            }
            for (std::int64_t b = 0; b < call.dim / kQ8kElements; ++b) {
                add_block<kCount>(row[b], tokens, b, totals);
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = sum_of(totals[t]);
            }
        }
    }

  private:
    /// The quants are taken as 0..63; the offset of 32 goes through the sums per 16.
    template <int kCount>
    static void add_block(const BlockQ6K& block,
                          const KTokens<kCount>& tokens,
                          std::int64_t b,
                          Vec* totals) {
        const __m128i scales = load_16(block.scales);
        __m256i sums[kCount];
        for (int t = 0; t < kCount; ++t) {
            sums[t] = _mm256_setzero_si256();
        }
        dot_q6_half<0, kCount>(block, scales, tokens, b * kQ8kElements, sums);
        dot_q6_half<1, kCount>(block, scales, tokens, b * kQ8kElements, sums);
        const __m256i wide_scales = _mm256_cvtepi8_epi16(scales);
        const float d = to_float(block.d);
        for (int t = 0; t < kCount; ++t) {
            const __m256i offsets = _mm256_madd_epi16(
                wide_scales, load_32(tokens.sums[t] + b * (kQ8kElements / kQ8kSumElements)));
            const __m256i sum = _mm256_sub_epi32(sums[t], _mm256_slli_epi32(offsets, 5));
            totals[t].v = _mm256_fmadd_ps(
                _mm256_cvtepi32_ps(sum), _mm256_set1_ps(d * tokens.scales[t][b]), totals[t].v);
        }
    }
};

void dot_q6_k(const DotCall& call) {
    for_token_tiles<TileQ6K>(call);
}

}  // namespace

extern const Kernels kAvx2Kernels = {
    "avx2",
    {dot_float<F32Row>,
     dot_float<F16Row>,
     dot_float<Bf16Row>,
     dot_32<Q80>,
     dot_32<Q40>,
     dot_32<Q50>,
     dot_32<Q51>,
     dot_256<Q4K>,
     dot_256<Q5K>,
     dot_q6_k},
    {nullptr, quantise_q8, quantise_q8_k},
    rms_norm,
    swiglu,
    add_scaled,
    to_half,
    attend,
};

}  // namespace hearth::cpu

// What the tile unit multiplies: sixteen tokens' quants, and sixteen rows of weights with four
// columns of each row side by side, which is how a Panel has them. The K types have a scale per 16
// or 32 columns; it is multiplied into the quants here, in two parts of 8 bits, so that all 256
// columns of a block are one exact sum. Included by tile_dot.h alone,
// behind panel.h; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/panel.h"

namespace hearth::cpu {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 64;
/// Full tiles that 256 columns take.
constexpr int kTileSteps = kGroupElements / kTileBytes;

/// 256 columns of sixteen tokens; what is past the last token is 0.
struct alignas(64) TileTokens {
    std::int8_t quants[kTileRows][kGroupElements];
    float scales[kBlocksPerGroup][kTileRows];  ///< of q8
    float sums[kBlocksPerGroup][kTileRows];    ///< of q8: of the block's quants
};

/// 256 columns of sixteen rows of a K type: scale * quant is low, and high so many bits further up;
/// both are unsigned but for Q6_K.
struct alignas(64) TilePanelK {
    std::int8_t low[kTileSteps][kTileRows][kPanelRows][4];
    std::int8_t high[kTileSteps][kTileRows][kPanelRows][4];
};
/// What their sums are multiplied with.
struct alignas(64) TileFactorsK {
    std::int16_t offsets[kRunsPerGroup / 2][kPanelRows][2];  ///< minima, times sums of x
    float d[2][kPanelRows];                                  ///< d, then dmin
};
static_assert(kPanelTokensMax / kTileRows * sizeof(TileTokens) + sizeof(Panel) == kPanelBytes);

inline void copy_64(void* to, const void* from) {
    _mm512_store_si512(to, _mm512_loadu_si512(from));
}

/// The quants of group `g` of `count` tokens, at most sixteen.
inline void gather_quants(const void* const* rows, int count, std::int64_t g, TileTokens& to) {
    for (int t = 0; t < count; ++t) {
        const auto* quants = static_cast<const Q8Group*>(rows[t])[g].quants;
        for (int i = 0; i < kGroupElements; i += kTileBytes) {
            copy_64(to.quants[t] + i, quants + i);
        }
    }
    const auto rest = static_cast<std::size_t>(kTileRows - count);
    __builtin_memset(&to.quants[0][0] + count * kGroupElements, 0, rest * kGroupElements);
}

/// Scales and sums of q8, by block; those of tokens that are not there are 0.
inline void gather_factors(const void* const* rows, int count, std::int64_t g, TileTokens& to) {
    alignas(64) static constexpr Q8Group kNoToken = {};
    for (int first = 0; first < kTileRows; first += kHalfRows) {
        const auto group = [&](int t) -> const Q8Group& {
            return first + t < count ? static_cast<const Q8Group*>(rows[first + t])[g] : kNoToken;
        };
        for (int b = 0; b < kBlocksPerGroup; b += 4) {
            __m256i scales[4];
            __m256i sums[4];
            load_turned([&](int t) { return group(t).scales + b; }, scales);
            load_turned([&](int t) { return group(t).sums + b; }, sums);
            for (int i = 0; i < 4; ++i) {
                store_32(to.scales[b + i] + first, scales[i]);
                _mm256_store_ps(to.sums[b + i] + first, _mm256_cvtepi32_ps(sums[i]));
            }
        }
    }
}

/// Bytes of `a` in even places, of `b` in odd ones.
inline __m512i alternate(__m512i a, __m512i b) {
    const __m512i even = _mm512_set1_epi16(0x00FF);
    return _mm512_or_si512(_mm512_and_si512(even, a), _mm512_andnot_si512(even, b));
}

/// Scales of sixteen rows, ready to be multiplied with four quants of each. Q4_K and Q5_K: the
/// scale is cut, into two times three bits, so that products with quants of at most 31 fit a byte
/// and those of two neighbours are one of 16 bits.
template <typename Block>
struct TileScales {
    static constexpr int kHighBits = 3;

    explicit TileScales(const std::int16_t (*twice)[2])
        : low(_mm512_and_si512(_mm512_load_si512(twice), _mm512_set1_epi16((1 << kHighBits) - 1))),
          high(_mm512_srli_epi16(_mm512_load_si512(twice), kHighBits)) {}

    void split(const void* quants, void* to_low, void* to_high) const {
        const __m512i q = _mm512_load_si512(quants);
        _mm512_store_si512(to_low, _mm512_mullo_epi16(q, low));
        _mm512_store_si512(to_high, _mm512_mullo_epi16(q, high));
    }

    __m512i low, high;
};

/// Q6_K, whose scales have eight bits and whose quants are 32 too large: the product is cut. Each
/// multiply-add takes one of two quants times 0.
template <>
struct TileScales<BlockQ6K> {
    static constexpr int kHighBits = 7;

    explicit TileScales(const std::int16_t (*twice)[2])
        : even(alternate(_mm512_load_si512(twice), _mm512_setzero_si512())),
          odd(_mm512_slli_epi16(_mm512_load_si512(twice), 8)),
          offset(_mm512_slli_epi16(_mm512_load_si512(twice), 5)) {}

    void split(const void* quants, void* to_low, void* to_high) const {
        const __m512i q = _mm512_load_si512(quants);
        const __m512i first = _mm512_sub_epi16(_mm512_maddubs_epi16(q, even), offset);
        const __m512i second = _mm512_sub_epi16(_mm512_maddubs_epi16(q, odd), offset);
        const __m512i low = alternate(first, _mm512_slli_epi16(second, 8));
        const __m512i high = alternate(_mm512_srli_epi16(first, kHighBits),
                                       _mm512_slli_epi16(second, 8 - kHighBits));
        _mm512_store_si512(to_low, _mm512_and_si512(low, _mm512_set1_epi8((1 << kHighBits) - 1)));
        _mm512_store_si512(to_high, high);
    }

    __m512i even, odd, offset;
};

/// 256 columns of sixteen rows from a Panel of the type.
template <typename Block>
inline void split(const Panel& from, TilePanelK& to, TileFactorsK& factors) {
    constexpr int kScaleSteps = PanelK<Block>::kScaleSteps;
    const auto* quants = &from.quants[0][0];
    auto* low = &to.low[0][0];
    auto* high = &to.high[0][0];
    for (int first = 0; first < kRunsPerGroup * kStepsPerRun; first += kScaleSteps) {
        const TileScales<Block> scales(from.scales[first / kScaleSteps]);
        for (int step = first; step < first + kScaleSteps; ++step) {
            scales.split(quants[step], low[step], high[step]);
        }
    }
    copy_64(factors.d[0], from.d[0]);
    if constexpr (!PanelK<Block>::kHasMinimum) return;
    copy_64(factors.d[1], from.d[1]);
    for (int p = 0; p < kRunsPerGroup / 2; ++p) {
        copy_64(factors.offsets[p], from.offsets[p]);
    }
}

}  // namespace
}  // namespace hearth::cpu

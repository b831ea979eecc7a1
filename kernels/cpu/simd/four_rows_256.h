// Few tokens against four rows of Q4_K or Q5_K in 256-bit registers, over the `Ints` of rows_256.h,
// which alone includes this file; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/four_rows.h"

namespace hearth::cpu {
namespace {

/// In each half the 8-bit numbers of one row: scales 0 to 3, minima 0 to 3, scales 4 to 7, minima
/// 4 to 7. A half of `headers` is a row's d, dmin and packed scales.
inline __m256i unpack_scales_of_two(__m256i headers) {
    const __m256i low = _mm256_and_si256(headers, _mm256_set1_epi8(0x3F));
    const __m256i top_bits =
        _mm256_and_si256(_mm256_srli_epi16(headers, 2), _mm256_set1_epi8(0x30));
    const __m256i last = _mm256_shuffle_epi32(headers, _MM_SHUFFLE(3, 3, 3, 3));
    const __m256i low_bits = _mm256_and_si256(
        _mm256_srlv_epi32(last, _mm256_setr_epi32(0, 0, 4, 0, 0, 0, 4, 0)), _mm256_set1_epi8(0x0F));
    const __m256i high = _mm256_or_si256(low_bits, top_bits);
    return _mm256_castps_si256(_mm256_shuffle_ps(
        _mm256_castsi256_ps(low), _mm256_castsi256_ps(high), _MM_SHUFFLE(2, 1, 2, 1)));
}

template <typename Ints, typename Block, int kCount>
class FourRows {
  public:
    void add_block(const Block* const* rows, const Q8kGroup* const* tokens, std::int64_t b) {
        Pair first[kCount];
        Pair second[kCount];
        const __m256i headers = _mm256_unpacklo_epi32(add_pairs(rows, tokens, b, first),
                                                      add_pairs(rows + 2, tokens, b, second));
        const __m256 d = _mm256_cvtph_ps(_mm_unpacklo_epi64(_mm256_castsi256_si128(headers),
                                                            _mm256_extracti128_si256(headers, 1)));
        for (int t = 0; t < kCount; ++t) {
            const __m256i sum =
                _mm256_hadd_epi32(_mm256_hadd_epi32(first[t].sums, first[t].minima),
                                  _mm256_hadd_epi32(second[t].sums, second[t].minima));
            totals_[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
                                         _mm256_mul_ps(d, _mm256_set1_ps(tokens[t][b].scale)),
                                         totals_[t]);
        }
    }
    [[nodiscard]] __m128 finish(int t) const {
        const __m256 rows = _mm256_hsub_ps(totals_[t], totals_[t]);
        return _mm_unpacklo_ps(_mm256_castps256_ps128(rows), _mm256_extractf128_ps(rows, 1));
    }

  private:
    /// Of two rows, one in each half: four sums that belong together.
    struct Pair {
        __m256i sums, minima;
    };
    /// Returns the headers of the two.
    static __m256i add_pairs(const Block* const* rows,
                             const Q8kGroup* const* tokens,
                             std::int64_t b,
                             Pair* pairs) {
        const __m256i headers = _mm256_inserti128_si256(
            _mm256_castsi128_si256(load_16(rows[0] + b)), load_16(rows[1] + b), 1);
        const __m256i bytes = unpack_scales_of_two(headers);
        const __m256i scales = widen(bytes, 0);
        const __m256i minima = widen(bytes, 4);
        __m256i low[kCount];
        __m256i top[kCount];
        Ints::template sum_runs<kCount>(
            rows[0][b], _mm256_permute2x128_si256(scales, scales, 0x00), tokens, b, low);
        Ints::template sum_runs<kCount>(
            rows[1][b], _mm256_permute2x128_si256(scales, scales, 0x11), tokens, b, top);
        for (int t = 0; t < kCount; ++t) {
            const __m256i sums_of_x = _mm256_broadcastsi128_si256(load_16(tokens[t][b].sums_32));
            pairs[t].minima = _mm256_madd_epi16(minima, sums_of_x);
            pairs[t].sums = _mm256_add_epi32(_mm256_permute2x128_si256(low[t], top[t], 0x20),
                                             _mm256_permute2x128_si256(low[t], top[t], 0x31));
        }
        return headers;
    }
    /// In each half the bytes at first to first + 3 and at first + 8 to first + 11 as words.
    static __m256i widen(__m256i bytes, char first) {
        const __m128i at = _mm_setr_epi8(0, -1, 1, -1, 2, -1, 3, -1, 8, -1, 9, -1, 10, -1, 11, -1);
        const __m128i moved = _mm_add_epi8(at, _mm_set1_epi16(first));
        return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(moved));
    }

    /// Of rows 0, 2, 1, 3: d * scale * quant, then the minima.
    __m256 totals_[kCount] = {};
};

}  // namespace
}  // namespace hearth::cpu

// Few tokens against four rows of Q4_K, Q5_K or Q6_K in 512-bit registers: two rows share the
// multiply-adds by their scales. Included by kernels_avx512.cpp alone; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/four_rows.h"

namespace hearth::cpu {
namespace {

inline __m512i load_64(const void* p) {
    return _mm512_loadu_si512(p);
}
inline __m512i in_both_halves(__m256i a) {
    return _mm512_broadcast_i64x4(a);
}
inline __m512i in_all_quarters(__m128i a) {
    return _mm512_broadcast_i32x4(a);
}
inline __m512i join_halves(__m256i low, __m256i top) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), top, 1);
}
/// `low` in the eight bytes of each lane of the lower half, `top` in those of the upper half.
inline __m512i by_half(long long low, long long top) {
    return _mm512_set_epi64(top, top, top, top, low, low, low, low);
}

constexpr long long kWords = 0x0001000100010001;  ///< times n: n in every 16 bits

/// 64 numbers of 8 bits, four times: those of a block of 256, in an order of the type's own.
struct Quarters {
    __m512i at[4];
};

/// The low nibbles of 64 bytes, then the high ones.
inline void unpack_nibbles(const std::uint8_t* bytes, __m512i* quarters) {
    const __m512i low_bits = _mm512_set1_epi8(0x0F);
    const __m512i both = load_64(bytes);
    quarters[0] = _mm512_and_si512(both, low_bits);
    quarters[1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_bits);
}

/// (bits & mask) | quants
inline __m512i add_bits(__m512i quants, __m512i bits, int mask) {
    constexpr int kAndOr = 0xEA;
    return _mm512_ternarylogic_epi32(
        bits, _mm512_set1_epi8(static_cast<char>(mask)), quants, kAndOr);
}

/// Runs of 32 in the order 0 2, 1 3, 4 6, 5 7.
inline Quarters unpack_quants(const BlockQ4K& block) {
    Quarters w;
    unpack_nibbles(block.quants, w.at);
    unpack_nibbles(block.quants + 64, w.at + 2);
    return w;
}
inline Quarters unpack_quants(const BlockQ5K& block) {
    Quarters w;
    unpack_nibbles(block.quants, w.at);
    unpack_nibbles(block.quants + 64, w.at + 2);
    const __m512i high = in_both_halves(load_32(block.high));
    constexpr int kBit = 0x10;
    w.at[0] = add_bits(w.at[0], _mm512_sllv_epi16(high, by_half(kWords * 4, kWords * 2)), kBit);
    w.at[1] = add_bits(w.at[1], _mm512_sllv_epi16(high, by_half(kWords * 3, kWords * 1)), kBit);
    w.at[2] = add_bits(w.at[2], _mm512_srlv_epi16(high, by_half(kWords * 0, kWords * 2)), kBit);
    w.at[3] = add_bits(w.at[3], _mm512_srlv_epi16(high, by_half(kWords * 1, kWords * 3)), kBit);
    return w;
}
/// In the order of the elements.
inline Quarters unpack_quants(const BlockQ6K& block) {
    Quarters w;
    for (int half = 0; half < 2; ++half) {
        __m512i* to = w.at + 2 * half;
        unpack_nibbles(block.low + 64 * half, to);
        const __m512i high = in_both_halves(load_32(block.high + 32 * half));
        constexpr int kBits = 0x30;
        to[0] = add_bits(to[0], _mm512_sllv_epi16(high, by_half(kWords * 4, kWords * 2)), kBits);
        to[1] = add_bits(to[1], _mm512_srlv_epi16(high, by_half(kWords * 0, kWords * 2)), kBits);
    }
    return w;
}

/// Sums of a's and of b's products times their scales, each in every other 64 bits, as `scales`
/// are. The 16-bit sums of four products fit: 63 * 128 * 4 is less than 2^15.
template <typename Scales>
inline __m512i dot_two(const Quarters& a,
                       const Quarters& b,
                       const Scales& scales,
                       const Quarters& x,
                       const Quarters& start) {
    __m512i sums = _mm512_setzero_si512();
    for (int q = 0; q < 4; ++q) {
        const __m512i fours =
            _mm512_packs_epi32(_mm512_dpbusd_epi32(start.at[q], a.at[q], x.at[q]),
                               _mm512_dpbusd_epi32(start.at[q], b.at[q], x.at[q]));
        sums = _mm512_dpwssd_epi32(sums, fours, scales(q));
    }
    return sums;
}

/// Lanes 4i, 4i + 1, 4i + 2, 4i + 3: sums of row 0, 1, 2, 3. `pairs` has those of two rows by turns
/// of two lanes each.
inline __m512i lanes_of_rows(const __m512i* pairs) {
    const __m512 first = _mm512_castsi512_ps(pairs[0]);
    const __m512 second = _mm512_castsi512_ps(pairs[1]);
    constexpr int kEven = _MM_SHUFFLE(2, 0, 2, 0);
    constexpr int kOdd = _MM_SHUFFLE(3, 1, 3, 1);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(first, second, kEven)),
                            _mm512_castps_si512(_mm512_shuffle_ps(first, second, kOdd)));
}

/// Q4_K and Q5_K.
template <typename Block, int kCount>
class FourRows {
  public:
    [[gnu::always_inline]] void add_block(const Block* const* rows,
                                          const Q8kGroup* const* tokens,
                                          std::int64_t b) {
        const __m512i headers = load_headers(rows, b);
        const __m512i packed = unpack_scales(headers);
        const __m512i zero = _mm512_setzero_si512();
        Quarters x_of[kCount];
        for (int t = 0; t < kCount; ++t) {
            x_of[t] = load_runs(tokens[t][b]);
        }
        __m512i sums[kCount][2];
        for (int pair = 0; pair < 2; ++pair) {
            const Quarters first = unpack_quants(rows[2 * pair][b]);
            const Quarters second = unpack_quants(rows[2 * pair + 1][b]);
            const __m512i two_rows = scales_of_pair(packed, pair);
            const auto scales = [&](int q) {
                return _mm512_shuffle_epi8(two_rows, scales_of_quarter(q));
            };
            for (int t = 0; t < kCount; ++t) {
                sums[t][pair] = dot_two(first, second, scales, x_of[t], {zero, zero, zero, zero});
            }
        }
        const __m256 factors = load_factors(headers);
        const __m512i minima = turn_minima(packed);
        for (int t = 0; t < kCount; ++t) {
            const Q8kGroup& x = tokens[t][b];
            const __m256i sum = add_quarters(lanes_of_rows(sums[t]), dot_minima(minima, x));
            totals_[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
                                         _mm256_mul_ps(factors, _mm256_set1_ps(x.scale)),
                                         totals_[t]);
        }
    }
    [[nodiscard]] __m128 finish(int t) const {
        return _mm_sub_ps(_mm256_castps256_ps128(totals_[t]), _mm256_extractf128_ps(totals_[t], 1));
    }

  private:
    /// In each quarter a row's d, dmin and packed scales.
    static __m512i load_headers(const Block* const* rows, std::int64_t b) {
        const auto two = [](const Block* low, const Block* top) {
            return _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(low)), load_16(top), 1);
        };
        return join_halves(two(rows[0] + b, rows[1] + b), two(rows[2] + b, rows[3] + b));
    }
    static Quarters load_runs(const Q8kGroup& x) {
        const auto two = [&](int low, int top) {
            return join_halves(load_32(x.quants + kQ8Elements * low),
                               load_32(x.quants + kQ8Elements * top));
        };
        return {two(0, 2), two(1, 3), two(4, 6), two(5, 7)};
    }

    /// In each quarter a row's scales 0 to 3, minima 0 to 3, scales 4 to 7, minima 4 to 7: bytes.
    static __m512i unpack_scales(__m512i headers) {
        const __m512i low = _mm512_and_si512(headers, _mm512_set1_epi8(0x3F));
        const __m512i top_bits =
            _mm512_and_si512(_mm512_srli_epi16(headers, 2), _mm512_set1_epi8(0x30));
        constexpr int kLast = 0x0F0E0D0C;
        const __m512i last = _mm512_shuffle_epi8(
            headers, in_all_quarters(_mm_setr_epi32(kLast, kLast, kLast, kLast)));
        const __m512i high = add_bits(
            top_bits, _mm512_srlv_epi32(last, in_all_quarters(_mm_setr_epi32(0, 0, 4, 0))), 0x0F);
        return _mm512_castps_si512(_mm512_shuffle_ps(
            _mm512_castsi512_ps(low), _mm512_castsi512_ps(high), _MM_SHUFFLE(2, 1, 2, 1)));
    }
    /// In each quarter eight scales of one row and eight of the next: bytes.
    static __m512i scales_of_pair(__m512i packed, int pair) {
        const __m512i from = in_all_quarters(_mm_setr_epi32(0, 2, 4, 6));
        return _mm512_permutexvar_epi32(_mm512_add_epi32(from, _mm512_set1_epi32(8 * pair)),
                                        packed);
    }
    /// Where the words' scales lie: of one row and of the next by turns of 64 bits.
    static __m512i scales_of_quarter(int quarter) {
        const int run = quarter % 2 + quarter / 2 * 4;
        const auto at = [](int index) {  // 0x80: the word's upper byte is 0
            return static_cast<long long>(static_cast<unsigned long long>(kWords) *
                                          static_cast<unsigned>(0x8000 + index));
        };
        return _mm512_set_epi64(at(run + 10),
                                at(run + 2),
                                at(run + 10),
                                at(run + 2),
                                at(run + 8),
                                at(run),
                                at(run + 8),
                                at(run));
    }

    /// Words: minima 0 and 1 of each row, 2 and 3 of each row, ...
    static __m512i turn_minima(__m512i packed) {
        const __m512i words =
            _mm512_shuffle_epi8(packed,
                                in_all_quarters(_mm_setr_epi8(
                                    4, -1, 5, -1, 6, -1, 7, -1, 12, -1, 13, -1, 14, -1, 15, -1)));
        return _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), words);
    }
    /// Minima times sums of x, in the lanes of lanes_of_rows.
    static __m512i dot_minima(__m512i minima, const Q8kGroup& x) {
        const __m512i sums_of_x = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
            _mm512_castsi128_si512(load_16(x.sums_32)));
        return _mm512_dpwssd_epi32(_mm512_setzero_si512(), minima, sums_of_x);
    }
    /// Lanes i, i + 4, i + 8 and i + 12 together: of a, then of b.
    static __m256i add_quarters(__m512i a, __m512i b) {
        const __m512i both =
            _mm512_add_epi32(join_halves(_mm512_castsi512_si256(a), _mm512_castsi512_si256(b)),
                             _mm512_shuffle_i32x4(a, b, _MM_SHUFFLE(3, 2, 3, 2)));
        const __m256i of_a = _mm512_castsi512_si256(both);
        const __m256i of_b = _mm512_extracti64x4_epi64(both, 1);
        return _mm256_add_epi32(_mm256_permute2x128_si256(of_a, of_b, 0x20),
                                _mm256_permute2x128_si256(of_a, of_b, 0x31));
    }
    /// d of each row, then dmin.
    static __m256 load_factors(__m512i headers) {
        const __m512i at = _mm512_castsi128_si512(_mm_setr_epi16(0, 8, 16, 24, 1, 9, 17, 25));
        return _mm256_cvtph_ps(_mm512_castsi512_si128(_mm512_permutexvar_epi16(at, headers)));
    }

    __m256 totals_[kCount] = {};  ///< d * scale * quant of each row, then the minima
};

template <int kCount>
class FourRows<BlockQ6K, kCount> {
  public:
    [[gnu::always_inline]] void add_block(const BlockQ6K* const* rows,
                                          const Q8kGroup* const* tokens,
                                          std::int64_t b) {
        // The quants are 0 to 63 with an offset of 32, which is taken off each four.
        Quarters x_of[kCount];
        Quarters start[kCount];
        for (int t = 0; t < kCount; ++t) {
            for (int q = 0; q < 4; ++q) {
                const __m512i zero = _mm512_setzero_si512();
                const __m512i x = load_64(tokens[t][b].quants + 64 * q);
                x_of[t].at[q] = x;
                start[t].at[q] =
                    _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(32), x));
            }
        }
        __m512i sums[kCount][2];
        for (int pair = 0; pair < 2; ++pair) {
            const BlockQ6K& a = rows[2 * pair][b];
            const BlockQ6K& next = rows[2 * pair + 1][b];
            const Quarters first = unpack_quants(a);
            const Quarters second = unpack_quants(next);
            const __m512i words = _mm512_cvtepi8_epi16(_mm256_inserti128_si256(
                _mm256_castsi128_si256(load_16(a.scales)), load_16(next.scales), 1));
            const auto scales = [&](int q) {
                return _mm512_permutexvar_epi16(scales_of_quarter(q), words);
            };
            for (int t = 0; t < kCount; ++t) {
                sums[t][pair] = dot_two(first, second, scales, x_of[t], start[t]);
            }
        }
        const auto d = [&](int row) { return static_cast<short>(rows[row][b].d); };
        const __m128 factors = _mm_cvtph_ps(_mm_setr_epi16(d(0), d(1), d(2), d(3), 0, 0, 0, 0));
        for (int t = 0; t < kCount; ++t) {
            const __m512i lanes = lanes_of_rows(sums[t]);
            const __m256i halves = _mm256_add_epi32(_mm512_castsi512_si256(lanes),
                                                    _mm512_extracti64x4_epi64(lanes, 1));
            const __m128i sum =
                _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
            totals_[t] = _mm_fmadd_ps(_mm_cvtepi32_ps(sum),
                                      _mm_mul_ps(factors, _mm_set1_ps(tokens[t][b].scale)),
                                      totals_[t]);
        }
    }
    [[nodiscard]] __m128 finish(int t) const { return totals_[t]; }

  private:
    /// Words 4 * quarter to 4 * quarter + 3 of the 16 of each row, by turns of 64 bits.
    static __m512i scales_of_quarter(int quarter) {
        const auto at = [](int index) { return kWords * index; };
        const int first = 4 * quarter;
        return _mm512_set_epi64(at(first + 19),
                                at(first + 3),
                                at(first + 18),
                                at(first + 2),
                                at(first + 17),
                                at(first + 1),
                                at(first + 16),
                                at(first));
    }

    __m128 totals_[kCount] = {};
};

}  // namespace
}  // namespace hearth::cpu

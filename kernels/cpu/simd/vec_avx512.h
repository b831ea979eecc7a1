// Vec: sixteen floats in an AVX-512 register. Included by kernels_avx512.cpp alone: whatever it
// defines has internal linkage, so that no other file gets a copy compiled for AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/sums_256.h"

namespace hearth::cpu {
namespace {

struct Vec {
    static constexpr std::int64_t kWidth = 16;
    __m512 v;
};

inline Vec zero() {
    return {_mm512_setzero_ps()};
}
inline Vec broadcast(float x) {
    return {_mm512_set1_ps(x)};
}
inline Vec load(const float* p) {
    return {_mm512_loadu_ps(p)};
}
inline Vec load_half(const std::uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Vec load_bf16(const std::uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline Vec load_int8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
inline Vec broadcast_half(std::uint16_t half) {
    return {_mm512_cvtph_ps(_mm256_set1_epi16(static_cast<std::int16_t>(half)))};
}
inline void store(float* p, Vec x) {
    _mm512_storeu_ps(p, x.v);
}
inline void store_half(std::uint16_t* p, Vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// Nearest, ties to even; x lies in [-127, 127].
inline void store_int8(std::int8_t* p, Vec x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x.v)));
}
inline Vec add(Vec a, Vec b) {
    return {_mm512_add_ps(a.v, b.v)};
}
inline Vec sub(Vec a, Vec b) {
    return {_mm512_sub_ps(a.v, b.v)};
}
inline Vec mul(Vec a, Vec b) {
    return {_mm512_mul_ps(a.v, b.v)};
}
inline Vec div(Vec a, Vec b) {
    return {_mm512_div_ps(a.v, b.v)};
}
inline Vec max(Vec a, Vec b) {
    return {_mm512_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
    return {_mm512_min_ps(a.v, b.v)};
}
inline Vec abs(Vec a) {
    return {_mm512_abs_ps(a.v)};
}
/// a * b + c.
inline Vec fma(Vec a, Vec b, Vec c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline Vec in_register(Vec a) {
    return a;
}

/// Sixteen integers of 32 bits, or in each four of 8.
struct IntVec {
    __m512i v;
};
constexpr int kPerLane = 4;
using RowInt = std::int8_t;
template <typename Lanes>
inline Lanes zero_ints() {
    return {decltype(Lanes::v){}};
}
template <typename Lanes>
inline Lanes load_ints_of(const void* p) {
    Lanes lanes;
    __builtin_memcpy(&lanes, p, sizeof lanes);
    return lanes;
}
/// Thirty-two columns of four rows, those of a column in one lane; the lanes are put in the
/// columns' order by to_column_order.
inline void load_side_by_side(const std::int8_t* rows, std::int64_t stride, IntVec* out) {
    const auto columns_of = [](const std::int8_t* row) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
    };
    const auto two = [&](const std::int8_t* row) {
        return _mm512_inserti64x4(
            _mm512_castsi256_si512(columns_of(row)), columns_of(row + 2 * stride), 1);
    };
    const __m512i even = two(rows);
    const __m512i odd = two(rows + stride);
    // Pairs of the rows 0 and 1 are in the lower half, of 2 and 3 in the upper one.
    const __m512i lower = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(16));
    const __m512i order = _mm512_or_si512(lower, _mm512_slli_epi32(upper, 16));
    out[0] = {_mm512_permutexvar_epi16(order, _mm512_unpacklo_epi8(even, odd))};
    out[1] = {_mm512_permutexvar_epi16(order, _mm512_unpackhi_epi8(even, odd))};
}
inline void to_column_order(Vec* two) {
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    const __m512 a = two[0].v;
    two[0] = {_mm512_permutex2var_ps(a, low, two[1].v)};
    two[1] = {_mm512_permutex2var_ps(a, high, two[1].v)};
}
template <typename Lanes>
inline Lanes broadcast_lane(int lane) {
    if constexpr (sizeof(Lanes) == sizeof(__m256i)) {
        return {_mm256_set1_epi32(lane)};
    } else {
        return {_mm512_set1_epi32(lane)};
    }
}
inline void store_ints(void* p, IntVec x) {
    _mm512_storeu_si512(p, x.v);
}
/// The lowest byte of each.
inline IntVec pack_lanes(const IntVec* four) {
    const __m512i byte = _mm512_set1_epi32(0xFF);
    const auto two = [&](IntVec a, IntVec b) {
        return _mm512_or_si512(_mm512_and_si512(a.v, byte),
                               _mm512_slli_epi32(_mm512_and_si512(b.v, byte), 8));
    };
    return {_mm512_or_si512(two(four[0], four[1]), _mm512_slli_epi32(two(four[2], four[3]), 16))};
}
/// What is multiplied first is unsigned: signed bytes are raised by kRaised.
constexpr int kRaised = 128;
inline IntVec raise(IntVec bytes) {
    return {_mm512_xor_si512(bytes.v, _mm512_set1_epi8(-128))};
}
/// sum + the four products of unsigned and signed bytes.
inline IntVec add_products(IntVec sum, IntVec a, IntVec b) {
    return {_mm512_dpbusd_epi32(sum.v, a.v, b.v)};
}
/// Nearest, ties to even.
inline IntVec to_ints(Vec x) {
    return {_mm512_cvtps_epi32(x.v)};
}
inline Vec to_floats(IntVec x) {
    return {_mm512_cvtepi32_ps(x.v)};
}
inline IntVec in_register(IntVec a) {
    return a;
}

/// Eight of them, where a call has few rows: half the width is twice as fast on some processors.
struct FewInts {
    __m256i v;
};
inline FewInts in_register(FewInts a) {
    return a;
}
inline FewInts add_products(FewInts sum, FewInts a, FewInts b) {
    return {_mm256_dpbusd_epi32(sum.v, a.v, b.v)};
}
/// As the add_scores of vector_rounded_mix.h.
inline void add_scores(
    FewInts sums, const float* query_scales, float key_scale, bool is_first, float* out) {
    const __m256 scores = _mm256_mul_ps(_mm256_cvtepi32_ps(sums.v), _mm256_loadu_ps(query_scales));
    const __m256 scale = _mm256_set1_ps(key_scale);
    _mm256_storeu_ps(out,
                     is_first ? _mm256_mul_ps(scores, scale)
                              : _mm256_fmadd_ps(scores, scale, _mm256_loadu_ps(out)));
}

inline __m256 upper_half(__m512 a) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
}
inline __m256 add_halves(Vec a) {
    return _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
}
inline float sum_of(Vec a) {
    return sum_of_lanes(add_halves(a));
}
inline void sums_of_8(const Vec* a, float* sums) {
    __m256 lanes[8];
    for (int i = 0; i < 8; ++i) {
        lanes[i] = add_halves(a[i]);
    }
    _mm256_storeu_ps(sums, sums_of_lanes(lanes));
}
inline float max_of(Vec a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// e^a to about one unit in the last place; 0 below -87.3, e^88 above 88.
inline Vec exp(Vec a) {
    const __m512 lowest = _mm512_set1_ps(-87.3F);
    const __mmask16 is_normal = _mm512_cmp_ps_mask(a.v, lowest, _CMP_GT_OQ);
    const __m512 x = _mm512_max_ps(_mm512_min_ps(a.v, _mm512_set1_ps(88.0F)), lowest);
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first exact in few bits.
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 p = _mm512_set1_ps(1.0F / 5040.0F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 720.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 120.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 24.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 6.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    const __m512i exponent =
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return {_mm512_maskz_mov_ps(is_normal, _mm512_mul_ps(p, _mm512_castsi512_ps(exponent)))};
}

}  // namespace
}  // namespace hearth::cpu

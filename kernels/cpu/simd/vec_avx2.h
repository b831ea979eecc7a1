// Vec: eight floats in an AVX register. Included by kernels_avx2.cpp and kernels_avxvnni.cpp
// alone, behind their lanes: whatever it defines has internal linkage, so that no other file gets a
// copy compiled for AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/sums_256.h"

namespace hearth::cpu {
namespace {

struct Vec {
    static constexpr std::int64_t kWidth = 8;
    __m256 v;
};

inline Vec zero() {
    return {_mm256_setzero_ps()};
}
inline Vec broadcast(float x) {
    return {_mm256_set1_ps(x)};
}
inline Vec load(const float* p) {
    return {_mm256_loadu_ps(p)};
}
inline Vec load_half(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline Vec load_bf16(const std::uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
inline Vec load_int8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
}
inline Vec broadcast_half(std::uint16_t half) {
    return {_mm256_cvtph_ps(_mm_set1_epi16(static_cast<std::int16_t>(half)))};
}
inline void store(float* p, Vec x) {
    _mm256_storeu_ps(p, x.v);
}
inline void store_half(std::uint16_t* p, Vec x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// Nearest, ties to even; x lies in [-127, 127].
inline void store_int8(std::int8_t* p, Vec x) {
    const __m256i wide = _mm256_cvtps_epi32(x.v);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
inline Vec add(Vec a, Vec b) {
    return {_mm256_add_ps(a.v, b.v)};
}
inline Vec sub(Vec a, Vec b) {
    return {_mm256_sub_ps(a.v, b.v)};
}
inline Vec mul(Vec a, Vec b) {
    return {_mm256_mul_ps(a.v, b.v)};
}
inline Vec div(Vec a, Vec b) {
    return {_mm256_div_ps(a.v, b.v)};
}
inline Vec max(Vec a, Vec b) {
    return {_mm256_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
    return {_mm256_min_ps(a.v, b.v)};
}
inline Vec abs(Vec a) {
    return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a.v)};
}
/// a * b + c.
inline Vec fma(Vec a, Vec b, Vec c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
/// Loaded once: g++ else loads what several products take with each of them.
inline Vec in_register(Vec a) {
    asm("" : "+x"(a.v));
    return a;
}

/// Eight integers of 32 bits, or in each two of 16.
struct IntVec {
    __m256i v;
};
using FewInts = IntVec;
constexpr int kPerLane = 2;
using RowInt = std::int16_t;
template <typename Lanes>
inline Lanes zero_ints() {
    return {_mm256_setzero_si256()};
}
template <typename Lanes>
inline Lanes load_ints_of(const void* p) {
    return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
}
/// Sixteen columns of two rows of 16 bits, those of a column in one lane; the lanes are put in the
/// columns' order by to_column_order.
inline void load_side_by_side(const std::int16_t* rows, std::int64_t stride, IntVec* out) {
    const __m256i a = load_ints_of<IntVec>(rows).v;
    const __m256i b = load_ints_of<IntVec>(rows + stride).v;
    out[0] = {_mm256_unpacklo_epi16(a, b)};
    out[1] = {_mm256_unpackhi_epi16(a, b)};
    asm("" : "+x"(out[0].v), "+x"(out[1].v));
}
inline void to_column_order(Vec* two) {
    const __m256 a = two[0].v;
    two[0] = {_mm256_permute2f128_ps(a, two[1].v, 0x20)};
    two[1] = {_mm256_permute2f128_ps(a, two[1].v, 0x31)};
}
template <typename Lanes>
inline Lanes broadcast_lane(int lane) {
    return {_mm256_set1_epi32(lane)};
}
inline void store_ints(void* p, IntVec x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), x.v);
}
/// The lower half of each.
inline IntVec pack_lanes(const IntVec* two) {
    return {_mm256_blend_epi16(two[0].v, _mm256_slli_epi32(two[1].v, 16), 0xAA)};
}
constexpr int kRaised = 0;
inline IntVec raise(IntVec pairs) {
    return pairs;
}
/// sum + both products of 16 bits.
inline IntVec add_products(IntVec sum, IntVec a, IntVec b) {
    return {add_pairs(sum.v, a.v, b.v)};
}
/// Nearest, ties to even.
inline IntVec to_ints(Vec x) {
    return {_mm256_cvtps_epi32(x.v)};
}
inline Vec to_floats(IntVec x) {
    return {_mm256_cvtepi32_ps(x.v)};
}
inline IntVec in_register(IntVec a) {
    asm("" : "+x"(a.v));
    return a;
}

inline float sum_of(Vec a) {
    return sum_of_lanes(a.v);
}
inline void sums_of_8(const Vec* a, float* sums) {
    const __m256 lanes[8] = {a[0].v, a[1].v, a[2].v, a[3].v, a[4].v, a[5].v, a[6].v, a[7].v};
    _mm256_storeu_ps(sums, sums_of_lanes(lanes));
}
inline float max_of(Vec a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// e^a to about one unit in the last place; 0 below -87.3, e^88 above 88.
inline Vec exp(Vec a) {
    const __m256 lowest = _mm256_set1_ps(-87.3F);
    const __m256 is_normal = _mm256_cmp_ps(a.v, lowest, _CMP_GT_OQ);
    const __m256 x = _mm256_max_ps(_mm256_min_ps(a.v, _mm256_set1_ps(88.0F)), lowest);
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first exact in few bits.
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504F)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);
    __m256 p = _mm256_set1_ps(1.0F / 5040.0F);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 720.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 120.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 24.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F / 6.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    const __m256i exponent =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return {_mm256_and_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(exponent)), is_normal)};
}

}  // namespace
}  // namespace hearth::cpu

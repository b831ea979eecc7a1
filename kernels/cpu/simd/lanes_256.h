// Sixteen rows of a panel in pairs of 256-bit registers. Included by lanes_avx2.h and
// lanes_avxvnni.h alone, which add sums of products; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace hearth::cpu {
namespace {

struct Ints16 {
    __m256i low, top;
};
struct Floats16 {
    __m256 low, top;
};

inline Ints16 broadcast_ints(int a) {
    return {_mm256_set1_epi32(a), _mm256_set1_epi32(a)};
}
inline Ints16 broadcast_ints_at(const std::int32_t* a) {
    return broadcast_ints(*a);
}
/// Two neighbouring 16-bit numbers in every lane.
inline Ints16 broadcast_pair(const std::int16_t* pair) {
    int both = 0;
    __builtin_memcpy(&both, pair, sizeof both);
    return broadcast_ints(both);
}
inline Ints16 load_ints(const void* p) {
    const auto* lanes = static_cast<const __m256i*>(p);
    return {_mm256_load_si256(lanes), _mm256_load_si256(lanes + 1)};
}
inline Ints16 add(Ints16 a, Ints16 b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.top, b.top)};
}
inline Ints16 sub(Ints16 a, Ints16 b) {
    return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.top, b.top)};
}
template <int kFactor>
inline Ints16 times(Ints16 a) {
    if constexpr ((kFactor & (kFactor - 1)) == 0) {
        constexpr int kBits = __builtin_ctz(kFactor);
        return {_mm256_slli_epi32(a.low, kBits), _mm256_slli_epi32(a.top, kBits)};
    } else {
        const __m256i factor = _mm256_set1_epi32(kFactor);
        return {_mm256_mullo_epi32(a.low, factor), _mm256_mullo_epi32(a.top, factor)};
    }
}
/// sum + both products of 16-bit numbers; of a register, it comes with the instruction set.
inline __m256i add_pairs(__m256i sum, __m256i a, __m256i b);
inline Ints16 add_pairs(Ints16 sum, Ints16 a, Ints16 b) {
    return {add_pairs(sum.low, a.low, b.low), add_pairs(sum.top, a.top, b.top)};
}
/// The second of two 16-bit numbers.
inline Ints16 second_of_pairs(Ints16 a) {
    return {_mm256_srai_epi32(a.low, 16), _mm256_srai_epi32(a.top, 16)};
}

inline Floats16 broadcast_floats(float a) {
    return {_mm256_set1_ps(a), _mm256_set1_ps(a)};
}
inline Floats16 load_floats(const float* p) {
    return {_mm256_load_ps(p), _mm256_load_ps(p + 8)};
}
inline void store_floats(float* p, Floats16 a) {
    _mm256_store_ps(p, a.low);
    _mm256_store_ps(p + 8, a.top);
}
inline void store_floats_unaligned(float* p, Floats16 a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.top);
}
inline Floats16 to_floats(Ints16 a) {
    return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.top)};
}
inline Floats16 add(Floats16 a, Floats16 b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.top, b.top)};
}
inline Floats16 sub(Floats16 a, Floats16 b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.top, b.top)};
}
inline Floats16 mul(Floats16 a, Floats16 b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.top, b.top)};
}
inline Floats16 fma(Floats16 a, Floats16 b, Floats16 c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.top, b.top, c.top)};
}

/// Four columns of a token in every lane.
inline __m256i broadcast_columns(const std::int8_t* four) {
    int bytes = 0;
    __builtin_memcpy(&bytes, four, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

}  // namespace
}  // namespace hearth::cpu

// Sixteen rows of a panel in 512-bit registers. Included by kernels_avx512.cpp alone, before
// lanes_vnni.h; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {
namespace {

struct Ints16 {
    __m512i lanes;
};
struct Floats16 {
    __m512 lanes;
};

inline Ints16 broadcast_ints(int a) {
    return {_mm512_set1_epi32(a)};
}
/// Read as a float, which g++ broadcasts from memory.
inline Ints16 broadcast_ints_at(const std::int32_t* a) {
    float bits = 0;
    __builtin_memcpy(&bits, a, sizeof bits);
    return {_mm512_castps_si512(_mm512_set1_ps(bits))};
}
/// Two neighbouring 16-bit numbers in every lane.
inline Ints16 broadcast_pair(const std::int16_t* pair) {
    int both = 0;
    __builtin_memcpy(&both, pair, sizeof both);
    return broadcast_ints(both);
}
inline Ints16 load_ints(const void* p) {
    return {_mm512_load_si512(p)};
}
inline Ints16 add(Ints16 a, Ints16 b) {
    return {_mm512_add_epi32(a.lanes, b.lanes)};
}
inline Ints16 sub(Ints16 a, Ints16 b) {
    return {_mm512_sub_epi32(a.lanes, b.lanes)};
}
template <int kBits>
inline Ints16 shift_left(Ints16 a) {
    return {_mm512_slli_epi32(a.lanes, kBits)};
}
template <int kFactor>
inline Ints16 times(Ints16 a) {
    if constexpr ((kFactor & (kFactor - 1)) == 0) {
        return {_mm512_slli_epi32(a.lanes, __builtin_ctz(kFactor))};
    } else {
        return {_mm512_mullo_epi32(a.lanes, _mm512_set1_epi32(kFactor))};
    }
}
/// sum + both products of 16-bit numbers.
inline Ints16 add_pairs(Ints16 sum, Ints16 a, Ints16 b) {
    return {_mm512_dpwssd_epi32(sum.lanes, a.lanes, b.lanes)};
}
/// The low 16 bits of both in each lane, those of `second` behind.
inline Ints16 join(Ints16 first, Ints16 second) {
    constexpr std::uint32_t kSeconds = 0xAAAAAAAA;
    return {_mm512_mask_blend_epi16(kSeconds, first.lanes, shift_left<16>(second).lanes)};
}
/// The second of two 16-bit numbers.
inline Ints16 second_of_pairs(Ints16 a) {
    return {_mm512_srai_epi32(a.lanes, 16)};
}

inline Floats16 broadcast_floats(float a) {
    return {_mm512_set1_ps(a)};
}
inline Floats16 load_floats(const float* p) {
    return {_mm512_load_ps(p)};
}
inline void store_floats(float* p, Floats16 a) {
    _mm512_store_ps(p, a.lanes);
}
inline void store_floats_unaligned(float* p, Floats16 a) {
    _mm512_storeu_ps(p, a.lanes);
}
inline Floats16 to_floats(Ints16 a) {
    return {_mm512_cvtepi32_ps(a.lanes)};
}
inline Floats16 add(Floats16 a, Floats16 b) {
    return {_mm512_add_ps(a.lanes, b.lanes)};
}
inline Floats16 sub(Floats16 a, Floats16 b) {
    return {_mm512_sub_ps(a.lanes, b.lanes)};
}
inline Floats16 mul(Floats16 a, Floats16 b) {
    return {_mm512_mul_ps(a.lanes, b.lanes)};
}
inline Floats16 fma(Floats16 a, Floats16 b, Floats16 c) {
    return {_mm512_fmadd_ps(a.lanes, b.lanes, c.lanes)};
}

/// sum + four columns of the unsigned quants times those of a token.
inline Ints16 add_columns(Ints16 sum, Ints16 quants, const std::int8_t* four) {
    int columns = 0;
    __builtin_memcpy(&columns, four, sizeof columns);
    return {_mm512_dpbusd_epi32(sum.lanes, quants.lanes, _mm512_set1_epi32(columns))};
}
inline Ints16 mul(Ints16 a, Ints16 b) {
    return {_mm512_mullo_epi32(a.lanes, b.lanes)};
}

}  // namespace
}  // namespace hearth::cpu

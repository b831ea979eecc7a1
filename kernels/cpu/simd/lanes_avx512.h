// Sixteen rows of a panel in 512-bit registers, and their sums of products by VNNI. Included by
// kernels_avx512.cpp alone, before panel.h; internal linkage.
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
inline Ints16 shift_left_5(Ints16 a) {
    return {_mm512_slli_epi32(a.lanes, 5)};
}
/// Sums of two products of 16-bit numbers.
inline Ints16 madd_pairs(Ints16 a, Ints16 b) {
    return {_mm512_dpwssd_epi32(_mm512_setzero_si512(), a.lanes, b.lanes)};
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

/// Signed quants lie in a panel with this much more: the products take unsigned ones.
constexpr int kSignedOffset = 128;

/// sums[t] += w . x[t] for kSteps steps of four columns.
template <int kSteps, int kCount>
inline void add_steps(const std::int8_t (*w)[kPanelRows][4],
                      const std::int8_t* const* x,
                      Ints16* sums) {
    for (int step = 0; step < kSteps; ++step) {
        const Ints16 quants = load_ints(w[step]);
        for (int t = 0; t < kCount; ++t) {
            int four = 0;
            __builtin_memcpy(&four, x[t] + 4 * step, sizeof four);
            sums[t].lanes =
                _mm512_dpbusd_epi32(sums[t].lanes, quants.lanes, _mm512_set1_epi32(four));
        }
    }
}

/// sums[t] += w . x[t] for a run of 32 columns.
template <int kQuantMax, int kCount>
inline void add_run(const std::int8_t (*w)[kPanelRows][4],
                    const std::int8_t* const* x,
                    Ints16* sums) {
    add_steps<8, kCount>(w, x, sums);
}

/// The same for quants that have a scale per kScaleSteps steps.
template <int kQuantMax, int kScaleSteps, int kCount>
inline void add_scaled_run(const std::int8_t (*w)[kPanelRows][4],
                           const std::int16_t (*scales)[kPanelRows][2],
                           const std::int8_t* const* x,
                           Ints16* sums) {
    for (int step = 0; step < 8; step += kScaleSteps) {
        const std::int8_t* columns[kCount];
        Ints16 products[kCount];
        for (int t = 0; t < kCount; ++t) {
            columns[t] = x[t] + 4 * step;
            products[t] = broadcast_ints(0);
        }
        add_steps<kScaleSteps, kCount>(w + step, columns, products);
        // Each scale is there twice: once times one.
        const Ints16 twice = load_ints(scales[step / kScaleSteps]);
        const __m512i scale = madd_pairs(twice, broadcast_ints(1)).lanes;
        for (int t = 0; t < kCount; ++t) {
            sums[t].lanes =
                _mm512_add_epi32(sums[t].lanes, _mm512_mullo_epi32(products[t].lanes, scale));
        }
    }
}

}  // namespace
}  // namespace hearth::cpu

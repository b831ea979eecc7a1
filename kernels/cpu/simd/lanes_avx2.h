// Sixteen rows of a panel in pairs of 256-bit registers, and their sums of products. Included by
// kernels_avx2.cpp alone, before panel.h; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/dot_quantised.h"

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
inline Ints16 shift_left_5(Ints16 a) {
    return {_mm256_slli_epi32(a.low, 5), _mm256_slli_epi32(a.top, 5)};
}
/// Sums of two products of 16-bit numbers.
inline Ints16 madd_pairs(Ints16 a, Ints16 b) {
    return {_mm256_madd_epi16(a.low, b.low), _mm256_madd_epi16(a.top, b.top)};
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

/// How signed quants lie in a panel: as they are.
constexpr int kSignedOffset = 0;

/// Steps of four columns whose products fit 16 bits together: two products of at most
/// `quant_max` * 127 a step.
constexpr int steps_in_16_bits(int quant_max) {
    const int steps = 32767 / (2 * 127 * quant_max);
    return steps >= 8 ? 8 : steps >= 4 ? 4 : steps >= 2 ? 2 : 1;
}

/// Has `a` computed here: g++ 12 else collects all products first and spills them.
inline void keep_in_order(__m256i& a) {
    __asm__("" : "+x"(a));
}

inline __m256i broadcast_columns(const std::int8_t* four) {
    int bytes = 0;
    __builtin_memcpy(&bytes, four, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

/// sums[t] += scale * (w . x[t]) for kSteps steps of four columns whose products fit 16 bits
/// together.
template <int kSteps, int kCount>
inline void add_steps(const std::int8_t (*w)[kPanelRows][4],
                      const std::int8_t* const* x,
                      Ints16 scales,
                      Ints16* sums) {
    Ints16 products[kCount];
    for (int step = 0; step < kSteps; ++step) {
        const Ints16 quants = load_ints(w[step]);
        for (int t = 0; t < kCount; ++t) {
            const __m256i columns = broadcast_columns(x[t] + 4 * step);
            const __m256i low = _mm256_maddubs_epi16(quants.low, columns);
            const __m256i top = _mm256_maddubs_epi16(quants.top, columns);
            if (step == 0) {
                products[t] = {low, top};
            } else {
                products[t].low = _mm256_add_epi16(products[t].low, low);
                products[t].top = _mm256_add_epi16(products[t].top, top);
            }
            keep_in_order(products[t].low);
            keep_in_order(products[t].top);
        }
    }
    for (int t = 0; t < kCount; ++t) {
        sums[t] = add(sums[t], madd_pairs(products[t], scales));
    }
}

/// The same for eight steps of signed quants, which give their sign to x: two products fit 16 bits.
template <int kCount>
inline void add_signed_steps(const std::int8_t (*w)[kPanelRows][4],
                             const std::int8_t* const* x,
                             Ints16* sums) {
    const __m256i ones = _mm256_set1_epi16(1);
    const auto add_products = [&](__m256i sizes, __m256i quants, __m256i columns, __m256i& sum) {
        const __m256i pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(columns, quants));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        keep_in_order(sum);
    };
    for (int step = 0; step < kStepsPerRun; ++step) {
        const Ints16 quants = load_ints(w[step]);
        const Ints16 sizes = {_mm256_abs_epi8(quants.low), _mm256_abs_epi8(quants.top)};
        for (int t = 0; t < kCount; ++t) {
            const __m256i columns = broadcast_columns(x[t] + 4 * step);
            add_products(sizes.low, quants.low, columns, sums[t].low);
            add_products(sizes.top, quants.top, columns, sums[t].top);
        }
    }
}

inline Ints16 broadcast_16_bits(std::int16_t a) {
    return {_mm256_set1_epi16(a), _mm256_set1_epi16(a)};
}

/// sums[t] += w . x[t] for a run of 32 columns.
template <int kQuantMax, int kCount>
inline void add_run(const std::int8_t (*w)[kPanelRows][4],
                    const std::int8_t* const* x,
                    Ints16* sums) {
    if constexpr (kQuantMax > 127) {
        add_signed_steps<kCount>(w, x, sums);
    } else {
        constexpr int kSteps = steps_in_16_bits(kQuantMax);
        for (int step = 0; step < 8; step += kSteps) {
            const std::int8_t* columns[kCount];
            for (int t = 0; t < kCount; ++t) {
                columns[t] = x[t] + 4 * step;
            }
            add_steps<kSteps, kCount>(w + step, columns, broadcast_16_bits(1), sums);
        }
    }
}

/// The same for quants that have a scale per kScaleSteps steps.
template <int kQuantMax, int kScaleSteps, int kCount>
inline void add_scaled_run(const std::int8_t (*w)[kPanelRows][4],
                           const std::int16_t (*scales)[kPanelRows][2],
                           const std::int8_t* const* x,
                           Ints16* sums) {
    constexpr int kSteps = steps_in_16_bits(kQuantMax);
    static_assert(kSteps <= kScaleSteps);
    for (int step = 0; step < 8; step += kSteps) {
        const std::int8_t* columns[kCount];
        for (int t = 0; t < kCount; ++t) {
            columns[t] = x[t] + 4 * step;
        }
        add_steps<kSteps, kCount>(w + step, columns, load_ints(scales[step / kScaleSteps]), sums);
    }
}

}  // namespace
}  // namespace hearth::cpu

// The sums of products of AVX2, in lanes for rows and for panels. Included by kernels_avx2.cpp
// alone, before panel.h; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/dot_quantised.h"
#include "kernels/cpu/simd/lanes_256.h"

namespace hearth::cpu {
namespace {

/// Eight sums of four products of an unsigned and a signed 8-bit number, two of which fit 16 bits.
inline __m256i dot_fours(__m256i w, __m256i x) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
/// sum + eight sums of two products of 16-bit numbers.
inline __m256i add_pairs(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

/// How signed quants lie in a panel: as they are.
constexpr int kSignedOffset = 0;
constexpr bool kScalesPairs = false;

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
        sums[t] = add_pairs(sums[t], products[t], scales);
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

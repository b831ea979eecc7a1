// The sums of products of a panel by VNNI, which adds four 8-bit products to a 32-bit sum. Included
// by kernels_avx512.cpp and kernels_avxvnni.cpp alone, behind their lanes and before panel.h;
// internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {
namespace {

/// Signed quants lie in a panel with this much more: the products take unsigned ones.
constexpr int kSignedOffset = 128;

/// Of a run of 32 columns.
constexpr int kRunSteps = kQ8Elements / 4;

/// Whether two runs whose sums fit 16 bits are scaled together, by add_scaled_pair.
constexpr bool kScalesPairs = true;

/// sums[t] += w . x[t] for kSteps steps of four columns.
template <int kSteps, int kCount>
inline void add_steps(const std::int8_t (*w)[kPanelRows][4],
                      const std::int8_t* const* x,
                      Ints16* sums) {
    for (int step = 0; step < kSteps; ++step) {
        const Ints16 quants = load_ints(w[step]);
        for (int t = 0; t < kCount; ++t) {
            sums[t] = add_columns(sums[t], quants, x[t] + 4 * step);
        }
    }
}

/// sums[t] += w . x[t] for a run of 32 columns.
template <int kQuantMax, int kCount>
inline void add_run(const std::int8_t (*w)[kPanelRows][4],
                    const std::int8_t* const* x,
                    Ints16* sums) {
    add_steps<kRunSteps, kCount>(w, x, sums);
}

/// The same for quants that have a scale per kScaleSteps steps.
template <int kQuantMax, int kScaleSteps, int kCount>
inline void add_scaled_run(const std::int8_t (*w)[kPanelRows][4],
                           const std::int16_t (*scales)[kPanelRows][2],
                           const std::int8_t* const* x,
                           Ints16* sums) {
    for (int step = 0; step < kRunSteps; step += kScaleSteps) {
        const std::int8_t* columns[kCount];
        Ints16 products[kCount];
        for (int t = 0; t < kCount; ++t) {
            columns[t] = x[t] + 4 * step;
            products[t] = broadcast_ints(0);
        }
        add_steps<kScaleSteps, kCount>(w + step, columns, products);
        // Each scale is there twice.
        const Ints16 scale = second_of_pairs(load_ints(scales[step / kScaleSteps]));
        for (int t = 0; t < kCount; ++t) {
            sums[t] = add(sums[t], mul(products[t], scale));
        }
    }
}

/// The same for two runs with a scale each whose sums fit 16 bits.
template <int kCount>
inline void add_scaled_pair(const std::int8_t (*w)[kRunSteps][kPanelRows][4],
                            const std::int16_t (*scales)[kPanelRows][2],
                            const std::int8_t* const* x,
                            Ints16* sums) {
    const std::int8_t* columns[kCount];
    Ints16 first[kCount];
    Ints16 second[kCount];
    for (int t = 0; t < kCount; ++t) {
        columns[t] = x[t] + kQ8Elements;
        first[t] = second[t] = broadcast_ints(0);
    }
    add_steps<kRunSteps, kCount>(w[0], x, first);
    add_steps<kRunSteps, kCount>(w[1], columns, second);
    const Ints16 both_scales = join(load_ints(scales[0]), load_ints(scales[1]));
    for (int t = 0; t < kCount; ++t) {
        sums[t] = add_pairs(sums[t], join(first[t], second[t]), both_scales);
    }
}

}  // namespace
}  // namespace hearth::cpu

// The rounding of activations to int8, element by element. Included by kernels_scalar.cpp alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {
namespace {

/// Rounds `count` elements with one scale, which it returns.
float quantise_run(const float* x, std::int64_t count, std::int8_t* quants) {
    float largest = 0.0F;
    for (std::int64_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::fabs(x[i]));
    }
    const float scale = largest / 127.0F;
    const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    for (std::int64_t i = 0; i < count; ++i) {
        // A scale near the smallest float has an inverse that overshoots.
        const float scaled = std::clamp(x[i] * inverse, -127.0F, 127.0F);
        quants[i] = static_cast<std::int8_t>(std::lrintf(scaled));
    }
    return scale;
}

float quantise_32(const float* x, std::int8_t* quants) {
    return quantise_run(x, kQ8Elements, quants);
}

int sum_of(const std::int8_t* quants, std::int64_t count) {
    int sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        sum += quants[i];
    }
    return sum;
}

/// The sum of the absolute ones.
int size_of(const std::int8_t* quants, std::int64_t count) {
    int size = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        size += std::abs(quants[i]);
    }
    return size;
}

void quantise_q8(const float* x, std::int64_t dim, void* out) {
    auto* group = static_cast<Q8Group*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        std::memset(group->scales, 0, sizeof group->scales);
        std::memset(group->sums, 0, sizeof group->sums);
        const std::int64_t count = std::min<std::int64_t>(dim - first, kGroupElements);
        for (std::int64_t at = 0; at < count; at += kQ8Elements) {
            const std::int64_t block = at / kQ8Elements;
            std::int8_t* quants = group->quants + at;
            group->scales[block] = quantise_32(x + first + at, quants);
            group->sums[block] = sum_of(quants, kQ8Elements);
        }
    }
}

void quantise_q8_k(const float* x, std::int64_t dim, void* out) {
    auto* group = static_cast<Q8kGroup*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        group->scale = quantise_run(x + first, kGroupElements, group->quants);
        group->fits_16_bits = true;
        for (std::int64_t i = 0; i < kGroupElements; i += kQ8kSumElements) {
            const int sum = sum_of(group->quants + i, kQ8kSumElements);
            group->sums[i / kQ8kSumElements] = static_cast<std::int16_t>(sum);
        }
        for (std::int64_t i = 0; i < kGroupElements; i += kQ8Elements) {
            const int sum = sum_of(group->quants + i, kQ8Elements);
            const int size = size_of(group->quants + i, kQ8Elements);
            // The sums of both signs have these as their sum and their difference.
            group->fits_16_bits = group->fits_16_bits && size + std::abs(sum) <= 2 * kRunSumMax;
            group->sums_32[i / kQ8Elements] = static_cast<std::int16_t>(sum);
        }
    }
}

}  // namespace
}  // namespace hearth::cpu

// What `mix` does between its products: the softmax of a call's scores, and the requests for what
// will be read next. Rows lie in lanes. Included by vector_mix.h behind the Vec of its
// instruction set; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {
namespace {

constexpr float kInfinity = __builtin_inff();

/// Weights of a call's tokens, and before that scores: (tokens, rows).
using MixWeights = float[kMixTokens][kAttendRows];

/// Spreads the requests for `ahead` over the scores: memory answers few at a time, and more than
/// those would be waited for.
struct Ahead {
    /// `parts`: how often it is asked to.
    Ahead(const MixCall& mix_call, std::int64_t parts)
        : call(mix_call),
          stride((2 * call.ahead_bytes + parts - 1) / parts) {}
    void ask() {
        constexpr std::int64_t kLine = 64;
        for (const std::int64_t end = at + stride; at < end && at < 2 * call.ahead_bytes;
             at += kLine) {
            const bool is_first = at < call.ahead_bytes;
            __builtin_prefetch(is_first ? call.ahead[0] + at
                                        : call.ahead[1] + (at - call.ahead_bytes));
        }
    }

    const MixCall& call;
    std::int64_t stride;
    std::int64_t at = 0;
};

/// What a row may not see.
inline void hide(const MixCall& call, MixWeights& scores) {
    for (std::int64_t r = 0; r < call.rows; ++r) {
        for (std::int64_t j = call.visible[r]; j < call.count; ++j) {
            scores[j][r] = -kInfinity;
        }
    }
}

/// Scores to weights relative to each row's new maximum; `factors` is what earlier sums shrink by.
inline void soften(const MixCall& call, std::int64_t row, MixWeights& scores, float* factors) {
    const Vec scale = broadcast(call.scale);
    const Vec before = load(call.maxima + row);
    Vec largest = before;
    for (std::int64_t j = 0; j < call.count; ++j) {
        const Vec scaled = mul(load(scores[j] + row), scale);
        store(scores[j] + row, scaled);
        largest = max(largest, scaled);
    }
    const Vec factor = exp(sub(before, largest));
    Vec sum = mul(load(call.sums + row), factor);
    for (std::int64_t j = 0; j < call.count; ++j) {
        const Vec weight = exp(sub(load(scores[j] + row), largest));
        store(scores[j] + row, weight);
        sum = add(sum, weight);
    }
    store(factors + row, factor);
    store(call.maxima + row, largest);
    store(call.sums + row, sum);
}

}  // namespace
}  // namespace hearth::cpu

// Picks tokens from rows of logits on the device, as engine::Sampler does on the host. Sums are
// taken in fixed order or in whole numbers, so that a pick depends on its row and order alone.
#pragma once

#include "core/base/result.h"
#include "core/compute/sampling.h"
#include "kernels/cuda/queue.h"

namespace hearth::cuda {

/// What a slice of the vocabulary says of its row.
struct PickSlice {
    float best = 0.0F;
    float sum = 0.0F;  ///< of exp(logit - best) over the slice
    std::int32_t token = 0;
    std::int32_t is_finite = 0;
    /// The next best, where the row wants rivals: a logit of -infinity is none.
    float next_logits[compute::kRivalsMax] = {};
    std::int32_t next_tokens[compute::kRivalsMax] = {};
};

struct PickArgs {
    float* logits = nullptr;                     ///< (rows, vocab_size); masked where rows are
    const compute::PickOrder* orders = nullptr;  ///< (rows); masks in device memory
    PickSlice* slices = nullptr;                 ///< (rows, slices_of(vocab_size)) scratch
    compute::Pick* picks = nullptr;              ///< (rows) out
    int vocab_size = 0;
    bool has_masks = false;               ///< any row
    const std::int32_t* count = nullptr;  ///< rows beyond are left out; null: none are
};

inline constexpr int kSliceTokens = 4096;
constexpr int slices_of(int vocab_size) {
    return (vocab_size + kSliceTokens - 1) / kSliceTokens;
}

/// Two kernels, and one before them where there are masks; greedy rows read their logits once,
/// others up to ten times.
Result<void> pick(const PickArgs& args, int rows, Queue queue);

}  // namespace hearth::cuda

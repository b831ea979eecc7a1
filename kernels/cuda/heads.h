// One kernel between the projections and attention: norms and rotations of heads, and the cache's
// rows.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

inline constexpr int kHeadJobsMax = 6;
inline constexpr int kHeadDimMax = 2048;

/// What happens to each of some neighbouring heads, in this order and in place.
struct HeadJob {
    enum class Store { none, key, value };

    FloatRows x;
    int heads = 0, head_dim = 0;
    const float* norm = nullptr;  ///< (head_dim) weights; null: no norm
    float epsilon = 0.0F;
    const float2* angles = nullptr;  ///< (tokens, pairs); null: no rotation
    int pairs = 0, rotate_offset = 0;
    bool is_interleaved = false;
    Store store = Store::none;  ///< in Q8_0: head_dim and store_column are multiples of 32
    int store_column = 0;       ///< of the cache's row, for the first head
};

struct HeadsArgs {
    HeadJob jobs[kHeadJobsMax];
    int job_count = 0;
    CacheLayer cache;
};

Result<void> prepare_heads(const HeadsArgs& args, const StepTables& step, int tokens, Queue queue);

}  // namespace hearth::cuda

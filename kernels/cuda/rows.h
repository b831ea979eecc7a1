// Kernels that work row by row: embedding, norm, rounding, rotation, the cache's rows, and what is
// element by element. Shapes: core/compute/plan.h.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

struct EmbedArgs {
    Matrix table;
    FloatRows out;
    float scale = 1.0F;
};
Result<void> embed(const EmbedArgs& args, const StepTables& step, int tokens, Queue queue);

struct RmsNormArgs {
    FloatRows x;
    const float* weight = nullptr;  ///< (group_dim)
    FloatRows out;
    Q8Rows rounded =
        {};  ///< also the result, where quants is not null; group_dim is a multiple of 32
    int groups = 0;
    int group_dim = 0;
    float epsilon = 0.0F;
};
Result<void> rms_norm(const RmsNormArgs& args, int tokens, Queue queue);

/// out = x rounded; out.columns is a multiple of 32.
Result<void> quantise(const FloatRows& x, const Q8Rows& out, int rows, Queue queue);

/// Cosine and sine of every position of the step, times magnitude.
///   frequencies (pairs)   angles (tokens, pairs)
struct RopeAnglesArgs {
    const float* frequencies = nullptr;
    float2* angles = nullptr;
    int pairs = 0;
    float magnitude = 1.0F;
};
Result<void> rope_angles(const RopeAnglesArgs& args,
                         const StepTables& step,
                         int tokens,
                         Queue queue);

struct RopeArgs {
    FloatRows x;
    const float2* angles = nullptr;  ///< (tokens, pairs)
    int pairs = 0;
    int heads = 0;
    int head_dim = 0;
    int rotate_offset = 0;
    bool is_interleaved = false;
};
Result<void> rope(const RopeArgs& args, int tokens, Queue queue);

/// Stores the step's keys and values, rounded as the cache has them.
struct StoreCacheArgs {
    FloatRows key;    ///< (tokens, key_dim)
    FloatRows value;  ///< (tokens, value_dim)
    CacheLayer cache;
};
Result<void> store_cache(const StoreCacheArgs& args,
                         const StepTables& step,
                         int tokens,
                         Queue queue);

struct PairwiseArgs {
    FloatRows a, b, out;
    Q8Rows rounded = {};  ///< also the result, where quants is not null
    int dim = 0;
};
/// out = silu(a) * b
Result<void> swiglu(const PairwiseArgs& args, int tokens, Queue queue);
/// out = a + b; nothing rounded
Result<void> add(const PairwiseArgs& args, int tokens, Queue queue);

}  // namespace hearth::cuda

// Attention of the step's tokens over the cache on the tensor cores, for grouped queries and, with
// one key head and the values in the key row, for latent attention after absorption. Keys have up
// to 576 columns, values up to 512. The cache is walked in splits of kSplitTokens. Few tokens: one
// block per split, then the splits are merged in order; many tokens: one block walks all splits,
// merging as it goes. Both do the same arithmetic, so the bits agree.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

/// Widest rows of a head.
inline constexpr int kAttentionKeyDimMax = 576;
inline constexpr int kAttentionValueDimMax = 512;

struct AttentionArgs {
    /// A head's query is `query_dim` columns of `query`, then `rest_dim` columns of `rest`; where
    /// there are any of `rest`, query_dim is even.
    FloatRows query, rest;
    int query_head_stride = 0, query_dim = 0;
    int rest_head_stride = 0, rest_dim = 0;
    CacheLayer cache;
    int heads = 0, kv_heads = 0;
    int value_dim = 0;             ///< of a head
    bool values_are_keys = false;  ///< the value is the first columns of the key
    float scale = 0.0F;
    FloatRows out;        ///< (tokens, heads * value_dim)
    Q8Rows rounded = {};  ///< also the result, where quants is not null; value_dim a multiple of 32
    /// Room for the splits: (tokens, heads, splits, value_dim), and as many maxima and sums.
    float* partial_values = nullptr;
    float2* partial_sums = nullptr;
    /// Tokens times splits that the room has; where a step has more its tokens attend in pieces. At
    /// least the splits of one token; 0: enough.
    std::int64_t split_rows = 0;
    /// What is made use of, 0: what the device has. The results do not depend on it.
    int shared_bytes_max = 0;  ///< of a block
    int multiprocessors = 0;
};

/// One block per split for up to `splits` splits; 0: a block walks them all and needs no room.
Result<void> attend(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue);

/// What latent attention does with a head's mixed latents: value[h] = latent * transpose(v_up[h]).
struct LatentValues {
    Matrix v_up;  ///< (heads, value_dim, latent_dim)
    int value_dim = 0;
    FloatRows out;        ///< (tokens, heads * value_dim)
    Q8Rows rounded = {};  ///< also the result, where quants is not null; value_dim a multiple of 32
};
/// Up to so many splits latent attention is merged in the kernel that multiplies by v_up, each
/// block for 32 values of a head: these read the same splits, which for more takes longer than a
/// kernel.
inline constexpr int kMergedValuesSplitsMax = 256;

/// As attend(), for latent attention, and then the values. args.out: room for mixed latents.
Result<void> attend_latent(const AttentionArgs& args,
                           const LatentValues& values,
                           const StepTables& step,
                           int tokens,
                           int splits,
                           Queue queue);

}  // namespace hearth::cuda

// Latent attention of many tokens of a sequence without absorption: the latents of a bounded
// stretch of positions become keys and values of each head, as halves; the tokens attend over the
// stretch, and what they have goes on to the next one. So a token multiplies by nope_dim + rope_dim
// columns instead of latent_dim + rope_dim, and the latents are multiplied once for all tokens.
// Stretches are whole splits, merged in order: a row's bits do not depend on their length.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

/// Widest rows of an expanded head, keys and values.
inline constexpr int kExpandedDimMax = 256;

struct ExpandArgs {
    Matrix k_up;       ///< (heads, latent_dim, nope_dim)
    Matrix v_up;       ///< (heads, value_dim, latent_dim)
    CacheLayer cache;  ///< of the latents: rows of latent_dim + rope_dim columns
    int heads = 0;
    int nope_dim = 0, rope_dim = 0, latent_dim = 0, value_dim = 0;
    int positions_max = 0;  ///< of a stretch; a multiple of kSplitTokens
    /// Room for a stretch, blocks as in the cache: kBlockTokens rows of heads * (nope_dim +
    /// rope_dim) key columns, then as many of heads * value_dim.
    std::uint16_t* rows = nullptr;
    float2* states = nullptr;  ///< room for what goes on to the next stretch: (tokens, heads)
};

/// Halves of one position.
constexpr std::int64_t expanded_columns(std::int64_t heads,
                                        std::int64_t key_dim,
                                        std::int64_t value_dim) {
    return heads * (key_dim + value_dim);
}
/// The positions of a stretch: 1,024, fewer where they would take more than 32 MiB.
int stretch_positions(std::int64_t columns);

/// Expands positions [first, first + count) of the sequence of token `token`. Reads the latents
/// once per head and 128 columns, and the weights once per 128 positions; bound by the tensor cores
/// and by decoding.
Result<void> expand(
    const ExpandArgs& args, const StepTables& step, int token, int first, int count, Queue queue);

struct ExpandedAttention {
    FloatRows query;  ///< (tokens, heads * (nope_dim + rope_dim))
    FloatRows out;    ///< (tokens, heads * value_dim)
    float scale = 0.0F;
    ExpandArgs expand;
    /// As in AttentionArgs.
    int shared_bytes_max = 0;
    int multiprocessors = 0;
};
/// Attention of the run's tokens over all that they see.
Result<void> attend_expanded(const ExpandedAttention& args,
                             const StepTables& step,
                             const ExpandedRun& run,
                             Queue queue);

}  // namespace hearth::cuda

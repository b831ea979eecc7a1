// What a step's kernels read beside weights and activations: small tables in device memory,
// uploaded once per step. A captured graph holds their addresses, so that it serves any step.
#pragma once

#include <cstdint>

#include "core/compute/backend.h"
#include "core/compute/sampling.h"
#include "kernels/cuda/matrix.h"

namespace hearth::cuda {

struct StepHeader {
    std::uint16_t* cache;  ///< the KvStore's memory
    std::int32_t cache_blocks;
    std::int32_t logit_count;
    std::int32_t pick_count = 0;  ///< rows whose tokens the graph picks
};

/// Device memory; rows beyond the step's tokens are filled up to the graph's bucket.
struct StepTables {
    const StepHeader* header = nullptr;
    const std::int32_t* tokens = nullptr;     ///< 0 in filled rows; below 0: see StepQueue
    const compute::Pick* picks = nullptr;     ///< of the step before, for such tokens
    const std::int32_t* positions = nullptr;  ///< -1 in filled rows
    const std::int32_t* table_begin =
        nullptr;  ///< where the block table of the token's sequence is
    const std::int32_t* logit_rows = nullptr;
    const std::int32_t* block_tables = nullptr;
};

/// Those of the rows from `row` on, for attention.
constexpr StepTables tables_from(StepTables step, int row) {
    step.positions += row;
    step.table_begin += row;
    return step;
}

/// Neighbouring tokens of one sequence in a step that latent attention does without absorption
/// (expand.h).
struct ExpandedRun {
    int first = 0;  ///< row of the step
    int tokens = 0;
    int length = 0;  ///< positions that the last one sees
    friend bool operator==(const ExpandedRun&, const ExpandedRun&) = default;
};

/// How a layer's rows lie in the cache: (layer, block) and in it halves, (kBlockTokens, key_dim)
/// then (kBlockTokens, value_dim), or in Q8_0, dims filled up to multiples of 32, bytes of keys and
/// of values alike, then their scales, a half for 32 of them.
struct CacheLayer {
    std::int32_t layer = 0;
    std::int32_t key_dim = 0;
    std::int32_t value_dim = 0;  ///< of the cache's row; 0 for latent attention
    Format format = Format::f16;
};
constexpr std::int32_t padded_dim(std::int32_t dim) {
    return (dim + kChunkWeights - 1) / kChunkWeights * kChunkWeights;
}
/// What a block of one layer takes, in units of 2 bytes.
constexpr std::int64_t cache_block_halves(const CacheLayer& cache) {
    if (cache.format != Format::q8_0) {
        return std::int64_t{compute::kBlockTokens} * (cache.key_dim + cache.value_dim);
    }
    const std::int64_t columns = padded_dim(cache.key_dim) + padded_dim(cache.value_dim);
    // For 16 rows a scale takes a byte a column.
    static_assert(compute::kBlockTokens * 2 == kChunkWeights);
    return (compute::kBlockTokens + 1) * columns / 2;
}

/// Tokens of one split of attention. Fixed: the order of sums depends on it.
inline constexpr int kSplitTokens = 64;
inline constexpr int kBlocksOfSplit = kSplitTokens / compute::kBlockTokens;

}  // namespace hearth::cuda

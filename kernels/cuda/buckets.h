// For which sizes of a step a graph is captured, and which tokens attend without absorption. Plain
// arithmetic; tested without a device.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/compute/backend.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

/// A captured step: up to `tokens` tokens whose sequences have up to `splits` splits.
struct Bucket {
    int tokens;
    int splits;
    friend bool operator==(const Bucket&, const Bucket&) = default;
};

inline constexpr std::array<int, 9> kTokenBuckets = {1, 2, 3, 4, 6, 8, 16, 32, 64};
inline constexpr std::array<int, 7> kSplitBuckets = {4, 16, 64, 256, 1024, 4096, 16384};
/// Room for the splits of attention. Where it ends, a step's tokens attend in pieces.
inline constexpr std::int64_t kSplitBytesMax = std::int64_t{132} << 20;

/// The numbers of splits that steps are captured for, smallest first. The last one is what
/// sequences of `positions_max` positions have, if there are such buckets.
std::vector<int> split_buckets(int positions_max);

/// All buckets of a plan, smallest first.
std::vector<Bucket> make_buckets(int tokens_max, int positions_max);

/// Tokens times splits that there is room for, `row_bytes` each: all of the largest bucket where
/// kSplitBytesMax holds them, and at least one token of it.
std::int64_t split_rows_max(int tokens_max, int positions_max, std::int64_t row_bytes);

/// The place of the first bucket that serves; -1: none, too many tokens or too deep.
int find_bucket(const std::vector<Bucket>& buckets, int tokens, int splits);

/// A prompt's positions in groups of so many: tokens of whole groups attend to latents by expanded
/// keys, those behind the last whole group and picked ones by absorption. A matter of position and
/// prompt alone, so that neither chunks nor company change a token's numbers. By arithmetic both
/// ways cost the same for 85 tokens at once (docs/performance.md).
inline constexpr int kExpandGroupTokens = 128;

/// What a step has of such groups, in the order of the step.
std::vector<ExpandedRun> find_expanded_runs(const compute::StepBatch& batch);

}  // namespace hearth::cuda

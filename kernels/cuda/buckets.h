// For which sizes of a step a graph is captured, and which tokens attend without absorption. Plain
// arithmetic; tested without a device.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/compute/backend.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

/// A captured step: up to `tokens` tokens whose sequences have up to `splits` splits; 0: any
/// number.
struct Bucket {
    int tokens;
    int splits;
    friend bool operator==(const Bucket&, const Bucket&) = default;
};

inline constexpr std::array<int, 9> kTokenBuckets = {1, 2, 3, 4, 6, 8, 16, 32, 64};
inline constexpr std::array<int, 4> kSplitBuckets = {4, 16, 64, 256};

/// All buckets of a plan, smallest first. Those with splits have at most `split_rows_max` tokens
/// times splits; each number of tokens has one without.
std::vector<Bucket> make_buckets(int tokens_max, std::int64_t split_rows_max);

/// The place of the first bucket that serves; -1: none, too many tokens.
int find_bucket(const std::vector<Bucket>& buckets, int tokens, int splits);

/// A prompt's positions in groups of so many: tokens of whole groups attend to latents by expanded
/// keys, those behind the last whole group and picked ones by absorption. A matter of position and
/// prompt alone, so that neither chunks nor company change a token's numbers. By arithmetic both
/// ways cost the same for 85 tokens at once (docs/performance.md).
inline constexpr int kExpandGroupTokens = 128;

/// What a step has of such groups, in the order of the step.
std::vector<ExpandedRun> find_expanded_runs(const compute::StepBatch& batch);

}  // namespace hearth::cuda

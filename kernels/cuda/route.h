// Which experts serve a token, and which tokens an expert serves.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

inline constexpr int kExpertsMax = 1024;

struct IntRows {
    std::int32_t* data = nullptr;
    std::int64_t stride = 0;
};

struct RouteArgs {
    FloatRows logits;             ///< (tokens, expert_count)
    const float* bias = nullptr;  ///< (expert_count) or null
    IntRows experts;              ///< (tokens, experts_per_token) out; -1 in the step's filled rows
    FloatRows weights;            ///< (tokens, experts_per_token) out
    int expert_count = 0, experts_per_token = 0;
    int group_count = 1, groups_used = 1;
    float scale = 1.0F;
    bool is_softmax = false;
    bool normalises = false;
};
/// As compute::RouteTopK.
Result<void> route_top_k(const RouteArgs& args, const StepTables& step, int tokens, Queue queue);

/// The router's product and the choice in one kernel, for few tokens. route.logits is written too.
struct RouterArgs {
    RouteArgs route;
    Matrix weight;  ///< (expert_count, columns) floats
    FloatRows x;
    NormInput norm = {};  ///< of one token: instead of x
    /// (tokens) blocks of a token that are done; zero before and after.
    std::int32_t* done = nullptr;
};
Result<void> route_from_weights(const RouterArgs& args,
                                const StepTables& step,
                                int tokens,
                                Queue queue);

/// Up to `tile_pairs` (token, slot) pairs of one expert.
struct PairTile {
    std::int32_t expert, first, count;  ///< pairs[first, first + count)
};

/// A pair's number is token * experts_per_token + slot.
struct PairTiles {
    PairTile* tiles = nullptr;
    std::int32_t* tile_count = nullptr;
    std::int32_t* pairs = nullptr;  ///< sorted by expert
};

/// How many tiles there can be: one is begun by each expert and each `tile_pairs` pairs.
constexpr int pair_tiles_max(int pairs, int tile_pairs, int expert_count) {
    const int begun = pairs < expert_count ? pairs : expert_count;
    return begun + pairs / tile_pairs;
}

/// Sorts the step's pairs by expert and cuts each expert's into tiles; -1 is left out.
struct GroupPairsArgs {
    IntRows experts;
    int experts_per_token = 0, expert_count = 0, tile_pairs = 0;
    PairTiles out;
};
Result<void> group_pairs(const GroupPairsArgs& args, int tokens, Queue queue);

}  // namespace hearth::cuda

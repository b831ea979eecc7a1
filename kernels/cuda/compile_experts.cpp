#include "kernels/cuda/compile_experts.h"

#include <algorithm>
#include <variant>

#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

ExpertsUpArgs up_args(const ExpertsNode& node, const Q8Rows& hidden, const PairTiles& tiles) {
    ExpertsUpArgs args{.gate = node.gate,
                       .up = node.up,
                       .experts = node.experts,
                       .x = node.x_rounded,
                       .x_float = node.x,
                       .ffn_dim = node.ffn_dim,
                       .experts_per_token = node.experts_per_token,
                       .hidden = {node.room.hidden, node.ffn_dim},
                       .tiles = tiles};
    if (node.rounds_down) args.rounded = hidden;
    return args;
}

ExpertsDownArgs down_args(const ExpertsNode& node, const Q8Rows& hidden, const PairTiles& tiles) {
    return {.down = node.down,
            .experts = node.experts,
            .weights = node.weights,
            .hidden = hidden,
            .hidden_float = {node.room.hidden, node.ffn_dim},
            .rows = node.rows,
            .experts_per_token = node.experts_per_token,
            .residual = node.residual,
            .out = node.out,
            .products = {node.room.products, node.rows},
            .tiles = tiles};
}

}  // namespace

ExpertsRoom make_experts_room(const compute::Plan& plan,
                              const CudaWeights& weights,
                              Workspace& workspace) {
    std::int64_t pairs = 0;
    std::int64_t hidden = 0;
    std::int64_t products = 0;
    std::int64_t tiles = 0;
    for (const compute::Operation& operation : plan.operations) {
        const auto* op = std::get_if<compute::Experts>(&operation);
        if (op == nullptr) continue;
        const compute::Shape& gate = weights.tensor(op->gate).shape;
        const std::int64_t here = plan.tokens_max * op->experts.dim;
        pairs = std::max(pairs, here);
        hidden = std::max(hidden, here * gate.dim(1));
        products = std::max(products, here * op->out.dim);
        // A tile begins with each expert, and after as many pairs as the smallest tile has.
        tiles = std::max(tiles, gate.dim(0) + here / tile_pairs_for(0, 1));
    }
    return {.hidden = workspace.take<float>(hidden),
            .hidden_quants = workspace.take<std::int8_t>(hidden),
            .hidden_scales = workspace.take<Q8Scale>(hidden / kChunkWeights + 1),
            .products = workspace.take<float>(products),
            .tiles = {.tiles = workspace.take<PairTile>(tiles),
                      .tile_count = workspace.take<std::int32_t>(1),
                      .pairs = workspace.take<std::int32_t>(pairs)}};
}

Result<void> run_experts(const ExpertsNode& node, int tokens, cudaStream_t stream) {
    const Q8Rows hidden{node.room.hidden_quants, node.room.hidden_scales, node.ffn_dim};
    ExpertsUpArgs up = up_args(node, hidden, node.room.tiles);
    ExpertsDownArgs down = down_args(node, hidden, node.room.tiles);
    const int pairs = tokens * node.experts_per_token;
    const bool is_one = tokens == 1;
    if (!is_one && (node.rounds_up || node.rounds_down)) {
        up.tile_pairs = down.tile_pairs = tile_pairs_for(pairs, node.expert_count);
        up.tiles_max = down.tiles_max = pair_tiles_max(pairs, up.tile_pairs, node.expert_count);
        HEARTH_CHECK(group_pairs({.experts = node.experts,
                                  .experts_per_token = node.experts_per_token,
                                  .expert_count = node.expert_count,
                                  .tile_pairs = up.tile_pairs,
                                  .out = node.room.tiles},
                                 tokens,
                                 stream));
    }
    if (!node.rounds_up) {
        HEARTH_CHECK(experts_up_float(up, tokens, stream));
    } else if (is_one) {
        HEARTH_CHECK(experts_up_one(up, stream));
    } else {
        HEARTH_CHECK(experts_up_tile(up, stream));
    }
    if (!node.rounds_down) return experts_down_float(down, tokens, stream);
    // The one-token kernel has rounded its result already.
    if (!is_one || !node.rounds_up) {
        HEARTH_CHECK(quantise(up.hidden, hidden, pairs, stream));
    }
    return is_one ? experts_down_one(down, stream) : experts_down_tile(down, tokens, stream);
}

}  // namespace hearth::cuda

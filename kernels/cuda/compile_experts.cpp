#include "kernels/cuda/compile_experts.h"

#include <algorithm>
#include <variant>
#include <vector>

#include "core/compute/operands.h"
#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

ExpertsUpArgs up_args(const ExpertsNode& node, const Q8Rows& hidden, const PairTiles& tiles) {
    ExpertsUpArgs args{.gate = node.gate,
                       .up = node.up,
                       .experts = node.experts,
                       .x = node.x_rounded,
                       .norm = node.norm,
                       .x_float = node.x,
                       .ffn_dim = node.ffn_dim,
                       .experts_per_token = node.experts_per_token,
                       .hidden = {node.room.hidden, node.ffn_dim},
                       .tiles = tiles};
    if (node.rounds_down) args.rounded = hidden;
    args.shared = node.shared;
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
            .shared = node.shared,
            .products = {node.room.products, node.rows},
            .tiles = tiles};
}

using compute::Slice;

/// Whether the contents of a slice may be read from operation `first` on. Only whole products that
/// are written to it count as new contents.
bool is_read_from(const compute::Plan& plan, std::size_t first, const Slice& slice) {
    for (std::size_t i = first; i < plan.operations.size(); ++i) {
        const compute::Operation& operation = plan.operations[i];
        const auto reads = reads_of(operation);
        if (std::ranges::any_of(reads, [&](const Slice& each) { return overlap(each, slice); })) {
            return true;
        }
        const auto* project = std::get_if<compute::Project>(&operation);
        if (project != nullptr && covers(project->out, slice)) return false;
    }
    return false;
}

}  // namespace

std::optional<SharedPattern> find_shared_expert(const compute::Plan& plan, std::size_t experts) {
    constexpr std::size_t kOperations = 5;
    if (experts + kOperations > plan.operations.size()) return std::nullopt;
    const compute::Operation* at = &plan.operations[experts];
    const auto* routed = std::get_if<compute::Experts>(at);
    const auto* gate = std::get_if<compute::Project>(at + 1);
    const auto* up = std::get_if<compute::Project>(at + 2);
    const auto* swiglu = std::get_if<compute::Swiglu>(at + 3);
    const auto* down = std::get_if<compute::Project>(at + 4);
    if (routed == nullptr || gate == nullptr || up == nullptr || swiglu == nullptr ||
        down == nullptr) {
        return std::nullopt;
    }
    const auto is_plain = [](const compute::Project* op) { return op->bias == compute::kNone; };
    const auto has_no_residual = [](const compute::Project* op) {
        return op->residual.id == compute::kNone;
    };
    const bool fits = is_same(gate->x, routed->x) && is_same(up->x, routed->x) &&
                      is_same(swiglu->gate, gate->out) && is_same(swiglu->up, up->out) &&
                      is_same(down->x, swiglu->out) && is_same(down->out, routed->out) &&
                      is_same(down->residual, routed->out) && is_plain(gate) && is_plain(up) &&
                      is_plain(down) && has_no_residual(gate) && has_no_residual(up) &&
                      !overlap(routed->out, routed->x);
    if (!fits) return std::nullopt;
    for (const Slice& slice : {gate->out, up->out, swiglu->out}) {
        if (is_read_from(plan, experts + kOperations, slice)) return std::nullopt;
    }
    return SharedPattern{.gate = gate, .up = up, .down = down};
}

ExpertsRoom make_experts_room(const compute::Plan& plan,
                              const CudaWeights& weights,
                              Workspace& workspace) {
    std::int64_t pairs = 0;
    std::int64_t hidden = 0;
    std::int64_t products = 0;
    std::int64_t tiles = 0;
    std::int64_t shared = 0;
    for (const compute::Operation& operation : plan.operations) {
        if (const auto* swiglu = std::get_if<compute::Swiglu>(&operation)) {
            shared = std::max(shared, swiglu->out.dim);
        }
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
            .shared_quants = workspace.take<std::int8_t>(shared),
            .shared_scales = workspace.take<Q8Scale>(shared / kChunkWeights + 1),
            .products = workspace.take<float>(products),
            .tiles = {.tiles = workspace.take<PairTile>(tiles),
                      .tile_count = workspace.take<std::int32_t>(1),
                      .pairs = workspace.take<std::int32_t>(pairs)}};
}

namespace {

/// Which kernels serve a matrix.
enum class Kernels { rounded, half, plain };

Kernels kernels_for(const Matrix& m, bool is_rounded, const Queue& queue) {
    if (is_rounded) return Kernels::rounded;
    return fits_half_tile(m, queue.has_bf16) ? Kernels::half : Kernels::plain;
}

Result<void> run_up(const ExpertsUpArgs& up, Kernels kernels, int tokens, Queue queue) {
    switch (kernels) {
        case Kernels::rounded:
            return tokens == 1 ? experts_up_one(up, queue) : experts_up_tile(up, queue);
        case Kernels::half:
            return experts_up_half(up, queue);
        case Kernels::plain:
            break;
    }
    return experts_up_float(up, tokens, queue);
}

Result<void> run_down(const ExpertsDownArgs& down, Kernels kernels, int tokens, Queue queue) {
    switch (kernels) {
        case Kernels::rounded:
            return tokens == 1 ? experts_down_one(down, queue)
                               : experts_down_tile(down, tokens, queue);
        case Kernels::half:
            return experts_down_half(down, tokens, queue);
        case Kernels::plain:
            break;
    }
    return experts_down_float(down, tokens, queue);
}

}  // namespace

Result<void> run_experts(const ExpertsNode& node, int tokens, Queue queue) {
    const Q8Rows hidden{node.room.hidden_quants, node.room.hidden_scales, node.ffn_dim};
    const bool is_one = tokens == 1;
    const int pairs = tokens * node.experts_per_token;
    const bool is_one_type = node.gate.format == node.up.format;
    Kernels up_kernels = kernels_for(node.gate, node.rounds_up, queue);
    if (up_kernels == Kernels::half && !is_one_type) up_kernels = Kernels::plain;
    const Kernels down_kernels = kernels_for(node.down, node.rounds_down, queue);
    const bool has_tiles =
        !is_one && (up_kernels != Kernels::plain || down_kernels != Kernels::plain);
    const PairTiles tiles = has_tiles ? node.room.tiles : PairTiles{};
    ExpertsUpArgs up = up_args(node, hidden, tiles);
    ExpertsDownArgs down = down_args(node, hidden, tiles);
    if (has_tiles) {
        up.tile_pairs = down.tile_pairs = tile_pairs_for(pairs, node.expert_count);
        up.tiles_max = down.tiles_max = pair_tiles_max(pairs, up.tile_pairs, node.expert_count);
        HEARTH_CHECK(group_pairs({.experts = node.experts,
                                  .experts_per_token = node.experts_per_token,
                                  .expert_count = node.expert_count,
                                  .tile_pairs = up.tile_pairs,
                                  .out = tiles},
                                 tokens,
                                 queue));
    }
    HEARTH_CHECK(run_up(up, up_kernels, tokens, queue));
    // The kernels with rounded activations have rounded their result already.
    if (node.rounds_down && !node.rounds_up) {
        HEARTH_CHECK(quantise(up.hidden, hidden, pairs, queue));
    }
    return run_down(down, down_kernels, tokens, queue);
}

}  // namespace hearth::cuda

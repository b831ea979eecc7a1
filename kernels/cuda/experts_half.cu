#include "kernels/cuda/expert_rows.cuh"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/half_tile.cuh"
#include "kernels/cuda/launch.cuh"

namespace hearth::cuda {
namespace {

/// The pairs of one expert that a block works on. Without tiles, which one token needs none of, it
/// is the pair of the block's slot.
struct PairsOfBlock {
    int expert = -1;  ///< -1: nothing to do
    int count = 0;
    const std::int32_t* pairs = nullptr;  ///< null: pair 0 is `slot`
    int slot = 0;

    __device__ __forceinline__ PairsOfBlock(const PairTiles& tiles, const IntRows& experts)
        : slot(static_cast<int>(blockIdx.y)) {
        if (tiles.tiles == nullptr) {
            expert = experts.data[slot];
            count = 1;
        } else if (slot < *tiles.tile_count) {
            const PairTile tile = tiles.tiles[slot];
            expert = tile.expert;
            count = tile.count;
            pairs = tiles.pairs + tile.first;
        }
    }
    /// Beyond the last pair that one again.
    [[nodiscard]] __device__ __forceinline__ int pair(int i) const {
        return pairs == nullptr ? slot : pairs[smaller(i, count - 1)];
    }
};

/// 16 rows of gate and up for up to 8 pairs, the columns shared out to the block's warps. Reads
/// their weights once per block; bound by memory.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) up_few_kernel(ExpertsUpArgs args) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    const PairsOfBlock at(args.tiles, args.experts);
    if (at.expert < 0) return;
    const int first = static_cast<int>(blockIdx.x) * kHalfRows;
    note_use(args.gate, at.expert);
    const ExpertRows gates_of = rows_of(args.gate, at.expert, args.ffn_dim);
    const ExpertRows ups_of = rows_of(args.up, at.expert, args.ffn_dim);
    const int token = at.pair(warp_lane() / 4) / args.experts_per_token;
    const float* x = args.x_float.data + token * args.x_float.stride;
    float gates[4] = {};
    float ups[4] = {};
    add_half_strand<kFormat>(
        gates_of.matrix, gates_of.begin + first, gates_of.begin + args.ffn_dim - 1, x, gates);
    add_half_strand<kFormat>(
        ups_of.matrix, ups_of.begin + first, ups_of.begin + args.ffn_dim - 1, x, ups);
    const float gate = sum_strands(gates, shared);
    const float up = sum_strands(ups, shared);
    const int row = first + static_cast<int>(threadIdx.x) % kHalfRows;
    const int i = static_cast<int>(threadIdx.x) / kHalfRows;
    if (i < at.count && row < args.ffn_dim) {
        args.hidden.data[at.pair(i) * args.hidden.stride + row] = silu(gate) * up;
    }
}

/// 128 rows of gate and up for up to 32 pairs. Reads their weights once per tile; bound by the
/// tensor cores.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) up_many_kernel(ExpertsUpArgs args) {
    wait_for_predecessor();
    const PairsOfBlock at(args.tiles, args.experts);
    if (at.expert < 0) return;
    using Tile = HalfTile<kFormat>;
    const int first = static_cast<int>(blockIdx.x) * kHalfTileRows + warp_of_block() * kHalfRows;
    note_use(args.gate, at.expert);
    const ExpertRows gates_of = rows_of(args.gate, at.expert, args.ffn_dim);
    const ExpertRows ups_of = rows_of(args.up, at.expert, args.ffn_dim);
    const int token = at.pair(Tile::staged_token()) / args.experts_per_token;
    const float* x = args.x_float.data + token * args.x_float.stride;
    Tile gate;
    Tile up;
    gate.multiply(gates_of.matrix,
                  gates_of.begin + first,
                  gates_of.begin + args.ffn_dim - 1,
                  x,
                  block_memory());
    __syncthreads();
    up.multiply(
        ups_of.matrix, ups_of.begin + first, ups_of.begin + args.ffn_dim - 1, x, block_memory());
    visit_half_tile(first, args.ffn_dim, at.count, [&](int row, int place, int group, int i) {
        args.hidden.data[at.pair(place) * args.hidden.stride + row] =
            silu(gate.totals[group][i]) * up.totals[group][i];
    });
}

/// One token: 16 rows of down, slot by slot. Reads the chosen experts' rows once; bound by memory.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) down_one_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    const int first = static_cast<int>(blockIdx.x) * kHalfRows;
    const int row = first + static_cast<int>(threadIdx.x);
    const bool is_mine = threadIdx.x < kHalfRows && row < args.rows;
    float total = 0.0F;
    if (is_mine && args.residual.data != nullptr) total = args.residual.data[row];
    for (int slot = 0; slot < args.experts_per_token; ++slot) {
        const int expert = args.experts.data[slot];
        if (expert < 0) continue;  // the same in the whole block
        const ExpertRows down = rows_of(args.down, expert, args.rows);
        float sums[4] = {};
        add_half_strand<kFormat>(down.matrix,
                                 down.begin + first,
                                 down.begin + args.rows - 1,
                                 args.hidden_float.data + slot * args.hidden_float.stride,
                                 sums);
        total = __fmaf_rn(args.weights.data[slot], sum_strands(sums, shared), total);
    }
    if (is_mine) args.out.data[row] = total;
}

/// 16 rows of down for up to 8 pairs; as up_few_kernel.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) down_few_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    const PairsOfBlock at(args.tiles, args.experts);
    if (at.expert < 0) return;
    const int first = static_cast<int>(blockIdx.x) * kHalfRows;
    const ExpertRows down = rows_of(args.down, at.expert, args.rows);
    const float* x = args.hidden_float.data + at.pair(warp_lane() / 4) * args.hidden_float.stride;
    float sums[4] = {};
    add_half_strand<kFormat>(down.matrix, down.begin + first, down.begin + args.rows - 1, x, sums);
    const float dot = sum_strands(sums, static_cast<float*>(block_memory()));
    const int row = first + static_cast<int>(threadIdx.x) % kHalfRows;
    const int i = static_cast<int>(threadIdx.x) / kHalfRows;
    if (i < at.count && row < args.rows) {
        args.products.data[at.pair(i) * args.products.stride + row] = dot;
    }
}

/// 128 rows of down for up to 32 pairs; as up_many_kernel.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) down_many_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    const PairsOfBlock at(args.tiles, args.experts);
    if (at.expert < 0) return;
    using Tile = HalfTile<kFormat>;
    const int first = static_cast<int>(blockIdx.x) * kHalfTileRows + warp_of_block() * kHalfRows;
    const ExpertRows down = rows_of(args.down, at.expert, args.rows);
    const float* x =
        args.hidden_float.data + at.pair(Tile::staged_token()) * args.hidden_float.stride;
    Tile tile;
    tile.multiply(down.matrix, down.begin + first, down.begin + args.rows - 1, x, block_memory());
    visit_half_tile(first, args.rows, at.count, [&](int row, int place, int group, int i) {
        args.products.data[at.pair(place) * args.products.stride + row] = tile.totals[group][i];
    });
}

LaunchShape few_shape(int rows, int tiles) {
    return {.grid = dim3(blocks_for(rows, kHalfRows), static_cast<unsigned>(tiles)),
            .block = dim3(kHalfThreads),
            .shared_bytes = kHalfSums * sizeof(float)};
}

template <Format kFormat>
LaunchShape many_shape(int rows, int tiles) {
    return {.grid = dim3(blocks_for(rows, kHalfTileRows), static_cast<unsigned>(tiles)),
            .block = dim3(kHalfThreads),
            .shared_bytes = HalfTile<kFormat>::kSharedBytes};
}

template <Format kFormat>
Result<void> up_half(const ExpertsUpArgs& args, Queue queue) {
    if (args.tile_pairs > kHalfGroupTokens) {
        return launch("experts_up_many",
                      up_many_kernel<kFormat>,
                      many_shape<kFormat>(args.ffn_dim, args.tiles_max),
                      queue,
                      args);
    }
    const bool is_one = args.tiles.tiles == nullptr;
    return launch("experts_up_few",
                  up_few_kernel<kFormat>,
                  few_shape(args.ffn_dim, is_one ? args.experts_per_token : args.tiles_max),
                  queue,
                  args);
}

template <Format kFormat>
Result<void> down_half(const ExpertsDownArgs& args, int tokens, Queue queue) {
    if (args.tiles.tiles == nullptr) {
        return launch(
            "experts_down_half", down_one_kernel<kFormat>, few_shape(args.rows, 1), queue, args);
    }
    if (args.tile_pairs > kHalfGroupTokens) {
        HEARTH_CHECK(launch("experts_down_many",
                            down_many_kernel<kFormat>,
                            many_shape<kFormat>(args.rows, args.tiles_max),
                            queue,
                            args));
    } else {
        HEARTH_CHECK(launch("experts_down_few",
                            down_few_kernel<kFormat>,
                            few_shape(args.rows, args.tiles_max),
                            queue,
                            args));
    }
    return sum_pairs(args, tokens, queue);
}

}  // namespace

static_assert(tile_pairs_for(0, 1) <= kHalfGroupTokens);
static_assert(tile_pairs_for(kHalfTileTokens * 2, 1) <= kHalfTileTokens);

Result<void> experts_up_half(const ExpertsUpArgs& args, Queue queue) {
    return args.gate.format == Format::f16 ? up_half<Format::f16>(args, queue)
                                           : up_half<Format::bf16>(args, queue);
}

Result<void> experts_down_half(const ExpertsDownArgs& args, int tokens, Queue queue) {
    return args.down.format == Format::f16 ? down_half<Format::f16>(args, tokens, queue)
                                           : down_half<Format::bf16>(args, tokens, queue);
}

}  // namespace hearth::cuda

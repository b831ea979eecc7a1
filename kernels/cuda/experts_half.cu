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

/// Some rows of each expert times its pairs: of `first` alone, or SwiGLU of `first` and `second`.
/// Up and down are this one product, so that they read experts by the same instructions.
struct PairProducts {
    Matrix first, second;  ///< (experts, rows, columns); second.quants null: `first` alone
    int rows = 0;
    IntRows experts;
    FloatRows x;
    int pairs_of_x = 1;  ///< neighbouring pairs that share a row of x
    FloatRows out;       ///< (pairs, rows)
    PairTiles tiles;     ///< null: one token

    [[nodiscard]] __device__ __forceinline__ const float* x_of(int pair) const {
        return x.data + pair / pairs_of_x * x.stride;
    }
    [[nodiscard]] __device__ __forceinline__ bool is_swiglu() const {
        return second.quants != nullptr;
    }
};

/// 16 rows for up to 8 pairs, the columns shared out to the block's warps. Reads their weights once
/// per block; bound by memory.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) few_kernel(PairProducts args) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    const PairsOfBlock at(args.tiles, args.experts);
    if (at.expert < 0) return;
    const int first = static_cast<int>(blockIdx.x) * kHalfRows;
    note_use(args.first, at.expert);
    const float* x = args.x_of(at.pair(warp_lane() / 4));
    const auto product = [&](const Matrix& m) {
        const ExpertRows rows = rows_of(m, at.expert, args.rows);
        float sums[4] = {};
        add_half_strand<kFormat>(
            rows.matrix, rows.begin + first, rows.begin + args.rows - 1, x, sums);
        return sum_strands(sums, shared);
    };
    float result = product(args.first);
    if (args.is_swiglu()) result = silu(result) * product(args.second);
    const int row = first + static_cast<int>(threadIdx.x) % kHalfRows;
    const int i = static_cast<int>(threadIdx.x) / kHalfRows;
    if (i < at.count && row < args.rows) {
        args.out.data[at.pair(i) * args.out.stride + row] = result;
    }
}

/// 128 rows for up to 32 pairs. Reads their weights once per tile; bound by the tensor cores.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) many_kernel(PairProducts args) {
    wait_for_predecessor();
    const PairsOfBlock at(args.tiles, args.experts);
    if (at.expert < 0) return;
    using Tile = HalfTile<kFormat>;
    const int first = static_cast<int>(blockIdx.x) * kHalfTileRows + warp_of_block() * kHalfRows;
    note_use(args.first, at.expert);
    const float* x = args.x_of(at.pair(Tile::staged_token()));
    const auto multiply = [&](const Matrix& m, Tile& tile) {
        const ExpertRows rows = rows_of(m, at.expert, args.rows);
        tile.multiply(
            rows.matrix, rows.begin + first, rows.begin + args.rows - 1, x, block_memory());
    };
    Tile one;
    Tile two;
    multiply(args.first, one);
    if (args.is_swiglu()) {
        __syncthreads();
        multiply(args.second, two);
    }
    visit_half_tile(first, args.rows, at.count, [&](int row, int place, int group, int i) {
        const float total = one.totals[group][i];
        args.out.data[at.pair(place) * args.out.stride + row] =
            args.is_swiglu() ? silu(total) * two.totals[group][i] : total;
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

LaunchShape few_shape(int rows, int tiles) {
    return {.grid = dim3(blocks_for(rows, kHalfRows), static_cast<unsigned>(tiles)),
            .block = dim3(kHalfThreads),
            .shared_bytes = kHalfSums * sizeof(float)};
}

/// How many pairs lie in a tile, and tiles in the step; without tiles: the slots of one token.
struct TileCounts {
    int pairs, tiles, slots;
};

template <Format kFormat>
Result<void> launch_pairs(const PairProducts& args, const TileCounts& counts, Queue queue) {
    if (counts.pairs > kHalfGroupTokens) {
        return launch("experts_many",
                      many_kernel<kFormat>,
                      {.grid = dim3(blocks_for(args.rows, kHalfTileRows),
                                    static_cast<unsigned>(counts.tiles)),
                       .block = dim3(kHalfThreads),
                       .shared_bytes = HalfTile<kFormat>::kSharedBytes},
                      queue,
                      args);
    }
    const bool is_one = args.tiles.tiles == nullptr;
    return launch("experts_few",
                  few_kernel<kFormat>,
                  few_shape(args.rows, is_one ? counts.slots : counts.tiles),
                  queue,
                  args);
}

Result<void> launch_pairs(const PairProducts& args, const TileCounts& counts, Queue queue) {
    return args.first.format == Format::f16 ? launch_pairs<Format::f16>(args, counts, queue)
                                            : launch_pairs<Format::bf16>(args, counts, queue);
}

Result<void> down_one(const ExpertsDownArgs& args, Queue queue) {
    return launch("experts_down_half",
                  args.down.format == Format::f16 ? down_one_kernel<Format::f16>
                                                  : down_one_kernel<Format::bf16>,
                  few_shape(args.rows, 1),
                  queue,
                  args);
}

}  // namespace

static_assert(tile_pairs_for(0, 1) <= kHalfGroupTokens);
static_assert(tile_pairs_for(kHalfTileTokens * 2, 1) <= kHalfTileTokens);

Result<void> experts_up_half(const ExpertsUpArgs& args, Queue queue) {
    return launch_pairs({.first = args.gate,
                         .second = args.up,
                         .rows = args.ffn_dim,
                         .experts = args.experts,
                         .x = args.x_float,
                         .pairs_of_x = args.experts_per_token,
                         .out = args.hidden,
                         .tiles = args.tiles},
                        {args.tile_pairs, args.tiles_max, args.experts_per_token},
                        queue);
}

Result<void> experts_down_half(const ExpertsDownArgs& args, int tokens, Queue queue) {
    const bool is_one = args.tiles.tiles == nullptr;
    if (is_one && args.down.experts.shifts == nullptr) return down_one(args, queue);
    HEARTH_CHECK(launch_pairs({.first = args.down,
                               .second = {},
                               .rows = args.rows,
                               .experts = args.experts,
                               .x = args.hidden_float,
                               .pairs_of_x = 1,
                               .out = args.products,
                               .tiles = args.tiles},
                              {args.tile_pairs, args.tiles_max, args.experts_per_token},
                              queue));
    return sum_pairs(args, tokens, queue);
}

}  // namespace hearth::cuda

// The expert block of several tokens: tiles of pairs of one expert on the tensor cores.
#include "kernels/cuda/expert_rows.cuh"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tile.cuh"

namespace hearth::cuda {
namespace {

constexpr int kTileGroupsMany = 4;

/// The tile of a block and the pairs in it; `rows` gets the row of each pair's activations.
struct TilePairs {
    PairTile tile{};
    bool is_empty = true;
};
template <int kPairs>
__device__ __forceinline__ TilePairs load_pairs(const PairTiles& tiles, int* pairs) {
    TilePairs out;
    const int number = static_cast<int>(blockIdx.y);
    if (number >= *tiles.tile_count) return out;
    out.tile = tiles.tiles[number];
    out.is_empty = false;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kPairs) {
        pairs[thread] = tiles.pairs[out.tile.first + smaller(thread, out.tile.count - 1)];
    }
    return out;
}

/// 16 rows of gate and up for the pairs of a tile. Reads the weights once per tile; see tile.cuh.
template <int kGroups>
__global__ void __launch_bounds__(kTileThreads) experts_up_tile_kernel(ExpertsUpArgs args) {
    wait_for_predecessor();
    constexpr int kPairs = kGroups * kTileGroupTokens;
    auto* shared = static_cast<float*>(block_memory());
    int* pairs = reinterpret_cast<int*>(shared + kTileSums);
    int* x_rows = pairs + kPairs;
    const TilePairs at = load_pairs<kPairs>(args.tiles, pairs);
    if (at.is_empty) return;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kPairs) x_rows[thread] = pairs[thread] / args.experts_per_token;
    __syncthreads();
    const int first = static_cast<int>(blockIdx.x) * kTileRows;
    note_use(args.gate, at.tile.expert);
    TileSums<kGroups> gates = {};
    TileSums<kGroups> ups = {};
    const auto add = [&](const Matrix& m, TileSums<kGroups>& sums) {
        const ExpertRows rows = rows_of(m, at.tile.expert, args.ffn_dim);
        with_quantised(m.format, [&](auto tag) {
            add_tile<decltype(tag)::value, kGroups>(rows.matrix,
                                                    rows.begin + first,
                                                    rows.begin + args.ffn_dim - 1,
                                                    args.x,
                                                    x_rows,
                                                    sums);
        });
    };
    add(args.gate, gates);
    add(args.up, ups);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
        const float gate = sum_tile(gates, group, shared);
        const float up = sum_tile(ups, group, shared);
        const int place = group * kTileGroupTokens + thread % kTileGroupTokens;
        const int column = first + thread / kTileGroupTokens;
        if (thread < kTileOutputs && place < at.tile.count && column < args.ffn_dim) {
            args.hidden.data[pairs[place] * args.hidden.stride + column] = silu(gate) * up;
        }
    }
}

/// 16 rows of down for the pairs of a tile; the products are summed by sum_pairs_kernel.
template <int kGroups>
__global__ void __launch_bounds__(kTileThreads) experts_down_tile_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    constexpr int kPairs = kGroups * kTileGroupTokens;
    auto* shared = static_cast<float*>(block_memory());
    int* pairs = reinterpret_cast<int*>(shared + kTileSums);
    const TilePairs at = load_pairs<kPairs>(args.tiles, pairs);
    if (at.is_empty) return;
    __syncthreads();
    const int first = static_cast<int>(blockIdx.x) * kTileRows;
    const ExpertRows down = rows_of(args.down, at.tile.expert, args.rows);
    TileSums<kGroups> sums = {};
    with_quantised(args.down.format, [&](auto tag) {
        add_tile<decltype(tag)::value, kGroups>(
            down.matrix, down.begin + first, down.begin + args.rows - 1, args.hidden, pairs, sums);
    });
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
        const float dot = sum_tile(sums, group, shared);
        const int place = group * kTileGroupTokens + thread % kTileGroupTokens;
        const int column = first + thread / kTileGroupTokens;
        if (thread < kTileOutputs && place < at.tile.count && column < args.rows) {
            args.products.data[pairs[place] * args.products.stride + column] = dot;
        }
    }
}

LaunchShape tile_shape(int rows, int tiles_max, int tile_pairs) {
    return {.grid = dim3(blocks_for(rows, kTileRows), static_cast<unsigned>(tiles_max)),
            .block = dim3(kTileThreads),
            .shared_bytes =
                kTileSums * sizeof(float) + 2 * static_cast<std::size_t>(tile_pairs) * sizeof(int)};
}

}  // namespace

Result<void> experts_up_tile(const ExpertsUpArgs& args, Queue queue) {
    const LaunchShape shape = tile_shape(args.ffn_dim, args.tiles_max, args.tile_pairs);
    if (args.tile_pairs == kTileGroupTokens) {
        return launch("experts_up_tile", experts_up_tile_kernel<1>, shape, queue, args);
    }
    return launch("experts_up_tile", experts_up_tile_kernel<kTileGroupsMany>, shape, queue, args);
}

Result<void> experts_down_tile(const ExpertsDownArgs& args, int tokens, Queue queue) {
    const LaunchShape shape = tile_shape(args.rows, args.tiles_max, args.tile_pairs);
    if (args.tile_pairs == kTileGroupTokens) {
        HEARTH_CHECK(launch("experts_down_tile", experts_down_tile_kernel<1>, shape, queue, args));
    } else {
        HEARTH_CHECK(launch(
            "experts_down_tile", experts_down_tile_kernel<kTileGroupsMany>, shape, queue, args));
    }
    return sum_pairs(args, tokens, queue);
}

}  // namespace hearth::cuda

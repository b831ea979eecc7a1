// The expert block of several tokens: tiles of pairs of one expert on the tensor cores, of 8 pairs
// (tile.cuh) or of 32 (wide_tile.cuh).
#include "kernels/cuda/expert_rows.cuh"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tile.cuh"
#include "kernels/cuda/wide_tile.cuh"

namespace hearth::cuda {
namespace {

/// Tiles of rows that a wide block works on, one after the other, so that the activations are read
/// once for all of them.
constexpr int kUpTiles = 2;
constexpr int kDownTiles = 4;

/// What a wide block keeps in shared memory behind its tile. The matrices are there so that they
/// take no registers.
struct WideRoom {
    ExpertRows rows[2];
    int pairs[kWideTokens];
    int x_rows[kWideTokens];
};

/// Up to kPairs pairs of one expert that a block works on: their numbers are in shared memory, the
/// last one repeated.
struct TilePairs {
    int expert = 0;
    int count = 0;
};
template <int kPairs>
__device__ __forceinline__ TilePairs load_pairs(const PairTiles& tiles, int* pairs) {
    const int number = static_cast<int>(blockIdx.y);
    if (number >= *tiles.tile_count) return {};
    const PairTile tile = tiles.tiles[number];
    const int first = static_cast<int>(blockIdx.z) * kPairs;
    const int count = smaller(tile.count - first, kPairs);
    const int thread = static_cast<int>(threadIdx.x);
    if (count > 0 && thread < kPairs && threadIdx.y == 0) {
        pairs[thread] = tiles.pairs[tile.first + first + smaller(thread, count - 1)];
    }
    return {tile.expert, count};
}

/// Rows of gate and up that a block takes: 16 for each of its two parts, together a block of 32
/// that it can round.
constexpr int kUpRows = 2 * kTileRows;
static_assert(kUpRows == kChunkWeights && kTileWarps == kTileTokens);

/// What a pair's warp makes of 32 columns of its hidden row, one in each lane.
__device__ __forceinline__ void store_hidden(const ExpertsUpArgs& args,
                                             std::int64_t pair,
                                             int column,
                                             float value) {
    if (args.rounded.quants != nullptr) {
        store_q8(args.rounded, pair, column / kChunkWeights, value);
    } else if (column < args.ffn_dim) {
        args.hidden.data[pair * args.hidden.stride + column] = value;
    }
}

/// 32 rows of gate and up for 8 pairs, by threadIdx.y 16 each. Reads the weights once per tile; see
/// tile.cuh.
__global__ void __launch_bounds__(2 * kTileThreads) experts_up_tile_kernel(ExpertsUpArgs args) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    const int part = static_cast<int>(threadIdx.y);
    float* sums_of_part = shared + part * kTileSums;
    float* results = shared + 2 * kTileSums;  // (kTileTokens, kUpRows)
    int* pairs = reinterpret_cast<int*>(results + kTileTokens * kUpRows);
    int* x_rows = pairs + kTileTokens;
    const TilePairs at = load_pairs<kTileTokens>(args.tiles, pairs);
    if (at.count <= 0) return;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kTileTokens && part == 0) x_rows[thread] = pairs[thread] / args.experts_per_token;
    __syncthreads();
    const int begin = static_cast<int>(blockIdx.x) * kUpRows;
    const int first = begin + part * kTileRows;
    if (part == 0) note_use(args.gate, at.expert);
    TileSums gates = {};
    TileSums ups = {};
    const auto add = [&](const Matrix& m, TileSums& sums) {
        const ExpertRows rows = rows_of(m, at.expert, args.ffn_dim);
        with_quantised(m.format, [&](auto tag) {
            add_tile<decltype(tag)::value>(rows.matrix,
                                           rows.begin + first,
                                           rows.begin + args.ffn_dim - 1,
                                           args.x,
                                           x_rows,
                                           sums);
        });
    };
    add(args.gate, gates);
    add(args.up, ups);
    const float gate = sum_tile(gates, sums_of_part);
    const float up = sum_tile(ups, sums_of_part);
    if (thread < kTileOutputs) {
        const int row = part * kTileRows + thread / kTileTokens;
        results[thread % kTileTokens * kUpRows + row] = silu(gate) * up;
    }
    __syncthreads();
    const int place = warp_of_block();
    if (part != 0 || place >= at.count) return;
    store_hidden(args, pairs[place], begin + warp_lane(), results[place * kUpRows + warp_lane()]);
}

__device__ __forceinline__ WideRoom* wide_room(const WideLayout& layout) {
    return reinterpret_cast<WideRoom*>(static_cast<unsigned char*>(block_memory()) + layout.bytes);
}

/// A tile of pairs as the wide kernels work on it.
__device__ __forceinline__ WideTile wide_tile(const WideLayout& layout,
                                              const Q8Rows& x,
                                              const int* x_rows,
                                              int count) {
    return {.layout = layout,
            .x = x,
            .x_rows = x_rows,
            .tokens = count,
            .memory = static_cast<unsigned char*>(block_memory()),
            .has_tokens = false};
}

/// kUpTiles times 32 rows of gate and up for 32 pairs. Reads the weights and the activations once
/// per block; see wide_tile.cuh.
__global__ void __launch_bounds__(kWideThreads, 2)
    experts_up_wide_kernel(ExpertsUpArgs args, WideLayout layout) {
    wait_for_predecessor();
    WideRoom* room = wide_room(layout);
    const TilePairs at = load_pairs<kWideTokens>(args.tiles, room->pairs);
    if (at.count <= 0) return;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kWideTokens) room->x_rows[thread] = room->pairs[thread] / args.experts_per_token;
    if (thread < 2) {
        room->rows[thread] = rows_of(thread == 0 ? args.gate : args.up, at.expert, args.ffn_dim);
    }
    note_use(args.gate, at.expert);
    __syncthreads();
    WideTile tile = wide_tile(layout, args.x, room->x_rows, at.count);
    const int begin = static_cast<int>(blockIdx.x) * kUpTiles * kWideRows;
    const int end = smaller(begin + kUpTiles * kWideRows, args.ffn_dim);
    prefetch_rows(room->rows[0], begin, end);
#pragma unroll 1
    for (int step = 0; begin + step / 2 * kWideRows < end; ++step) {
        const int is_up = step % 2;
        const int first = begin + step / 2 * kWideRows;
        prefetch_rows(room->rows[1 - is_up], first + is_up * kWideRows, end);
        WideResults results;
        multiply_wide(room->rows[is_up], first, args.ffn_dim, tile, results);
        const int column = first + warp_lane();
#pragma unroll
        for (int group = 0; group < kWideGroups; ++group) {
            const int place = group * kTileTokens + warp_of_block();
            if (place >= at.count || column >= args.ffn_dim) continue;
            const int pair = room->pairs[place];
            // Gates wait in memory, not in registers.
            float& hidden = args.hidden.data[pair * args.hidden.stride + column];
            if (is_up == 0) {
                hidden = silu(results.of[group]);
            } else {
                store_hidden(args, pair, column, hidden * results.of[group]);
            }
        }
    }
}

/// 16 rows of down for 8 pairs; the products are summed by sum_pairs_kernel.
__global__ void __launch_bounds__(kTileThreads) experts_down_tile_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    int* pairs = reinterpret_cast<int*>(shared + kTileSums);
    const TilePairs at = load_pairs<kTileTokens>(args.tiles, pairs);
    if (at.count <= 0) return;
    __syncthreads();
    const int first = static_cast<int>(blockIdx.x) * kTileRows;
    const ExpertRows down = rows_of(args.down, at.expert, args.rows);
    TileSums sums = {};
    with_quantised(args.down.format, [&](auto tag) {
        add_tile<decltype(tag)::value>(
            down.matrix, down.begin + first, down.begin + args.rows - 1, args.hidden, pairs, sums);
    });
    const float dot = sum_tile(sums, shared);
    const int thread = static_cast<int>(threadIdx.x);
    const int place = thread % kTileTokens;
    const int column = first + thread / kTileTokens;
    if (thread < kTileOutputs && place < at.count && column < args.rows) {
        args.products.data[pairs[place] * args.products.stride + column] = dot;
    }
}

/// kDownTiles times 32 rows of down for 32 pairs; see wide_tile.cuh.
__global__ void __launch_bounds__(kWideThreads, 2)
    experts_down_wide_kernel(ExpertsDownArgs args, WideLayout layout) {
    wait_for_predecessor();
    WideRoom* room = wide_room(layout);
    const TilePairs at = load_pairs<kWideTokens>(args.tiles, room->pairs);
    if (at.count <= 0) return;
    if (threadIdx.x == 0) room->rows[0] = rows_of(args.down, at.expert, args.rows);
    __syncthreads();
    WideTile tile = wide_tile(layout, args.hidden, room->pairs, at.count);
    const int begin = static_cast<int>(blockIdx.x) * kDownTiles * kWideRows;
    const int end = smaller(begin + kDownTiles * kWideRows, args.rows);
    prefetch_rows(room->rows[0], begin, end);
#pragma unroll 1
    for (int first = begin; first < end; first += kWideRows) {
        prefetch_rows(room->rows[0], first + kWideRows, end);
        WideResults results;
        multiply_wide(room->rows[0], first, args.rows, tile, results);
        const int column = first + warp_lane();
#pragma unroll
        for (int group = 0; group < kWideGroups; ++group) {
            const int place = group * kTileTokens + warp_of_block();
            if (place >= at.count || column >= args.rows) continue;
            args.products.data[room->pairs[place] * args.products.stride + column] =
                results.of[group];
        }
    }
}

/// A block per `parts` times 16 rows and 8 pairs of a tile.
LaunchShape tile_shape(int rows, int parts, int tiles_max, int tile_pairs) {
    const int floats = parts * kTileSums + kTileTokens * kUpRows;
    return {.grid = dim3(blocks_for(rows, parts * kTileRows),
                         static_cast<unsigned>(tiles_max),
                         blocks_for(tile_pairs, kTileTokens)),
            .block = dim3(kTileThreads, static_cast<unsigned>(parts)),
            .shared_bytes =
                static_cast<std::size_t>(floats) * sizeof(float) + 2 * kTileTokens * sizeof(int)};
}

/// A block per `tiles` times 32 rows and tile of pairs.
LaunchShape wide_shape(int rows, int tiles, int tiles_max, const WideLayout& layout) {
    return {.grid = dim3(blocks_for(rows, tiles * kWideRows), static_cast<unsigned>(tiles_max)),
            .block = dim3(kWideThreads),
            .shared_bytes = layout.bytes + sizeof(WideRoom)};
}

}  // namespace

Result<void> experts_up_tile(const ExpertsUpArgs& args, Queue queue) {
    HEARTH_TRY(const auto layout,
               wide_layout(args.gate.columns, args.tile_pairs, sizeof(WideRoom)));
    if (!layout) {
        return launch("experts_up_tile",
                      experts_up_tile_kernel,
                      tile_shape(args.ffn_dim, 2, args.tiles_max, args.tile_pairs),
                      queue,
                      args);
    }
    return launch("experts_up_wide",
                  experts_up_wide_kernel,
                  wide_shape(args.ffn_dim, kUpTiles, args.tiles_max, *layout),
                  queue,
                  args,
                  *layout);
}

Result<void> experts_down_tile(const ExpertsDownArgs& args, int tokens, Queue queue) {
    HEARTH_TRY(const auto layout,
               wide_layout(args.down.columns, args.tile_pairs, sizeof(WideRoom)));
    if (layout) {
        HEARTH_CHECK(launch("experts_down_wide",
                            experts_down_wide_kernel,
                            wide_shape(args.rows, kDownTiles, args.tiles_max, *layout),
                            queue,
                            args,
                            *layout));
    } else {
        HEARTH_CHECK(launch("experts_down_tile",
                            experts_down_tile_kernel,
                            tile_shape(args.rows, 1, args.tiles_max, args.tile_pairs),
                            queue,
                            args));
    }
    return sum_pairs(args, tokens, queue);
}

}  // namespace hearth::cuda

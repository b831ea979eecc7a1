#include <algorithm>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/check.h"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

constexpr int kMergeThreads = 128;

/// Takes a split's maximum and sum into those of what came before; gives the factors of the old
/// and the new values.
__device__ __forceinline__ float2 merge_state(float2& state, float2 split) {
    const float maximum = split.x > state.x ? split.x : state.x;
    const float2 factors = make_float2(expf(state.x - maximum), expf(split.x - maximum));
    state = make_float2(maximum, __fmaf_rn(state.y, factors.x, split.y * factors.y));
    return factors;
}
__device__ __forceinline__ float merge(float before, float2 factors, float split) {
    return __fmaf_rn(before, factors.x, split * factors.y);
}

/// Stores what a lane holds of row g (r = 0) or g + 8 of 16 rows by 16 columns from `first` on.
__device__ __forceinline__ void store_row(
    float* row, int columns, int first, int r, const float (&values)[2][4]) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const int column = first + 8 * (j / 2) + 2 * (warp_lane() % 4) + j % 2;
        if (column < columns) row[column] = values[j / 2][2 * r + j % 2];
    }
}

/// A block per (tile of query heads of a key head, token, split). Copies the split's keys and
/// values into shared memory, once for all heads of the tile and the tokens that share it, and
/// writes value_dim + 2 floats per row. Few tokens: bound by latency; long contexts: by memory.
template <typename W>
__global__ void __launch_bounds__(W::kThreads, W::kSplitBlocks)
    attend_split_kernel(AttentionArgs args, StepTables step, Staging staging, int staged_bytes) {
    wait_for_predecessor();
    const auto b = make_tile_block<W>(args, step, static_cast<std::size_t>(staged_bytes));
    const int split = static_cast<int>(blockIdx.z);
    const int splits = static_cast<int>(gridDim.z);
    if (split * kSplitTokens >= b.length) return;
    if (staging.stages > 0) stage_split(args, staging, b, split, b.staged);
    Queries<W> queries;
    queries.load(args, b);
    const auto place_of = [&](int row) {
        const std::int64_t token = b.token_of(row);
        return (token * args.heads + b.head_of(row)) * splits + split;
    };
    const int tile_row = warp_of_block() / kMmaWarps * kMmaRows + warp_lane() / 4;
    wait_copies<0>();
    __syncthreads();
    attend_tile(
        args,
        staging,
        b,
        queries,
        split,
        b.staged,
        [&](int row, float2 state) { args.partial_sums[place_of(row)] = state; },
        [&](int /*i*/, int first, const float(&sums)[2][4]) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                if (split * kSplitTokens >= b.lengths[tile_row + 8 * r]) continue;
                store_row(args.partial_values + place_of(tile_row + 8 * r) * args.value_dim,
                          args.value_dim,
                          first,
                          r,
                          sums);
            }
        });
}

/// Divides by the rows' sums and stores.
template <typename W>
__device__ __forceinline__ void store_quotients(const AttentionArgs& args,
                                                const TileBlock<W>& b,
                                                int tile_row,
                                                const float (&values)[W::kPairs][2][4]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = tile_row + 8 * r;
        if (row >= b.rows) continue;
        // A filled row sees nothing.
        const float sum = b.length > 0 ? b.states[row].y : 1.0F;
        float* out = args.out.data + b.token_of(row) * args.out.stride +
                     std::int64_t{b.head_of(row)} * args.value_dim;
#pragma unroll
        for (int i = 0; i < W::kPairs; ++i) {
            const int first = 16 * (warp_of_block() % kMmaWarps + kMmaWarps * i);
            float quotients[2][4];
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                quotients[j / 4][j % 4] = values[i][j / 4][j % 4] / sum;
            }
            store_row(out, args.value_dim, first, r, quotients);
        }
    }
}

/// A block per (tile of query heads of a key head, token) walks all splits; neighbouring tokens of
/// a sequence share the first one's block. Reads the cache once per tile. Bound by the tensor cores
/// where the tile is full.
template <typename W>
__global__ void __launch_bounds__(W::kThreads, W::kWalkBlocks)
    attend_walk_kernel(AttentionArgs args, StepTables step, Staging staging, int staged_bytes) {
    wait_for_predecessor();
    const auto b = make_tile_block<W>(args, step, static_cast<std::size_t>(staged_bytes));
    if (b.rows == 0) return;
    const int splits = (b.length + kSplitTokens - 1) / kSplitTokens;
    const auto stage_of = [&](int split) {
        return b.staged + (staging.stages == 2 ? split % 2 : 0) * staging.stage_halves;
    };
    if (staging.stages > 0 && splits > 0) stage_split(args, staging, b, 0, stage_of(0));
    Queries<W> queries;
    queries.load(args, b);
    const int tile_row = warp_of_block() / kMmaWarps * kMmaRows + warp_lane() / 4;
    float values[W::kPairs][2][4] = {};
    for (int split = 0; split < splits; ++split) {
        if (staging.stages == 2) {
            if (split + 1 < splits) stage_split(args, staging, b, split + 1, stage_of(split + 1));
            if (split + 1 == splits) end_copies();
            wait_copies<1>();
        } else {
            wait_copies<0>();
        }
        __syncthreads();
        attend_tile(
            args,
            staging,
            b,
            queries,
            split,
            stage_of(split),
            [&](int row, float2 state) { b.factors[row] = merge_state(b.states[row], state); },
            [&](int i, int /*first*/, const float(&sums)[2][4]) {
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    if (split * kSplitTokens >= b.lengths[tile_row + 8 * r]) continue;
                    const float2 factors = b.factors[tile_row + 8 * r];
#pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        float& value = values[i][j / 2][2 * r + j % 2];
                        value = merge(value, factors, sums[j / 2][2 * r + j % 2]);
                    }
                }
            });
        __syncthreads();
        if (staging.stages == 1 && split + 1 < splits) {
            stage_split(args, staging, b, split + 1, b.staged);
        }
    }
    wait_copies<0>();
    store_quotients(args, b, tile_row, values);
}

/// One column of a head, its splits merged in order.
__device__ __forceinline__ float merged_value(
    const AttentionArgs& args, std::int64_t token, int head, int length, int splits, int column) {
    const int count = (length + kSplitTokens - 1) / kSplitTokens;
    const std::int64_t place = (token * args.heads + head) * splits;
    float2 state = make_float2(-INFINITY, 0.0F);
    float value = 0.0F;
    for (int split = 0; split < count; ++split) {
        const float2 factors = merge_state(state, args.partial_sums[place + split]);
        value =
            merge(value, factors, args.partial_values[(place + split) * args.value_dim + column]);
    }
    // A filled row sees nothing.
    return count > 0 ? value / state.y : 0.0F;
}

/// A block per (head, token): merges its splits. Reads what the splits wrote; bound by latency.
__global__ void __launch_bounds__(kMergeThreads)
    merge_kernel(AttentionArgs args, StepTables step, int splits) {
    wait_for_predecessor();
    const int head = static_cast<int>(blockIdx.x);
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int length = step.positions[token] + 1;
    for (int column = static_cast<int>(threadIdx.x); column < args.value_dim;
         column += kMergeThreads) {
        const float value = merged_value(args, token, head, length, splits, column);
        const int place = head * args.value_dim + column;
        args.out.data[token * args.out.stride + place] = value;
        // Whole warps where it is rounded.
        if (args.rounded.quants != nullptr) {
            store_q8(args.rounded, token, place / kChunkWeights, value);
        }
    }
}

constexpr int kValueWarps = 8;

/// A block per (32 values of a head, head, token): merges the head's splits, then multiplies by
/// v_up. Reads what the splits wrote, and 32 rows of v_up; bound by latency.
__global__ void __launch_bounds__(kValueWarps* kWarpLanes) merge_values_kernel(
    AttentionArgs args, LatentValues values, StepTables step, int splits, int lanes) {
    wait_for_predecessor();
    auto* results = static_cast<float*>(block_memory());
    float* mixed = results + kWarpLanes;
    const int first = static_cast<int>(blockIdx.x) * kWarpLanes;
    const int head = static_cast<int>(blockIdx.y);
    const auto token = static_cast<std::int64_t>(blockIdx.z);
    const int length = step.positions[token] + 1;
    for (int column = static_cast<int>(threadIdx.x); column < args.value_dim;
         column += kValueWarps * kWarpLanes) {
        mixed[column] = merged_value(args, token, head, length, splits, column);
    }
    __syncthreads();
    const int rows_per_warp = kWarpLanes / lanes;
    const float* x[1] = {mixed};
    // Whole warps go on or stop.
    for (int i = warp_of_block() * rows_per_warp; i < kWarpLanes;
         i += kValueWarps * rows_per_warp) {
        const int column = i + warp_lane() / lanes;
        const int row = head * values.value_dim + smaller(first + column, values.value_dim - 1);
        float sum[1] = {0.0F};
        with_format(values.v_up.format, [&](auto tag) {
            add_float_dots<decltype(tag)::value, 1>(
                values.v_up, row, x, warp_lane() % lanes, lanes, sum);
        });
        const float dot = lane_sum(sum[0], lanes);
        if (warp_lane() % lanes == 0) results[column] = dot;
    }
    __syncthreads();
    if (warp_of_block() != 0) return;
    const int column = first + warp_lane();
    const float value = results[warp_lane()];
    if (column < values.value_dim) {
        values.out.data[token * values.out.stride + head * values.value_dim + column] = value;
    }
    if (values.rounded.quants != nullptr) {
        store_q8(values.rounded, token, (head * values.value_dim + first) / kChunkWeights, value);
    }
}

// Widths, narrow to wide; the number of columns alone chooses, so that a row's bits do not depend
// on how it is computed.
template <int kTiles>
using Narrow = TileWidth<2, 4, 2, kTiles>;  ///< up to 128 columns of keys and of values
template <int kTiles>
using Middle = TileWidth<4, 4, 4, kTiles>;  ///< up to 256
template <int kTiles>
using Wide = TileWidth<4, 9, 8, kTiles>;  ///< 576 of keys, 512 of values
constexpr int kNarrowDim = 128;
constexpr int kMiddleDim = 256;
constexpr int kWalkTiles = 2;

/// Shared memory that rows take.
template <typename W>
std::size_t staged_bytes(const Staging& staging) {
    const int piece_halves =
        std::max(W::kRoundKeys * staging.key_stride, kSplitTokens * (W::kPieceColumns + 8));
    const int halves = staging.stages == 0 ? piece_halves : staging.stages * staging.stage_halves;
    return sizeof(std::uint16_t) * static_cast<std::size_t>(halves);
}

/// As many splits at once as shared memory holds, up to `stages_max`.
template <typename W>
Staging make_staging(const AttentionArgs& args, int stages_max) {
    const auto padded = [](int columns) { return (columns + 15) / 16 * 16; };
    const int key_dim = args.query_dim + args.rest_dim;
    Staging staging{
        .stages = stages_max, .key_columns = padded(key_dim), .key_stride = padded(key_dim) + 8};
    staging.stage_halves = kSplitTokens * staging.key_stride;
    staging.value_stride = staging.key_stride;
    if (!args.values_are_keys) {
        staging.value_offset = staging.stage_halves;
        staging.value_stride = padded(args.value_dim) + 8;
        staging.stage_halves += kSplitTokens * staging.value_stride;
    }
    const bool has_aligned_values =
        args.values_are_keys || (args.value_dim % 8 == 0 && args.cache.value_dim % 8 == 0);
    staging.in_16_bytes = key_dim % 8 == 0 && args.cache.key_dim % 8 == 0 && has_aligned_values;
    const auto shared_bytes = static_cast<std::size_t>(args.shared_bytes_max);
    while (staging.stages > 0 && staged_bytes<W>(staging) + W::kBytes > shared_bytes) {
        --staging.stages;
    }
    return staging;
}

Result<int> attribute_of_device(cudaDeviceAttr name) {
    int device = 0;
    int value = 0;
    HEARTH_CUDA(cudaGetDevice(&device));
    HEARTH_CUDA(cudaDeviceGetAttribute(&value, name, device));
    return value;
}

template <typename W>
Result<void> launch_tiles(const char* name,
                          void (*kernel)(AttentionArgs, StepTables, Staging, int),
                          const AttentionArgs& args,
                          const StepTables& step,
                          int tokens,
                          int splits,
                          Queue queue) {
    const Staging staging = make_staging<W>(args, splits > 0 ? 1 : 2);
    const std::size_t bytes = staged_bytes<W>(staging);
    const unsigned tiles =
        static_cast<unsigned>(args.kv_heads) * blocks_for(args.heads / args.kv_heads, W::kRows);
    return launch(
        name,
        kernel,
        {.grid =
             dim3(tiles, static_cast<unsigned>(tokens), static_cast<unsigned>(std::max(splits, 1))),
         .block = dim3(W::kThreads),
         .shared_bytes = bytes + W::kBytes},
        queue,
        args,
        step,
        staging,
        static_cast<int>(bytes));
}

/// Tiles of 32 rows where they are enough to keep the device busy, else of 16.
bool has_many_tiles(const AttentionArgs& args, int tokens) {
    constexpr int kRows = kMmaRows * kWalkTiles;
    const int group = args.heads / args.kv_heads;
    const unsigned tiles = static_cast<unsigned>(args.kv_heads) * blocks_for(group, kRows) *
                           blocks_for(tokens, std::max(1, kRows / group));
    return tiles >= static_cast<unsigned>(args.multiprocessors);
}

template <template <int> typename Width>
Result<void> launch_width(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue) {
    using One = Width<1>;
    using Two = Width<kWalkTiles>;
    if (splits > 0) {
        return launch_tiles<One>(
            "attend_split", attend_split_kernel<One>, args, step, tokens, splits, queue);
    }
    if (has_many_tiles(args, tokens)) {
        return launch_tiles<Two>(
            "attend_walk", attend_walk_kernel<Two>, args, step, tokens, 0, queue);
    }
    return launch_tiles<One>("attend_walk", attend_walk_kernel<One>, args, step, tokens, 0, queue);
}

/// One block per split where `splits` is not 0, else one that walks them.
Result<void> launch_attention(
    AttentionArgs args, const StepTables& step, int tokens, int splits, Queue queue) {
    if (args.shared_bytes_max == 0) {
        HEARTH_TRY(args.shared_bytes_max,
                   attribute_of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin));
    }
    if (args.multiprocessors == 0) {
        HEARTH_TRY(args.multiprocessors, attribute_of_device(cudaDevAttrMultiProcessorCount));
    }
    const int columns = std::max(args.query_dim + args.rest_dim, args.value_dim);
    if (columns <= kNarrowDim) return launch_width<Narrow>(args, step, tokens, splits, queue);
    if (columns <= kMiddleDim) return launch_width<Middle>(args, step, tokens, splits, queue);
    return launch_width<Wide>(args, step, tokens, splits, queue);
}

}  // namespace

Result<void> attend(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue) {
    HEARTH_CHECK(launch_attention(args, step, tokens, splits, queue));
    if (splits == 0) {
        if (args.rounded.quants == nullptr) return {};
        return quantise(args.out, args.rounded, tokens, queue);
    }
    return launch("merge",
                  merge_kernel,
                  {dim3(static_cast<unsigned>(args.heads), static_cast<unsigned>(tokens)),
                   dim3(kMergeThreads)},
                  queue,
                  args,
                  step,
                  splits);
}

Result<void> attend_latent(const AttentionArgs& args,
                           const LatentValues& values,
                           const StepTables& step,
                           int tokens,
                           int splits,
                           Queue queue) {
    if (splits == 0) {
        HEARTH_CHECK(launch_attention(args, step, tokens, 0, queue));
        ProjectArgs up;
        up.parts[0] = {
            .weight = values.v_up, .rows = args.heads * values.value_dim, .out = values.out};
        up.part_count = 1;
        up.x_float = args.out;
        up.head_rows = up.head_out = values.value_dim;
        up.head_x = args.value_dim;
        HEARTH_CHECK(project_float(up, tokens, queue));
        if (values.rounded.quants == nullptr) return {};
        return quantise(values.out, values.rounded, tokens, queue);
    }
    HEARTH_CHECK(launch_attention(args, step, tokens, splits, queue));
    const int weights = is_quantised(values.v_up.format) ? kChunkWeights : 8;
    const int lanes = lanes_for((values.v_up.columns + weights - 1) / weights);
    return launch(
        "merge_values",
        merge_values_kernel,
        {.grid = dim3(blocks_for(values.value_dim, kWarpLanes),
                      static_cast<unsigned>(args.heads),
                      static_cast<unsigned>(tokens)),
         .block = dim3(kValueWarps * kWarpLanes),
         .shared_bytes = sizeof(float) * static_cast<std::size_t>(kWarpLanes + args.value_dim)},
        queue,
        args,
        values,
        step,
        splits,
        lanes);
}

}  // namespace hearth::cuda

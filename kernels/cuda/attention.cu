#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_walk.cuh"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

constexpr int kMergeThreads = 128;

/// A block per (tile of query heads of a key head, token, split). Copies the split's keys and
/// values into shared memory, once for all heads of the tile and the tokens that share it, and
/// writes value_dim + 2 floats per row. Few tokens: bound by latency; long contexts: by memory.
template <typename W>
__global__ void __launch_bounds__(W::kThreads, W::kSplitBlocks) attend_split_kernel(
    AttentionArgs args, StepTables step, Tiles tiles, Staging staging, int staged_bytes) {
    wait_for_predecessor();
    const auto b = make_tile_block<W>(args, step, tiles, static_cast<std::size_t>(staged_bytes));
    const int split = static_cast<int>(blockIdx.z);
    const int splits = static_cast<int>(gridDim.z);
    if (split * kSplitTokens >= b.length) return;
    const QueryValues<W> values(args, b);
    if (staging.stages > 0) stage_split(args, staging, b, split, b.staged);
    const Queries<W> queries(values);
    const auto place_of = [&](int row) {
        const std::int64_t token = b.token_of(row);
        return (token * args.heads + b.head_of(row)) * splits + split;
    };
    const int tile_row = first_row_of_lane<W>();
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

/// A block per (tile of query heads of a key head, token) walks all splits; neighbouring tokens of
/// a sequence share the first one's block. Reads the cache once per tile. Bound by the tensor cores
/// where the tile is full.
template <typename W>
__global__ void __launch_bounds__(W::kThreads, W::kWalkBlocks) attend_walk_kernel(
    AttentionArgs args, StepTables step, Tiles tiles, Staging staging, int staged_bytes) {
    wait_for_predecessor();
    const auto b = make_tile_block<W>(args, step, tiles, static_cast<std::size_t>(staged_bytes));
    if (b.rows == 0) return;
    float values[W::kPairs][2][4] = {};
    walk_splits(args, staging, b, 0, split_count(b.length), values);
    store_values(args, b, values, true);
}

/// What a split of a row is merged with.
struct SplitFactors {
    float before;  ///< of what is merged so far
    float added;   ///< of the split's values
    float sum;     ///< that the split adds
};

/// What a block of so many threads merges splits with, a group of one split per thread at a time.
template <int kThreads>
struct MergeRoom {
    SplitFactors factors[kThreads];
    float maxima[kThreads / kWarpLanes];  ///< of each warp's splits
};

/// Which of a token's columns a block merges: those of `head`, a thread's first one and others
/// kThreads apart.
struct MergedColumns {
    std::int64_t token;
    int head;
    int splits;  ///< that there is room for
    int first;   ///< of this thread
};

/// Merges a head's splits in order, as walk_splits and store_values do: each thread finds the
/// factors of one split of a group, so that only products are left to be added one by one.
template <int kThreads, int kColumns>
__device__ __forceinline__ void merge_splits(const AttentionArgs& args,
                                             const StepTables& step,
                                             const MergedColumns& of,
                                             MergeRoom<kThreads>& room,
                                             float (&values)[kColumns]) {
    const int count = split_count(step.positions[of.token] + 1);
    const std::int64_t place = (of.token * args.heads + of.head) * of.splits;
    const int thread = static_cast<int>(threadIdx.x);
    float before = -INFINITY;  // maximum of the groups before
    float sum = 0.0F;
    for (int first = 0; first < count; first += kThreads) {
        const bool has_split = first + thread < count;
        const float2 state =
            has_split ? args.partial_sums[place + first + thread] : make_float2(-INFINITY, 0.0F);
        float largest = state.x;  // of the lanes up to this one
        for (int back = 1; back < kWarpLanes; back *= 2) {
            const float other = __shfl_sync(kAllLanes, largest, warp_lane() - back);
            if (warp_lane() >= back && other > largest) largest = other;
        }
        const float last = __shfl_sync(kAllLanes, largest, warp_lane() - 1);
        if (warp_lane() == kWarpLanes - 1) room.maxima[warp_of_block()] = largest;
        __syncthreads();
        float maximum = before;  // of all splits before this thread's
        for (int warp = 0; warp < kThreads / kWarpLanes; ++warp) {
            if (warp == warp_of_block()) maximum = before;
            if (room.maxima[warp] > before) before = room.maxima[warp];
        }
        if (warp_lane() > 0 && last > maximum) maximum = last;
        float2 merged = make_float2(maximum, 0.0F);
        const float2 both = merge_state(merged, state);
        if (has_split) room.factors[thread] = {both.x, both.y, merged.y};
        __syncthreads();
        const float* partial = args.partial_values + (place + first) * args.value_dim + of.first;
        const int splits = smaller(kThreads, count - first);
#pragma unroll 8
        for (int split = 0; split < splits; ++split, partial += args.value_dim) {
            const auto [old, added, more] = room.factors[split];
            sum = __fmaf_rn(sum, old, more);
#pragma unroll
            for (int i = 0; i < kColumns; ++i) {
                if (of.first + i * kThreads >= args.value_dim) continue;
                values[i] = merge(values[i], make_float2(old, added), partial[i * kThreads]);
            }
        }
        __syncthreads();
    }
    // A filled row sees nothing.
    const float factor = count > 0 ? 1.0F / sum : 0.0F;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
        values[i] *= factor;
    }
}

/// A block per (head, token, kMergeThreads columns): merges the head's splits. Reads what the
/// splits wrote; bound by latency.
__global__ void __launch_bounds__(kMergeThreads)
    merge_kernel(AttentionArgs args, StepTables step, int splits) {
    wait_for_predecessor();
    const int head = static_cast<int>(blockIdx.x);
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int column = static_cast<int>(blockIdx.z * kMergeThreads + threadIdx.x);
    float value[1] = {0.0F};
    merge_splits(args,
                 step,
                 {token, head, splits, column},
                 *static_cast<MergeRoom<kMergeThreads>*>(block_memory()),
                 value);
    if (column >= args.value_dim) return;
    const int place = head * args.value_dim + column;
    args.out.data[token * args.out.stride + place] = value[0];
    // Whole warps where it is rounded.
    if (args.rounded.quants != nullptr) {
        store_q8(args.rounded, token, place / kChunkWeights, value[0]);
    }
}

constexpr int kValueThreads = 256;
constexpr int kValueWarps = kValueThreads / kWarpLanes;
constexpr int kMixedColumns = kAttentionValueDimMax / kValueThreads;

/// A block per (32 values of a head, head, token): merges the head's splits, then multiplies by
/// v_up. Reads what the splits wrote, and 32 rows of v_up; bound by latency.
__global__ void __launch_bounds__(kValueThreads) merge_values_kernel(
    AttentionArgs args, LatentValues values, StepTables step, int splits, int lanes) {
    wait_for_predecessor();
    auto& room = *static_cast<MergeRoom<kValueThreads>*>(block_memory());
    auto* results = reinterpret_cast<float*>(&room + 1);
    float* mixed = results + kWarpLanes;
    const int first = static_cast<int>(blockIdx.x) * kWarpLanes;
    const int head = static_cast<int>(blockIdx.y);
    const auto token = static_cast<std::int64_t>(blockIdx.z);
    const int own = static_cast<int>(threadIdx.x);
    float merged[kMixedColumns] = {};
    merge_splits(args, step, {token, head, splits, own}, room, merged);
#pragma unroll
    for (int i = 0; i < kMixedColumns; ++i) {
        const int column = own + i * kValueThreads;
        if (column < args.value_dim) mixed[column] = merged[i];
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

/// Tiles of 16 rows; `Many`: where there are many of them.
template <typename One, typename Many>
Result<void> launch_width(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue) {
    if (splits > 0) {
        return launch_tiles<One>(
            "attend_split", attend_split_kernel<One>, args, step, tokens, splits, queue);
    }
    if (has_many_tiles(args, tokens)) {
        return launch_tiles<Many>(
            "attend_walk", attend_walk_kernel<Many>, args, step, tokens, 0, queue);
    }
    return launch_tiles<One>("attend_walk", attend_walk_kernel<One>, args, step, tokens, 0, queue);
}

template <Format kCache>
Result<void> launch_cache(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue) {
    const int columns = std::max(args.query_dim + args.rest_dim, args.value_dim);
    if (columns <= kNarrowDim) {
        return launch_width<Narrow<1, kCache>, Narrow<kWalkTiles, kCache>>(
            args, step, tokens, splits, queue);
    }
    if (columns <= kMiddleDim) {
        return launch_width<Middle<1, kCache>, Middle<kWalkTiles, kCache>>(
            args, step, tokens, splits, queue);
    }
    return launch_width<Wide<kCache>, Wide<kCache>>(args, step, tokens, splits, queue);
}

/// One block per split where `splits` is not 0, else one that walks them.
Result<void> launch_attention(
    AttentionArgs args, const StepTables& step, int tokens, int splits, Queue queue) {
    HEARTH_CHECK(name_device(args));
    return args.cache.format == Format::q8_0
               ? launch_cache<Format::q8_0>(args, step, tokens, splits, queue)
               : launch_cache<Format::f16>(args, step, tokens, splits, queue);
}

/// Calls body(first token, tokens) for as many tokens at a time as the splits' room holds.
template <typename Body>
Result<void> for_pieces(const AttentionArgs& args, int tokens, int splits, Body body) {
    const std::int64_t held = args.split_rows / splits;
    const int most =
        args.split_rows == 0
            ? tokens
            : static_cast<int>(std::max<std::int64_t>(1, std::min<std::int64_t>(held, tokens)));
    for (int first = 0; first < tokens; first += most) {
        HEARTH_CHECK(body(first, std::min(most, tokens - first)));
    }
    return {};
}

AttentionArgs args_from(AttentionArgs args, int row) {
    args.query = rows_from(args.query, row);
    args.rest = rows_from(args.rest, row);
    args.out = rows_from(args.out, row);
    args.rounded = rows_from(args.rounded, row);
    return args;
}

/// A block per split, then what merges them and multiplies by v_up.
Result<void> attend_and_multiply(const AttentionArgs& args,
                                 const LatentValues& values,
                                 const StepTables& step,
                                 int tokens,
                                 int splits,
                                 Queue queue) {
    HEARTH_CHECK(launch_attention(args, step, tokens, splits, queue));
    const int weights = is_quantised(values.v_up.format) ? kChunkWeights : 8;
    const int lanes = lanes_for((values.v_up.columns + weights - 1) / weights);
    return launch(
        "merge_values",
        merge_values_kernel,
        {.grid = dim3(blocks_for(values.value_dim, kWarpLanes),
                      static_cast<unsigned>(args.heads),
                      static_cast<unsigned>(tokens)),
         .block = dim3(kValueThreads),
         .shared_bytes = sizeof(MergeRoom<kValueThreads>) +
                         sizeof(float) * static_cast<std::size_t>(kWarpLanes + args.value_dim)},
        queue,
        args,
        values,
        step,
        splits,
        lanes);
}

}  // namespace

Result<void> attend(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue) {
    if (splits == 0) {
        HEARTH_CHECK(launch_attention(args, step, tokens, 0, queue));
        if (args.rounded.quants == nullptr) return {};
        return quantise(args.out, args.rounded, tokens, queue);
    }
    return for_pieces(args, tokens, splits, [&](int first, int count) -> Result<void> {
        const AttentionArgs now = args_from(args, first);
        const StepTables tables = tables_from(step, first);
        HEARTH_CHECK(launch_attention(now, tables, count, splits, queue));
        return launch("merge",
                      merge_kernel,
                      {.grid = dim3(static_cast<unsigned>(args.heads),
                                    static_cast<unsigned>(count),
                                    blocks_for(args.value_dim, kMergeThreads)),
                       .block = dim3(kMergeThreads),
                       .shared_bytes = sizeof(MergeRoom<kMergeThreads>)},
                      queue,
                      now,
                      tables,
                      splits);
    });
}

Result<void> attend_latent(const AttentionArgs& args,
                           const LatentValues& values,
                           const StepTables& step,
                           int tokens,
                           int splits,
                           Queue queue) {
    if (splits > 0 && splits <= kMergedValuesSplitsMax) {
        return for_pieces(args, tokens, splits, [&](int first, int count) -> Result<void> {
            LatentValues now = values;
            now.out = rows_from(values.out, first);
            now.rounded = rows_from(values.rounded, first);
            return attend_and_multiply(
                args_from(args, first), now, tables_from(step, first), count, splits, queue);
        });
    }
    HEARTH_CHECK(attend(args, step, tokens, splits, queue));
    ProjectArgs up;
    up.parts[0] = {.weight = values.v_up, .rows = args.heads * values.value_dim, .out = values.out};
    up.part_count = 1;
    up.x_float = args.out;
    up.head_rows = up.head_out = values.value_dim;
    up.head_x = args.value_dim;
    HEARTH_CHECK(project_float(up, tokens, queue));
    if (values.rounded.quants == nullptr) return {};
    return quantise(values.out, values.rounded, tokens, queue);
}

}  // namespace hearth::cuda

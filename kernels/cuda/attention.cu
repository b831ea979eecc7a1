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

/// Which splits of a head a block merges.
struct HeadSplits {
    std::int64_t first;     ///< place of the first one
    int count;              ///< that the token sees
    SplitFactors* factors;  ///< shared (count)
};

/// Fills the factors, with the block's first warp: 32 splits at once, so that only products are
/// left to be added in order. A barrier ends it.
__device__ __forceinline__ HeadSplits find_factors(const AttentionArgs& args,
                                                   const StepTables& step,
                                                   std::int64_t token,
                                                   int head,
                                                   int splits,
                                                   SplitFactors* factors) {
    const HeadSplits of{
        (token * args.heads + head) * splits, split_count(step.positions[token] + 1), factors};
    float maximum = -INFINITY;  // of the splits before
    for (int first = 0; first < of.count && warp_of_block() == 0; first += kWarpLanes) {
        const int split = first + warp_lane();
        const float2 state =
            split < of.count ? args.partial_sums[of.first + split] : make_float2(-INFINITY, 0.0F);
        float largest = state.x;  // of the lanes up to this one
        for (int back = 1; back < kWarpLanes; back *= 2) {
            const float other = __shfl_sync(kAllLanes, largest, warp_lane() - back);
            if (warp_lane() >= back && other > largest) largest = other;
        }
        const float last = __shfl_sync(kAllLanes, largest, warp_lane() - 1);
        float2 merged = make_float2(warp_lane() > 0 && last > maximum ? last : maximum, 0.0F);
        const float2 both = merge_state(merged, state);
        if (split < of.count) factors[split] = {both.x, both.y, merged.y};
        maximum = __shfl_sync(kAllLanes, merged.x, kWarpLanes - 1);
    }
    __syncthreads();
    return of;
}

/// One column of a head, its splits merged in order: as walk_splits and store_values do.
__device__ __forceinline__ float merged_value(const AttentionArgs& args,
                                              const HeadSplits& of,
                                              int column) {
    const float* values = args.partial_values + of.first * args.value_dim + column;
    float value = 0.0F;
    float sum = 0.0F;
#pragma unroll 4
    for (int split = 0; split < of.count; ++split) {
        const auto [before, added, more] = of.factors[split];
        value =
            merge(value, make_float2(before, added), values[std::int64_t{split} * args.value_dim]);
        sum = __fmaf_rn(sum, before, more);
    }
    // A filled row sees nothing.
    return of.count > 0 ? value * (1.0F / sum) : 0.0F;
}

/// A block per (head, token): merges its splits. Reads what the splits wrote; bound by latency.
__global__ void __launch_bounds__(kMergeThreads)
    merge_kernel(AttentionArgs args, StepTables step, int splits) {
    wait_for_predecessor();
    const int head = static_cast<int>(blockIdx.x);
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const HeadSplits of =
        find_factors(args, step, token, head, splits, static_cast<SplitFactors*>(block_memory()));
    for (int column = static_cast<int>(threadIdx.x); column < args.value_dim;
         column += kMergeThreads) {
        const float value = merged_value(args, of, column);
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
    const HeadSplits of = find_factors(
        args, step, token, head, splits, reinterpret_cast<SplitFactors*>(mixed + args.value_dim));
    for (int column = static_cast<int>(threadIdx.x); column < args.value_dim;
         column += kValueWarps * kWarpLanes) {
        mixed[column] = merged_value(args, of, column);
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
                  {.grid = dim3(static_cast<unsigned>(args.heads), static_cast<unsigned>(tokens)),
                   .block = dim3(kMergeThreads),
                   .shared_bytes = sizeof(SplitFactors) * static_cast<std::size_t>(splits)},
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
         .shared_bytes = sizeof(float) * static_cast<std::size_t>(kWarpLanes + args.value_dim) +
                         sizeof(SplitFactors) * static_cast<std::size_t>(splits)},
        queue,
        args,
        values,
        step,
        splits,
        lanes);
}

}  // namespace hearth::cuda

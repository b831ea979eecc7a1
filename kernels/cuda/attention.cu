#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kHeads = 4;                                  ///< of a block; they share a key head
constexpr int kValues = kAttentionValueDimMax / kThreads;  ///< columns of a thread
static_assert(kHeads == kWarps, "warp h makes the softmax of head h");

/// What a block works on, and its shared memory.
struct Block {
    std::int64_t token;
    int kv_head, head, heads;  ///< first query head and how many there are, up to kHeads
    int length;                ///< positions that the token sees
    int key_dim;               ///< of a head
    std::int64_t block_elements;
    const std::uint16_t* cache;  ///< of the layer
    const std::int32_t* table;
    float* queries;  ///< shared (kHeads, key_dim)
    float* scores;   ///< shared (kHeads, kSplitTokens): scores, then their exponentials
    float2* state;   ///< shared (kHeads): maximum and sum
};

__device__ __forceinline__ Block make_block(const AttentionArgs& args, const StepTables& step) {
    Block b;
    const int group = args.heads / args.kv_heads;
    const int tiles = (group + kHeads - 1) / kHeads;
    const int tile = static_cast<int>(blockIdx.x) % tiles;
    b.token = blockIdx.y;
    b.kv_head = static_cast<int>(blockIdx.x) / tiles;
    b.head = b.kv_head * group + tile * kHeads;
    b.heads = smaller(kHeads, group - tile * kHeads);
    b.length = step.positions[b.token] + 1;
    b.key_dim = args.query_dim + args.rest_dim;
    b.block_elements =
        std::int64_t{compute::kBlockTokens} * (args.cache.key_dim + args.cache.value_dim);
    b.cache = step.header->cache +
              std::int64_t{args.cache.layer} * step.header->cache_blocks * b.block_elements;
    b.table = step.block_tables + step.table_begin[b.token];
    b.queries = static_cast<float*>(block_memory());
    b.scores = b.queries + kHeads * b.key_dim;
    b.state = reinterpret_cast<float2*>(b.scores + kHeads * kSplitTokens);
    return b;
}

__device__ __forceinline__ void load_queries(const AttentionArgs& args, const Block& b) {
    for (int i = static_cast<int>(threadIdx.x); i < b.heads * b.key_dim; i += kThreads) {
        const int head = b.head + i / b.key_dim;
        const int column = i % b.key_dim;
        const bool is_rest = column >= args.query_dim;
        const FloatRows& rows = is_rest ? args.rest : args.query;
        const int offset = is_rest ? head * args.rest_head_stride + column - args.query_dim
                                   : head * args.query_head_stride + column;
        b.queries[i] = rows.data[b.token * rows.stride + offset];
    }
}

/// Scores of a split: a warp per key, all heads of the block at once. Reads each key once.
__device__ __forceinline__ void score_split(const AttentionArgs& args,
                                            const Block& b,
                                            int first,
                                            int count) {
    for (int j = warp_of_block(); j < count; j += kWarps) {
        const int position = first + j;
        const std::uint16_t* key =
            b.cache + b.table[position / compute::kBlockTokens] * b.block_elements +
            std::int64_t{position % compute::kBlockTokens} * args.cache.key_dim +
            b.kv_head * b.key_dim;
        float sums[kHeads] = {};
        for (int d = 2 * warp_lane(); d < b.key_dim; d += 2 * kWarpLanes) {
            // Rows of keys have an even length: a rotation turns pairs.
            const auto pair = *reinterpret_cast<const unsigned*>(key + d);
            const float k0 = half_to_float(static_cast<std::uint16_t>(pair & 0xFFFFU));
            const float k1 = half_to_float(static_cast<std::uint16_t>(pair >> 16));
#pragma unroll
            for (int h = 0; h < kHeads; ++h) {
                if (h >= b.heads) continue;
                const float* query = b.queries + h * b.key_dim + d;
                sums[h] = __fmaf_rn(query[1], k1, __fmaf_rn(query[0], k0, sums[h]));
            }
        }
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            const float score = args.scale * lane_sum(sums[h]);
            if (warp_lane() == 0) b.scores[h * kSplitTokens + j] = score;
        }
    }
}

/// Warp h turns the scores of head h into exponentials and notes their maximum and sum.
__device__ __forceinline__ void soften_split(const Block& b, int count) {
    float* scores = b.scores + warp_of_block() * kSplitTokens;
    float maximum = -INFINITY;
    for (int j = warp_lane(); j < count; j += kWarpLanes) {
        maximum = scores[j] > maximum ? scores[j] : maximum;
    }
    maximum = lane_max(maximum);
    float sum = 0.0F;
    for (int j = warp_lane(); j < count; j += kWarpLanes) {
        scores[j] = expf(scores[j] - maximum);
        sum += scores[j];
    }
    sum = lane_sum(sum);
    if (warp_lane() == 0) b.state[warp_of_block()] = make_float2(maximum, sum);
}

/// The weighted sums of a split's values: a thread has columns thread, thread + kThreads, ...
__device__ __forceinline__ void weigh_split(const AttentionArgs& args,
                                            const Block& b,
                                            int first,
                                            int count,
                                            float (&sums)[kValues][kHeads]) {
    const int stride = args.values_are_keys ? args.cache.key_dim : args.cache.value_dim;
    const std::int64_t offset =
        args.values_are_keys
            ? 0
            : std::int64_t{compute::kBlockTokens} * args.cache.key_dim + b.kv_head * args.value_dim;
    for (int j = 0; j < count; ++j) {
        const int position = first + j;
        const std::uint16_t* value =
            b.cache + b.table[position / compute::kBlockTokens] * b.block_elements + offset +
            std::int64_t{position % compute::kBlockTokens} * stride;
#pragma unroll
        for (int v = 0; v < kValues; ++v) {
            const int column = static_cast<int>(threadIdx.x) + v * kThreads;
            if (column >= args.value_dim) continue;
            const float x = half_to_float(value[column]);
#pragma unroll
            for (int h = 0; h < kHeads; ++h) {
                sums[v][h] = __fmaf_rn(b.scores[h * kSplitTokens + j], x, sums[v][h]);
            }
        }
    }
}

/// Scores, softmax and values of one split; the block's heads end in `sums` and `b.state`.
__device__ __forceinline__ void attend_split(const AttentionArgs& args,
                                             const Block& b,
                                             int split,
                                             float (&sums)[kValues][kHeads]) {
    const int first = split * kSplitTokens;
    const int count = smaller(kSplitTokens, b.length - first);
    __syncthreads();
    score_split(args, b, first, count);
    __syncthreads();
    soften_split(b, count);
    __syncthreads();
    weigh_split(args, b, first, count, sums);
}

/// Takes a split into what came before it.
struct Merged {
    float maximum = -INFINITY;
    float sum = 0.0F;
    float old_factor = 0.0F, new_factor = 0.0F;  ///< of the values, for the last split

    __device__ __forceinline__ void add(float2 split) {
        const float next = split.x > maximum ? split.x : maximum;
        old_factor = expf(maximum - next);
        new_factor = expf(split.x - next);
        sum = __fmaf_rn(sum, old_factor, split.y * new_factor);
        maximum = next;
    }
    [[nodiscard]] __device__ __forceinline__ float value(float before, float split) const {
        return __fmaf_rn(before, old_factor, split * new_factor);
    }
};

/// Stores a head's column; whole warps where it is rounded.
__device__ __forceinline__ void store_value(
    const AttentionArgs& args, std::int64_t token, int head, int column, float value) {
    const int place = head * args.value_dim + column;
    args.out.data[token * args.out.stride + place] = value;
    if (args.rounded.quants != nullptr) {
        store_q8(args.rounded, token, place / kChunkWeights, value);
    }
}

/// A block per (key head and up to four of its query heads, token, split). Reads a split's keys and
/// values, writes value_dim + 2 floats per head; few tokens: bound by latency, long contexts: by
/// memory for grouped queries and by arithmetic for latent attention (four of its heads share a
/// read).
__global__ void __launch_bounds__(kThreads)
    attend_split_kernel(AttentionArgs args, StepTables step) {
    wait_for_predecessor();
    const Block b = make_block(args, step);
    const int split = static_cast<int>(blockIdx.z);
    if (split * kSplitTokens >= b.length) return;
    load_queries(args, b);
    float sums[kValues][kHeads] = {};
    attend_split(args, b, split, sums);
    const int splits = static_cast<int>(gridDim.z);
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
        if (h >= b.heads) continue;
        const std::int64_t place = (b.token * args.heads + b.head + h) * splits + split;
        if (thread == 0) args.partial_sums[place] = b.state[h];
#pragma unroll
        for (int v = 0; v < kValues; ++v) {
            const int column = thread + v * kThreads;
            if (column < args.value_dim) {
                args.partial_values[place * args.value_dim + column] = sums[v][h];
            }
        }
    }
}

/// One column of a head, its splits merged in order.
__device__ __forceinline__ float merged_value(
    const AttentionArgs& args, std::int64_t token, int head, int length, int splits, int column) {
    const int count = (length + kSplitTokens - 1) / kSplitTokens;
    const std::int64_t place = (token * args.heads + head) * splits;
    Merged merged;
    float value = 0.0F;
    for (int split = 0; split < count; ++split) {
        merged.add(args.partial_sums[place + split]);
        value = merged.value(value, args.partial_values[(place + split) * args.value_dim + column]);
    }
    // A filled row sees nothing.
    return count > 0 ? value / merged.sum : 0.0F;
}

/// A block per (head, token): merges its splits. Reads what the splits wrote; bound by latency.
__global__ void __launch_bounds__(kThreads)
    merge_kernel(AttentionArgs args, StepTables step, int splits) {
    wait_for_predecessor();
    const int head = static_cast<int>(blockIdx.x);
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int length = step.positions[token] + 1;
    for (int column = static_cast<int>(threadIdx.x); column < args.value_dim; column += kThreads) {
        store_value(
            args, token, head, column, merged_value(args, token, head, length, splits, column));
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

/// A block per (key head and up to four of its query heads, token) walks all splits.
__global__ void __launch_bounds__(kThreads)
    attend_walk_kernel(AttentionArgs args, StepTables step) {
    wait_for_predecessor();
    const Block b = make_block(args, step);
    load_queries(args, b);
    float values[kValues][kHeads] = {};
    Merged merged[kHeads];
    for (int split = 0; split * kSplitTokens < b.length; ++split) {
        float sums[kValues][kHeads] = {};
        attend_split(args, b, split, sums);
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            if (h >= b.heads) continue;
            merged[h].add(b.state[h]);
#pragma unroll
            for (int v = 0; v < kValues; ++v) {
                values[v][h] = merged[h].value(values[v][h], sums[v][h]);
            }
        }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
        if (h >= b.heads) continue;
#pragma unroll
        for (int v = 0; v < kValues; ++v) {
            const int column = static_cast<int>(threadIdx.x) + v * kThreads;
            if (column >= args.value_dim) continue;
            store_value(args,
                        b.token,
                        b.head + h,
                        column,
                        b.length > 0 ? values[v][h] / merged[h].sum : 0.0F);
        }
    }
}

struct Shapes {
    LaunchShape walk, splits;
};
Shapes shapes_of(const AttentionArgs& args, int tokens, int splits) {
    const int group = args.heads / args.kv_heads;
    const unsigned tiles = static_cast<unsigned>(args.kv_heads) * blocks_for(group, kHeads);
    const auto rows = static_cast<unsigned>(tokens);
    const std::size_t shared_bytes =
        sizeof(float) *
        static_cast<std::size_t>(kHeads * (args.query_dim + args.rest_dim + kSplitTokens + 2));
    return {
        .walk = {dim3(tiles, rows), dim3(kThreads), shared_bytes},
        .splits = {dim3(tiles, rows, static_cast<unsigned>(splits)), dim3(kThreads), shared_bytes}};
}

}  // namespace

Result<void> attend(
    const AttentionArgs& args, const StepTables& step, int tokens, int splits, Queue queue) {
    const Shapes shapes = shapes_of(args, tokens, splits);
    if (splits == 0) {
        return launch("attend_walk", attend_walk_kernel, shapes.walk, queue, args, step);
    }
    HEARTH_CHECK(launch("attend_split", attend_split_kernel, shapes.splits, queue, args, step));
    return launch(
        "merge",
        merge_kernel,
        {dim3(static_cast<unsigned>(args.heads), static_cast<unsigned>(tokens)), dim3(kThreads)},
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
        HEARTH_CHECK(attend(args, step, tokens, 0, queue));
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
    const Shapes shapes = shapes_of(args, tokens, splits);
    HEARTH_CHECK(launch("attend_split", attend_split_kernel, shapes.splits, queue, args, step));
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

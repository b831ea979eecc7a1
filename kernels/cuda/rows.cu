#include "kernels/cuda/cache_row.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"
#include "kernels/cuda/rows.h"

namespace hearth::cuda {
namespace {

constexpr int kRowThreads = 256;
constexpr int kEmbedThreads = 64;

/// A thread decodes one chunk. Reads a row of the table, writes it as floats; bound by latency.
__global__ void embed_kernel(EmbedArgs args, StepTables step) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int chunk = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const std::int32_t named = step.tokens[token];
    // A pick that is not finite goes on as token 0: nobody will look at what comes of it.
    const int picked = named < 0 ? step.picks[-1 - named].token : named;
    const std::int64_t row = picked < 0 ? 0 : picked;
    float* out = args.out.data + token * args.out.stride;
    with_format(args.table.format, [&](auto tag) {
        constexpr Format kFormat = decltype(tag)::value;
        constexpr int kCount = kFloatChunk<kFormat>;
        if (chunk * kCount >= args.table.columns) return;
        float values[kCount];
        decode_floats<kFormat>(args.table, row, chunk, values);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const int column = chunk * kCount + i;
            if (column < args.table.columns) out[column] = args.scale * values[i];
        }
    });
}

/// A block per group of columns and token. Reads x twice (the second time from L1), writes it once;
/// bound by latency.
__global__ void rms_norm_kernel(RmsNormArgs args) {
    wait_for_predecessor();
    auto* sums = static_cast<float*>(block_memory());
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int first = static_cast<int>(blockIdx.x) * args.group_dim;
    const float* x = args.x.data + token * args.x.stride + first;
    float* out = args.out.data + token * args.out.stride + first;
    const int threads = static_cast<int>(blockDim.x);
    const int thread = static_cast<int>(threadIdx.x);
    const float factor = rms_factor(x, args.group_dim, args.epsilon, sums);
    for (int i = thread; i < args.group_dim; i += threads) {
        const float value = x[i] * factor * args.weight[i];
        out[i] = value;
        // Whole warps: the group's columns are a multiple of 32.
        if (args.rounded.quants != nullptr) {
            store_q8(args.rounded, token, (first + i) / kChunkWeights, value);
        }
    }
}

/// A warp per block of 32. Reads 4 bytes a value, writes 1.25; bound by latency.
__global__ void quantise_kernel(FloatRows x, Q8Rows out) {
    wait_for_predecessor();
    const auto row = static_cast<std::int64_t>(blockIdx.y);
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (column >= out.columns) return;
    store_q8(out, row, column / kChunkWeights, x.data[row * x.stride + column]);
}

/// In double: an angle of a late position has no digits to lose in float.
__global__ void rope_angles_kernel(RopeAnglesArgs args, StepTables step) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.x);
    const auto position = static_cast<double>(step.positions[token]);
    for (int i = static_cast<int>(threadIdx.x); i < args.pairs; i += static_cast<int>(blockDim.x)) {
        const double angle = position * static_cast<double>(args.frequencies[i]);
        args.angles[token * args.pairs + i] =
            make_float2(static_cast<float>(cos(angle)) * args.magnitude,
                        static_cast<float>(sin(angle)) * args.magnitude);
    }
}

/// A thread per pair. Reads and writes the rotated columns once; bound by latency.
__global__ void rope_kernel(RopeArgs args) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int pair = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (pair >= args.heads * args.pairs) return;
    const int i = pair % args.pairs;
    float* columns = args.x.data + token * args.x.stride + pair / args.pairs * args.head_dim +
                     args.rotate_offset;
    rotate_pair(columns, i, args.pairs, args.is_interleaved, args.angles[token * args.pairs + i]);
}

/// Reads 4 bytes a value, writes 2; bound by latency.
__global__ void store_cache_kernel(StoreCacheArgs args, StepTables step) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const CacheLayer& cache = args.cache;
    const bool is_padded = cache.format == Format::q8_0;
    const int keys = is_padded ? padded_dim(cache.key_dim) : cache.key_dim;
    const int values = is_padded ? padded_dim(cache.value_dim) : cache.value_dim;
    if (column >= keys + values) return;  // in Q8_0 whole warps
    const bool is_key = column < keys;
    const FloatRows& from = is_key ? args.key : args.value;
    const int place = is_key ? column : column - keys;
    const bool is_inside = place < (is_key ? cache.key_dim : cache.value_dim);
    store_value(cache_row(cache, step, token, is_key),
                place,
                is_inside ? from.data[token * from.stride + place] : 0.0F);
}

/// Reads 8 bytes a value, writes 4, and 1.25 where it is rounded; bound by latency.
template <bool kIsSwiglu>
__global__ void pairwise_kernel(PairwiseArgs args) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (column >= args.dim) return;
    const float a = args.a.data[token * args.a.stride + column];
    const float b = args.b.data[token * args.b.stride + column];
    const float value = kIsSwiglu ? silu(a) * b : a + b;
    args.out.data[token * args.out.stride + column] = value;
    // Whole warps: a rounded value's columns are a multiple of 32.
    if (args.rounded.quants != nullptr) {
        store_q8(args.rounded, token, column / kChunkWeights, value);
    }
}

LaunchShape row_shape(std::int64_t columns, int rows) {
    return {.grid = dim3(blocks_for(columns, kRowThreads), static_cast<unsigned>(rows)),
            .block = dim3(kRowThreads)};
}

}  // namespace

Result<void> embed(const EmbedArgs& args, const StepTables& step, int tokens, Queue queue) {
    const int weights = is_quantised(args.table.format) ? kChunkWeights : 8;
    const unsigned blocks = blocks_for(args.table.columns, std::int64_t{weights} * kEmbedThreads);
    return launch("embed",
                  embed_kernel,
                  {.grid = dim3(blocks, static_cast<unsigned>(tokens)), .block = kEmbedThreads},
                  queue,
                  args,
                  step);
}

Result<void> rms_norm(const RmsNormArgs& args, int tokens, Queue queue) {
    // Fewer threads give the same bits: those that are left out would add zeros.
    const int wanted = (args.group_dim + kWarpLanes - 1) / kWarpLanes * kWarpLanes;
    const int threads = wanted < kNormThreads ? wanted : kNormThreads;
    return launch("rms_norm",
                  rms_norm_kernel,
                  {.grid = dim3(static_cast<unsigned>(args.groups), static_cast<unsigned>(tokens)),
                   .block = dim3(static_cast<unsigned>(threads)),
                   .shared_bytes = sizeof(float) * kNormWarps},
                  queue,
                  args);
}

Result<void> quantise(const FloatRows& x, const Q8Rows& out, int rows, Queue queue) {
    return launch("quantise", quantise_kernel, row_shape(out.columns, rows), queue, x, out);
}

Result<void> rope_angles(const RopeAnglesArgs& args,
                         const StepTables& step,
                         int tokens,
                         Queue queue) {
    return launch("rope_angles",
                  rope_angles_kernel,
                  {.grid = dim3(static_cast<unsigned>(tokens)), .block = dim3(kWarpLanes)},
                  queue,
                  args,
                  step);
}

Result<void> rope(const RopeArgs& args, int tokens, Queue queue) {
    const std::int64_t pairs = std::int64_t{args.heads} * args.pairs;
    return launch("rope", rope_kernel, row_shape(pairs, tokens), queue, args);
}

Result<void> store_cache(const StoreCacheArgs& args,
                         const StepTables& step,
                         int tokens,
                         Queue queue) {
    const std::int64_t columns = padded_dim(args.cache.key_dim) + padded_dim(args.cache.value_dim);
    return launch("store_cache", store_cache_kernel, row_shape(columns, tokens), queue, args, step);
}

Result<void> swiglu(const PairwiseArgs& args, int tokens, Queue queue) {
    return launch("swiglu", pairwise_kernel<true>, row_shape(args.dim, tokens), queue, args);
}

Result<void> add(const PairwiseArgs& args, int tokens, Queue queue) {
    return launch("add", pairwise_kernel<false>, row_shape(args.dim, tokens), queue, args);
}

}  // namespace hearth::cuda

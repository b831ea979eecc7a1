#include "kernels/cuda/cache_row.cuh"
#include "kernels/cuda/heads.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ void normalise(const HeadJob& job, float* row, float* sums) {
    const float factor = rms_factor(row, job.head_dim, job.epsilon, sums);
    for (int i = static_cast<int>(threadIdx.x); i < job.head_dim; i += kThreads) {
        row[i] = row[i] * factor * job.norm[i];
    }
}

__device__ __forceinline__ void rotate(const HeadJob& job, float* row, std::int64_t token) {
    float* columns = row + job.rotate_offset;
    for (int i = static_cast<int>(threadIdx.x); i < job.pairs; i += kThreads) {
        rotate_pair(columns, i, job.pairs, job.is_interleaved, job.angles[token * job.pairs + i]);
    }
}

/// A block per head and token. Reads and writes each column once, and 2 bytes of the cache (Q8_0:
/// about one) for those that are stored; bound by latency.
__global__ void __launch_bounds__(kThreads) prepare_heads_kernel(HeadsArgs args, StepTables step) {
    wait_for_predecessor();
    auto* sums = static_cast<float*>(block_memory());
    float* row = sums + kThreads / kWarpLanes;
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    int head = static_cast<int>(blockIdx.x);
    int number = 0;
    while (number + 1 < args.job_count && head >= args.jobs[number].heads) {
        head -= args.jobs[number].heads;
        ++number;
    }
    const HeadJob& job = args.jobs[number];
    float* x = job.x.data + token * job.x.stride + std::int64_t{head} * job.head_dim;
    const int thread = static_cast<int>(threadIdx.x);
    for (int i = thread; i < job.head_dim; i += kThreads) {
        row[i] = x[i];
    }
    __syncthreads();
    if (job.norm != nullptr) normalise(job, row, sums);
    __syncthreads();
    if (job.angles != nullptr) rotate(job, row, token);
    __syncthreads();
    CacheRow cache;
    if (job.store != HeadJob::Store::none) {
        cache = cache_row(args.cache, step, token, job.store == HeadJob::Store::key);
    }
    const bool has_changed = job.norm != nullptr || job.angles != nullptr;
    for (int i = thread; i < job.head_dim; i += kThreads) {
        if (has_changed) x[i] = row[i];
        store_value(cache, job.store_column + head * job.head_dim + i, row[i]);
    }
}

}  // namespace

Result<void> prepare_heads(const HeadsArgs& args, const StepTables& step, int tokens, Queue queue) {
    unsigned heads = 0;
    int widest = 0;
    for (int i = 0; i < args.job_count; ++i) {
        heads += static_cast<unsigned>(args.jobs[i].heads);
        widest = args.jobs[i].head_dim > widest ? args.jobs[i].head_dim : widest;
    }
    return launch(
        "prepare_heads",
        prepare_heads_kernel,
        {.grid = dim3(heads, static_cast<unsigned>(tokens)),
         .block = dim3(kThreads),
         .shared_bytes = sizeof(float) * static_cast<std::size_t>(kThreads / kWarpLanes + widest)},
        queue,
        args,
        step);
}

}  // namespace hearth::cuda

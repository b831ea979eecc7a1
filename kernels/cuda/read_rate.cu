#include <algorithm>
#include <chrono>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/read_rate.h"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWordsPerThread = 16;
constexpr int kSweeps = 5;

/// Reads 16 bytes a thread at a time, writes nothing that anybody wants; bound by memory.
__global__ void __launch_bounds__(kThreads)
    read_kernel(const uint4* words, std::int64_t count, unsigned* out) {
    wait_for_predecessor();
    const std::int64_t first = std::int64_t{blockIdx.x} * kThreads * kWordsPerThread +
                               static_cast<std::int64_t>(threadIdx.x);
    unsigned all = 0;
#pragma unroll
    for (int i = 0; i < kWordsPerThread; ++i) {
        const std::int64_t at = first + std::int64_t{i} * kThreads;
        if (at >= count) continue;
        const uint4 word = words[at];
        all |= word.x | word.y | word.z | word.w;
    }
    // The memory is zero, so that no thread writes; the compiler does not know.
    if (all != 0) *out = all;
}

}  // namespace

double measure_read_rate(std::int64_t bytes, cudaStream_t stream) {
    const std::int64_t count = std::max<std::int64_t>(bytes / 16, 1);
    auto memory = DeviceBuffer::make(count * 16, "a measurement");
    auto out = DeviceBuffer::make(sizeof(unsigned), "a measurement");
    if (!memory || !out) return 0.0;
    const auto size = static_cast<std::size_t>(count * 16);
    if (cudaMemsetAsync(memory->data(), 0, size, stream) != cudaSuccess) return 0.0;
    const auto* words = reinterpret_cast<const uint4*>(memory->data());
    auto* found = reinterpret_cast<unsigned*>(out->data());
    double best_s = 0.0;
    for (int sweep = 0; sweep <= kSweeps; ++sweep) {
        if (cudaStreamSynchronize(stream) != cudaSuccess) return 0.0;
        const auto begin = std::chrono::steady_clock::now();
        const auto launched = launch(
            "read",
            read_kernel,
            {.grid = dim3(blocks_for(count, kThreads * kWordsPerThread)), .block = dim3(kThreads)},
            stream,
            words,
            count,
            found);
        if (!launched || cudaStreamSynchronize(stream) != cudaSuccess) return 0.0;
        const double took_s =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        // The first sweep wakes the device.
        if (sweep > 0) best_s = sweep == 1 ? took_s : std::min(best_s, took_s);
    }
    return static_cast<double>(size) / std::max(best_s, 1e-9);
}

}  // namespace hearth::cuda

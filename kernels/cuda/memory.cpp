#include "kernels/cuda/memory.h"

#include "kernels/cuda/check.h"

namespace hearth::cuda {
namespace {

std::string mebibytes(std::int64_t bytes) {
    constexpr std::int64_t kMebibyte = 1 << 20;
    return std::to_string((bytes + kMebibyte - 1) / kMebibyte) + " MiB";
}

}  // namespace

Result<DeviceBuffer> DeviceBuffer::make(std::int64_t bytes, const std::string& purpose) {
    DeviceBuffer buffer;
    if (bytes == 0) return buffer;
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
    if (error == cudaErrorMemoryAllocation) {
        static_cast<void>(cudaGetLastError());
        std::size_t free_bytes = 0;
        std::size_t total_bytes = 0;
        HEARTH_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
        return fail(ErrorCode::out_of_memory,
                    "no device memory for " + purpose + ": " + mebibytes(bytes) + " wanted, " +
                        mebibytes(static_cast<std::int64_t>(free_bytes)) + " of " +
                        mebibytes(static_cast<std::int64_t>(total_bytes)) +
                        " free; use a smaller model, context or batch, or the cpu backend",
                    "cuda");
    }
    HEARTH_CHECK(check(error, "cudaMalloc", __FILE__, __LINE__));
    buffer.memory_.reset(static_cast<std::byte*>(memory));
    return buffer;
}

Result<PinnedBuffer> PinnedBuffer::make(std::int64_t bytes, const std::string& purpose) {
    PinnedBuffer buffer;
    if (bytes == 0) return buffer;
    void* memory = nullptr;
    if (cudaMallocHost(&memory, static_cast<std::size_t>(bytes)) != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return fail(ErrorCode::out_of_memory,
                    "no pinned host memory for " + purpose + " (" + mebibytes(bytes) +
                        "); close other programs, or raise the limit of locked memory",
                    "cuda");
    }
    buffer.memory_.reset(static_cast<std::byte*>(memory));
    return buffer;
}

Result<std::shared_ptr<Stream>> Stream::make() {
    auto stream = std::make_shared<Stream>();
    HEARTH_CUDA(cudaGetDevice(&stream->device_));
    HEARTH_CUDA(cudaStreamCreateWithFlags(&stream->stream_, cudaStreamNonBlocking));
    return stream;
}

Result<void> Stream::enter() const {
    return check(cudaSetDevice(device_), "cudaSetDevice", __FILE__, __LINE__);
}

Result<Event> Event::make() {
    cudaEvent_t event = nullptr;
    HEARTH_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    Event made;
    made.event_.reset(event);
    return made;
}

}  // namespace hearth::cuda

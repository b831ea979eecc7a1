// Shadows the CUDA Toolkit's header: the names that hearth's CUDA backend uses, on the SIMT machine
// of simt.h and the host's memory. "Device" memory is the host's heap, poisoned when taken, so that
// AddressSanitizer sees what a kernel touches beside it. A stream does nothing before somebody
// waits for it, so that host code which counts on an early result, or reuses what it sent, is found
// out; a captured graph is a list of closures. Static shared memory is left out on purpose: what a
// kernel shares is launched with it, bounded and poisoned.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/compute/half.h"
#include "tests/kernels/cuda/emulated/simt.h"

// NOLINTBEGIN(readability-identifier-naming): the names are the toolkit's
#define __global__ inline
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) {
    return {x, y};
}

// --- what device code calls ---

inline void __syncthreads(std::source_location place = std::source_location::current()) {
    hearth::simt::sync_block(place);
}
inline void __syncwarp(unsigned /*mask*/ = ~0U,
                       std::source_location place = std::source_location::current()) {
    hearth::simt::exchange("", 1, place);
}
template <typename T>
T __shfl_xor_sync(unsigned /*mask*/,
                  T value,
                  int lane_mask,
                  int /*width*/ = 32,
                  std::source_location place = std::source_location::current()) {
    return hearth::simt::value_of_lane(
        value, static_cast<int>(threadIdx.x % 32) ^ lane_mask, place);
}
template <typename T>
T __shfl_sync(unsigned /*mask*/,
              T value,
              int lane,
              int /*width*/ = 32,
              std::source_location place = std::source_location::current()) {
    return hearth::simt::value_of_lane(value, lane & 31, place);
}
inline unsigned __ballot_sync(unsigned /*mask*/,
                              int predicate,
                              std::source_location place = std::source_location::current()) {
    const std::byte* all = hearth::simt::exchange(&predicate, sizeof(predicate), place);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
        int value = 0;
        std::memcpy(&value, all + lane * hearth::simt::kLaneBytes, sizeof(value));
        bits |= (value != 0 ? 1U : 0U) << lane;
    }
    return bits;
}

template <typename T>
T atomicAdd(T* address, T value) {
    return std::exchange(*address, static_cast<T>(*address + value));
}

inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) {
        c += static_cast<int>(static_cast<std::int8_t>(a >> i)) *
             static_cast<int>(static_cast<std::int8_t>(b >> i));
    }
    return c;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const std::uint64_t bytes = (std::uint64_t{y} << 32) | x;
    unsigned out = 0;
    for (unsigned i = 0; i < 4; ++i) {
        out |= static_cast<unsigned>((bytes >> (8 * ((selector >> (4 * i)) & 7))) & 0xFF)
               << (8 * i);
    }
    return out;
}
inline float __fmaf_rn(float a, float b, float c) {
    return std::fma(a, b, c);
}
inline int __float2int_rn(float x) {
    return std::isnan(x) ? 0 : static_cast<int>(std::nearbyint(x));
}
inline unsigned __float_as_uint(float x) {
    return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
    return std::bit_cast<float>(x);
}
inline void __threadfence() {}
template <typename T>
T __ldcg(const T* address) {
    return *address;
}
template <typename T>
T __ldg(const T* address) {
    return *address;
}

// --- what host code calls ---

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorECCUncorrectable = 214,
    cudaErrorNvlinkUncorrectable = 220,
    cudaErrorContained = 226,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchTimeout = 702,
    cudaErrorAssert = 710,
    cudaErrorHardwareStackError = 714,
    cudaErrorIllegalInstruction = 715,
    cudaErrorMisalignedAddress = 716,
    cudaErrorInvalidAddressSpace = 717,
    cudaErrorInvalidPc = 718,
    cudaErrorLaunchFailure = 719,
    cudaErrorTensorMemoryLeak = 721,
    cudaErrorMpsClientTerminated = 810,
    cudaErrorExternalDevice = 911,
};
inline const char* cudaGetErrorName(cudaError_t error) {
    return error == cudaSuccess ? "cudaSuccess" : "cudaErrorEmulated";
}
inline const char* cudaGetErrorString(cudaError_t /*error*/) {
    return "an emulated error";
}

#define CUDART_VERSION 13000

namespace hearth::simt {
struct OtherGpu {
    std::string name;
    int major = 0, minor = 0;
    std::size_t memory_bytes = 0;
};
/// What the tests set and look at.
struct EmulatedDevice {
    std::size_t memory_bytes = std::size_t{1} << 30;
    std::size_t used_bytes = 0;
    std::size_t pinned_bytes_max = ~std::size_t{0};  ///< of one piece of the host's memory
    std::size_t launches = 0;                        ///< kernels run so far
    std::size_t graph_launches = 0;
    int major = 9, minor = 0;
    int code = 0;  ///< the capability that kernels were compiled for; 0: the device's
    bool is_there = true;
    std::vector<OtherGpu> others = {};    ///< behind it; nothing runs on them
    int driver_version = CUDART_VERSION;  ///< 0: no driver
    int shared_bytes = 227 * 1024;  ///< that a block may have, where its kernel asked for them
    cudaError_t wait_error = cudaSuccess;         ///< of waiting for a stream or an event
    cudaError_t capture_error = cudaSuccess;      ///< of the end of a capture
    cudaError_t instantiate_error = cudaSuccess;  ///< of graphs
    cudaError_t copy_2d_error = cudaSuccess;
    /// Calls of cudaMalloc, cudaMallocHost or cudaGraphLaunch until one throws std::bad_alloc, as
    /// host code does where its memory ends; 0: none does.
    int calls_until_bad_alloc = 0;
};
inline EmulatedDevice device;
inline void throw_when_due() {
    if (device.calls_until_bad_alloc > 0 && --device.calls_until_bad_alloc == 0) {
        throw std::bad_alloc();
    }
}
inline std::map<void*, int> shared_bytes_of;  ///< kernels that asked for more than 48 KiB

struct Graph {
    std::vector<std::function<void()>> steps;
};
struct Stream {
    std::unique_ptr<Graph> captured;  ///< set while capturing
    std::deque<std::function<void()>> queued;
};
struct Event {
    Stream* stream = nullptr;
    std::shared_ptr<bool> is_reached = std::make_shared<bool>(true);
};
inline std::vector<Stream*> streams;

inline void submit(Stream* stream, std::function<void()> step) {
    if (stream == nullptr) {
        step();
    } else if (stream->captured) {
        stream->captured->steps.push_back(std::move(step));
    } else {
        stream->queued.push_back(std::move(step));
    }
}
/// Runs what is queued until `is_reached` is set; without it all.
inline void advance(Stream* stream, const bool* is_reached = nullptr) {
    while (!stream->queued.empty() && (is_reached == nullptr || !*is_reached)) {
        const auto step = std::move(stream->queued.front());
        stream->queued.pop_front();
        step();
    }
}
}  // namespace hearth::simt

using cudaStream_t = hearth::simt::Stream*;
using cudaEvent_t = hearth::simt::Event*;
using cudaGraph_t = hearth::simt::Graph*;
using cudaGraphExec_t = hearth::simt::Graph*;

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize,
    cudaFuncAttributePreferredSharedMemoryCarveout
};
inline constexpr int cudaSharedmemCarveoutMaxShared = 100;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;

struct cudaDeviceProp {
    char name[256];
    int major, minor;
    std::size_t totalGlobalMem;
    int multiProcessorCount;
};
struct cudaFuncAttributes {
    int ptxVersion;
};
enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization };
struct cudaLaunchAttribute {
    cudaLaunchAttributeID id;
    struct {
        int programmaticStreamSerializationAllowed;
    } val;
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    std::size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute* attrs;
    unsigned numAttrs;
};

// Each allocation carries its size in front.
inline cudaError_t cudaMalloc(void** out, std::size_t bytes) {
    hearth::simt::throw_when_due();
    constexpr std::size_t kFront = 256;
    auto& device = hearth::simt::device;
    if (device.used_bytes + bytes > device.memory_bytes) return cudaErrorMemoryAllocation;
    auto* memory = static_cast<std::byte*>(
        std::aligned_alloc(kFront, (bytes + 2 * kFront - 1) / kFront * kFront));
    if (memory == nullptr) return cudaErrorMemoryAllocation;
    std::memset(memory, 0xFF, kFront + bytes);
    std::memcpy(memory, &bytes, sizeof(bytes));
    device.used_bytes += bytes;
    *out = memory + kFront;
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) {
    if (pointer == nullptr) return cudaSuccess;
    for (hearth::simt::Stream* stream : hearth::simt::streams) {
        hearth::simt::advance(stream);
    }
    std::byte* memory = static_cast<std::byte*>(pointer) - 256;
    std::size_t bytes = 0;
    std::memcpy(&bytes, memory, sizeof(bytes));
    hearth::simt::device.used_bytes -= bytes;
    std::free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** out, std::size_t bytes) {
    hearth::simt::throw_when_due();
    if (bytes > hearth::simt::device.pinned_bytes_max) return cudaErrorMemoryAllocation;
    *out = std::malloc(bytes);
    return *out == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* pointer) {
    for (hearth::simt::Stream* stream : hearth::simt::streams) {
        hearth::simt::advance(stream);
    }
    std::free(pointer);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(
    void* to, const void* from, std::size_t bytes, cudaMemcpyKind /*kind*/, cudaStream_t stream) {
    hearth::simt::submit(stream, [=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
inline cudaError_t cudaMemcpy2DAsync(void* to,
                                     std::size_t to_pitch,
                                     const void* from,
                                     std::size_t from_pitch,
                                     std::size_t width,
                                     std::size_t height,
                                     cudaMemcpyKind /*kind*/,
                                     cudaStream_t stream) {
    if (hearth::simt::device.copy_2d_error != cudaSuccess) {
        return hearth::simt::device.copy_2d_error;
    }
    hearth::simt::submit(stream, [=] {
        for (std::size_t row = 0; row < height; ++row) {
            std::memcpy(static_cast<std::byte*>(to) + row * to_pitch,
                        static_cast<const std::byte*>(from) + row * from_pitch,
                        width);
        }
    });
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    hearth::simt::submit(stream, [=] { std::memset(to, value, bytes); });
    return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
    *total_bytes = hearth::simt::device.memory_bytes;
    *free_bytes = *total_bytes - hearth::simt::device.used_bytes;
    return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
    *stream = new hearth::simt::Stream;
    hearth::simt::streams.push_back(*stream);
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    hearth::simt::advance(stream);
    return hearth::simt::device.wait_error;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    hearth::simt::advance(stream);
    std::erase(hearth::simt::streams, stream);
    delete stream;
    return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned /*flags*/) {
    *event = new hearth::simt::Event;
    return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->stream = stream;
    event->is_reached = std::make_shared<bool>(false);
    hearth::simt::submit(stream, [is_reached = event->is_reached] { *is_reached = true; });
    return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (event->stream != nullptr) hearth::simt::advance(event->stream, event->is_reached.get());
    return hearth::simt::device.wait_error;
}
/// Each question lets the event's stream do one piece of its work, so that the host sees what is
/// under way in every state.
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (*event->is_reached) return cudaSuccess;
    const auto step = std::move(event->stream->queued.front());
    event->stream->queued.pop_front();
    step();
    return *event->is_reached ? cudaSuccess : cudaErrorNotReady;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
    hearth::simt::submit(stream, [from = event->stream, is_reached = event->is_reached] {
        hearth::simt::advance(from, is_reached.get());
    });
    return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
    stream->captured = std::make_unique<hearth::simt::Graph>();
    return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const std::unique_ptr<hearth::simt::Graph> captured = std::move(stream->captured);
    *graph = nullptr;
    if (hearth::simt::device.capture_error != cudaSuccess)
        return hearth::simt::device.capture_error;
    *graph = new hearth::simt::Graph(*captured);
    return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec,
                                        cudaGraph_t graph,
                                        unsigned long long) {
    if (hearth::simt::device.instantiate_error != cudaSuccess) {
        return hearth::simt::device.instantiate_error;
    }
    *exec = new hearth::simt::Graph(*graph);
    return cudaSuccess;
}
inline cudaError_t cudaGraphGetNodes(cudaGraph_t graph, void* /*nodes*/, std::size_t* count) {
    *count = graph->steps.size();
    return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    return cudaGraphDestroy(graph);
}
inline cudaError_t cudaGraphUpload(cudaGraphExec_t /*graph*/, cudaStream_t /*stream*/) {
    return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    hearth::simt::throw_when_due();
    ++hearth::simt::device.graph_launches;
    hearth::simt::submit(stream, [graph] {
        for (const auto& step : graph->steps) {
            step();
        }
    });
    return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
    const auto& device = hearth::simt::device;
    *count = 0;
    if (device.driver_version < CUDART_VERSION) return cudaErrorInsufficientDriver;
    if (!device.is_there) return cudaErrorNoDevice;
    *count = 1 + static_cast<int>(device.others.size());
    return cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
    const auto& device = hearth::simt::device;
    const hearth::simt::OtherGpu gpu =
        index == 0
            ? hearth::simt::OtherGpu{"emulated", device.major, device.minor, device.memory_bytes}
            : device.others.at(static_cast<std::size_t>(index) - 1);
    *properties = {};
    std::strcpy(properties->name, gpu.name.c_str());
    properties->major = gpu.major;
    properties->minor = gpu.minor;
    properties->totalGlobalMem = gpu.memory_bytes;
    properties->multiProcessorCount = 1;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
    const bool is_there = device <= static_cast<int>(hearth::simt::device.others.size());
    return is_there ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int /*device*/) {
    *value = name == cudaDevAttrMultiProcessorCount ? 1 : hearth::simt::device.shared_bytes;
    return cudaSuccess;
}
inline cudaError_t cudaGetLastError() {
    return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
    *version = hearth::simt::device.driver_version;
    return cudaSuccess;
}
template <typename... Expected>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*)(Expected...)) {
    const auto& device = hearth::simt::device;
    const int capability = 10 * device.major + device.minor;
    attributes->ptxVersion = device.code == 0 ? capability : device.code;
    return cudaSuccess;
}
template <typename... Expected>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Expected...), cudaFuncAttribute name, int bytes) {
    if (name == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (bytes > hearth::simt::device.shared_bytes) return cudaErrorInvalidValue;
    hearth::simt::shared_bytes_of[reinterpret_cast<void*>(kernel)] = bytes;
    return cudaSuccess;
}

/// Beyond 48 KiB of shared memory a kernel has to be told first.
template <typename... Expected, typename... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Expected...),
                               Actual&&... arguments) {
    const dim3 grid = config->gridDim;
    const std::size_t shared_bytes = config->dynamicSmemBytes;
    const auto asked = hearth::simt::shared_bytes_of.find(reinterpret_cast<void*>(kernel));
    const int granted = asked == hearth::simt::shared_bytes_of.end() ? 48 * 1024 : asked->second;
    const bool is_sound = grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.y < 65536 &&
                          grid.z < 65536 && shared_bytes <= static_cast<std::size_t>(granted);
    if (!is_sound) return cudaErrorInvalidValue;
    hearth::simt::submit(config->stream,
                         [kernel,
                          grid,
                          shared_bytes,
                          block = config->blockDim,
                          all = std::tuple<Expected...>(std::forward<Actual>(arguments)...)] {
                             ++hearth::simt::device.launches;
                             hearth::simt::run_grid(
                                 grid, block, shared_bytes, [&] { std::apply(kernel, all); });
                         });
    return cudaSuccess;
}
// NOLINTEND(readability-identifier-naming)

#include "tests/kernels/cuda/emulated/mma_float.h"

// What device code needs beside plain C++: halves, warp and block sums, the block's shared memory
// and the tensor cores' integer product. Compiled by nvcc for the device, and by the host's
// compiler with the tests' emulation of the CUDA runtime in front; only here do the two differ.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace hearth::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

#if defined(__CUDACC__)
extern __shared__ __align__(16) unsigned char hearth_shared_bytes[];

__device__ __forceinline__ void* block_memory() {
    return hearth_shared_bytes;
}
__device__ __forceinline__ float half_to_float(std::uint16_t bits) {
    return __half2float(__ushort_as_half(bits));
}
__device__ __forceinline__ std::uint16_t float_to_half(float value) {
    return __half_as_ushort(__float2half_rn(value));
}

/// The first statement of every kernel, in all its threads: waits until the kernel before has
/// ended, where this one was started early (launch.cuh), and lets the next one start early. Nothing
/// a kernel before has written may be touched in front of it, and no thread may leave in front of
/// it: the kernel after relies on this one having waited.
__device__ __forceinline__ void wait_for_predecessor() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Asks for memory that is read soon, to have it in L2 by then. Whole pieces of 16 bytes; nothing
/// on devices before 9.0, whose latency fewer loads under way cover.
__device__ __forceinline__ void prefetch(const void* from, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(from)),
                 "r"(bytes)
                 : "memory");
#endif
}

/// c += a * b for 16 x 32 and 32 x 8 signed bytes. Lane 4 g + t holds rows g and g + 8 of `a` (a0,
/// a1: columns 4 t..; a2, a3: 16 + 4 t..), column g of `b` likewise, and of `c` rows g (c0, c1) and
/// g + 8 (c2, c3), columns 2 t and 2 t + 1.
__device__ __forceinline__ void mma_s8(int (&c)[4], const int (&a)[4], const int (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    // Turing multiplies 8 x 16 and 16 x 8.
    for (int half = 0; half < 2; ++half) {
        asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+r"(c[0]), "+r"(c[1])
            : "r"(a[2 * half]), "r"(b[half]));
        asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+r"(c[2]), "+r"(c[3])
            : "r"(a[2 * half + 1]), "r"(b[half]));
    }
#endif
}
#else
inline void wait_for_predecessor() {}
inline void prefetch(const void* from, unsigned bytes) {
    simt::check_prefetch(from, bytes);
}
inline void* block_memory() {
    return simt::shared_memory();
}
inline float half_to_float(std::uint16_t bits) {
    return compute::half_to_float(bits);
}
inline std::uint16_t float_to_half(float value) {
    return compute::float_to_half(value);
}
inline void mma_s8(int (&c)[4], const int (&a)[4], const int (&b)[2]) {
    simt::mma_s8(c, a, b);
}
#endif

__device__ __forceinline__ float bf16_to_float(std::uint16_t bits) {
    return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

template <typename T>
__device__ __forceinline__ T smaller(T a, T b) {
    return a < b ? a : b;
}
template <typename T>
__device__ __forceinline__ T larger(T a, T b) {
    return a < b ? b : a;
}

__device__ __forceinline__ int warp_lane() {
    return static_cast<int>(threadIdx.x) % kWarpLanes;
}
__device__ __forceinline__ int warp_of_block() {
    return static_cast<int>(threadIdx.x) / kWarpLanes;
}

/// The sum over `lanes` neighbouring lanes (a power of two), the same in all of them.
__device__ __forceinline__ float lane_sum(float value, int lanes = kWarpLanes) {
    for (int step = lanes / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(kAllLanes, value, step);
    }
    return value;
}
__device__ __forceinline__ int lane_sum(int value) {
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(kAllLanes, value, step);
    }
    return value;
}
__device__ __forceinline__ unsigned lane_max(unsigned value) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800
    return __reduce_max_sync(kAllLanes, value);
#else
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        value = larger(value, __shfl_xor_sync(kAllLanes, value, step));
    }
    return value;
#endif
}
__device__ __forceinline__ float lane_max(float value) {
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(kAllLanes, value, step);
        value = other > value ? other : value;
    }
    return value;
}

/// The sum over the block, the same in all threads.   sums   a float per warp, shared
__device__ __forceinline__ float block_sum(float value, float* sums) {
    const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
    value = lane_sum(value);
    if (warps == 1) return value;
    __syncthreads();
    if (warp_lane() == 0) sums[warp_of_block()] = value;
    __syncthreads();
    float total = 0.0F;
    for (int warp = 0; warp < warps; ++warp) {
        total += sums[warp];
    }
    return total;
}

__device__ __forceinline__ float silu(float x) {
    return x / (1.0F + expf(-x));
}

}  // namespace hearth::cuda

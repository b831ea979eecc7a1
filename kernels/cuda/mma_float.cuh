// The tensor cores' product of 16-bit floats, and floats packed into pairs of them.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matrix.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#endif

namespace hearth::cuda {

#if defined(__CUDACC__)
/// c += a * b for 16 x 16 and 16 x 8 values in pairs, the first one in the low half of a word. Lane
/// 4 g + t holds rows g and g + 8 of `a` (a0, a1: columns 2 t..; a2, a3: 8 + 2 t..), column g of
/// `b` likewise, and of `c` rows g (c0, c1) and g + 8 (c2, c3), columns 2 t and 2 t + 1. Each
/// result depends on its own row and column only.
template <Format kFormat>
__device__ __forceinline__ void mma_halves(float (&c)[4],
                                           const unsigned (&a)[4],
                                           const unsigned (&b)[2]) {
    static_assert(kFormat == Format::f16 || kFormat == Format::bf16);
#if __CUDA_ARCH__ >= 800
    if constexpr (kFormat == Format::f16) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
#else
    if constexpr (kFormat == Format::f16) {
        // Turing multiplies 16 x 8 and 8 x 8.
        for (int half = 0; half < 2; ++half) {
            asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
        }
    } else {
        __trap();  // Turing has no product of BF16: Queue::has_bf16 keeps such kernels from it
    }
#endif
}

template <Format kFormat>
__device__ __forceinline__ unsigned pack_halves(float low, float high) {
    if constexpr (kFormat == Format::f16) {
        const __half2 pair = __floats2half2_rn(low, high);
        return *reinterpret_cast<const unsigned*>(&pair);
    } else {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
        return *reinterpret_cast<const unsigned*>(&pair);
    }
}
#else
template <Format kFormat>
void mma_halves(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    simt::mma_halves(c, a, b, kFormat == Format::bf16);
}
template <Format kFormat>
unsigned pack_halves(float low, float high) {
    const auto bits = [](float value) -> unsigned {
        return kFormat == Format::f16 ? compute::float_to_half(value)
                                      : compute::float_to_bf16(value);
    };
    return bits(low) | (bits(high) << 16);
}
#endif

/// The float in the low (0) or high (1) half of a word.
template <Format kFormat>
__device__ __forceinline__ float unpack_half(unsigned word, int which) {
    const auto bits = static_cast<std::uint16_t>(word >> (16 * which));
    return kFormat == Format::f16 ? half_to_float(bits) : bf16_to_float(bits);
}

}  // namespace hearth::cuda

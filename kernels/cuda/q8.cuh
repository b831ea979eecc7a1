// Rounding of activations to bytes in blocks of 32, by a warp or by eight lanes: the same bits
// either way.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matrix.h"

namespace hearth::cuda {

/// How values are rounded to bytes whose largest magnitude has these bits. As bits, so that NaN
/// counts as the largest: what is no finite number makes the block's scale so, and with it every
/// product; it is never lost.
struct Q8Step {
    float d, inverse;
    bool is_finite;

    [[nodiscard]] __device__ __forceinline__ int quant(float value) const {
        return is_finite ? __float2int_rn(value * inverse) : 0;
    }
};
__device__ __forceinline__ Q8Step q8_step(unsigned largest) {
    return {__uint_as_float(largest) / 127.0F,
            largest == 0 ? 0.0F : 127.0F / __uint_as_float(largest),
            largest < 0x7F800000U};
}

/// Rounds 32 neighbouring values, one in each lane of a warp, to bytes.
struct Q8Lane {
    std::int8_t quant;
    Q8Scale scale;  ///< the same in all lanes
};
__device__ __forceinline__ Q8Lane quantise_lane(float value) {
    const Q8Step step = q8_step(lane_max(__float_as_uint(value) & 0x7FFFFFFFU));
    const int quant = step.quant(value);
    return {static_cast<std::int8_t>(quant), {step.d, lane_sum(quant)}};
}

/// The same of neighbouring values, four in each lane: eight lanes hold a block.
struct Q8Four {
    int quants;
    Q8Scale scale;  ///< the same in all eight lanes
};
__device__ __forceinline__ Q8Four quantise_four(const float4& values) {
    const float all[4] = {values.x, values.y, values.z, values.w};
    constexpr int kLanes = kChunkWeights / 4;
    unsigned largest = 0;
#pragma unroll
    for (const float value : all) {
        largest = larger(largest, __float_as_uint(value) & 0x7FFFFFFFU);
    }
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) {
        largest = larger(largest, __shfl_xor_sync(kAllLanes, largest, step));
    }
    const Q8Step step = q8_step(largest);
    unsigned quants = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        quants |= (static_cast<unsigned>(step.quant(all[i])) & 0xFFU) << (8 * i);
    }
    int sum = __dp4a(static_cast<int>(quants), 0x01010101, 0);
#pragma unroll
    for (int other = kLanes / 2; other > 0; other /= 2) {
        sum += __shfl_xor_sync(kAllLanes, sum, other);
    }
    return {static_cast<int>(quants), {step.d, sum}};
}

/// Writes a block of 32 rounded values: `row` of `out`, columns from 32 * block.
__device__ __forceinline__ void store_q8(const Q8Rows& out,
                                         std::int64_t row,
                                         int block,
                                         float value) {
    const Q8Lane lane = quantise_lane(value);
    out.quants[row * out.columns + block * kChunkWeights + warp_lane()] = lane.quant;
    if (warp_lane() == 0) out.scales[row * (out.columns / kChunkWeights) + block] = lane.scale;
}

}  // namespace hearth::cuda

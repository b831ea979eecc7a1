// The root mean square norm of a row by one block, and the rotation of a pair: what several kernels
// do alike. A kernel that norms its own input gives the bits of rms_norm, because both add the
// squares in the order of kNormThreads threads.
#pragma once

#include "kernels/cuda/chunk.cuh"

namespace hearth::cuda {

inline constexpr int kNormThreads = 256;
inline constexpr int kNormWarps = kNormThreads / kWarpLanes;

/// 1 / rms(x), the same in all threads of the block, which all call it.
///   sums   a float per warp, shared
__device__ __forceinline__ float rms_factor(const float* x, int dim, float epsilon, float* sums) {
    float squares = 0.0F;
    for (int i = static_cast<int>(threadIdx.x); i < dim; i += static_cast<int>(blockDim.x)) {
        squares = __fmaf_rn(x[i], x[i], squares);
    }
    return 1.0F / sqrtf(block_sum(squares, sums) / static_cast<float>(dim) + epsilon);
}

/// Shared memory of norm_to_q8 and norm_to_floats.
inline std::size_t norm_q8_bytes(const NormInput& in) {
    const auto dim = static_cast<std::size_t>(in.dim);
    return in.x == nullptr
               ? 0
               : kNormWarps * sizeof(float) + dim + dim / kChunkWeights * sizeof(Q8Scale);
}
inline std::size_t norm_floats_bytes(const NormInput& in) {
    return in.x == nullptr ? 0 : (kNormWarps + static_cast<std::size_t>(in.dim)) * sizeof(float);
}

/// A block of kNormThreads norms and rounds a row for itself. Reads 8 bytes a column, from L2.
///   shared   norm_q8_bytes, aligned to 16
__device__ __forceinline__ Q8Rows norm_to_q8(const NormInput& in, void* shared) {
    auto* sums = static_cast<float*>(shared);
    auto* quants = reinterpret_cast<std::int8_t*>(sums + kNormWarps);
    const Q8Rows out{quants, reinterpret_cast<Q8Scale*>(quants + in.dim), in.dim};
    const float factor = rms_factor(in.x, in.dim, in.epsilon, sums);
    // Whole warps: the columns are a multiple of 32.
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < in.dim; i += kNormThreads) {
        store_q8(out, 0, i / kChunkWeights, in.x[i] * factor * in.weight[i]);
    }
    __syncthreads();
    return out;
}

/// The same without rounding.   shared   norm_floats_bytes, aligned to 16
__device__ __forceinline__ const float* norm_to_floats(const NormInput& in, void* shared) {
    auto* sums = static_cast<float*>(shared);
    float* out = sums + kNormWarps;
    const float factor = rms_factor(in.x, in.dim, in.epsilon, sums);
    for (int i = static_cast<int>(threadIdx.x); i < in.dim; i += kNormThreads) {
        out[i] = in.x[i] * factor * in.weight[i];
    }
    __syncthreads();
    return out;
}

/// Turns pair `i` of `pairs` of some columns by an angle's cosine and sine.
__device__ __forceinline__ void rotate_pair(
    float* columns, int i, int pairs, bool is_interleaved, float2 angle) {
    float& a = columns[is_interleaved ? 2 * i : i];
    float& b = columns[is_interleaved ? 2 * i + 1 : i + pairs];
    const float rotated = a * angle.x - b * angle.y;
    b = a * angle.y + b * angle.x;
    a = rotated;
}

}  // namespace hearth::cuda

// The root mean square norm of a row by one block, and the rotation of a pair: what several kernels
// do alike. A kernel that norms its own input gives the bits of rms_norm, because both add the
// squares in one order: thread t takes columns 4 t to 4 t + 3 of each stretch.
#pragma once

#include "kernels/cuda/chunk.cuh"

namespace hearth::cuda {

inline constexpr int kNormThreads = 256;
inline constexpr int kNormWarps = kNormThreads / kWarpLanes;

__device__ __forceinline__ float add_squares(const float4& four, float sum) {
    sum = __fmaf_rn(four.x, four.x, sum);
    sum = __fmaf_rn(four.y, four.y, sum);
    sum = __fmaf_rn(four.z, four.z, sum);
    return __fmaf_rn(four.w, four.w, sum);
}

__device__ __forceinline__ float rms_factor_of(float squares, int dim, float epsilon) {
    return 1.0F / sqrtf(squares / static_cast<float>(dim) + epsilon);
}

/// 1 / rms(x), the same in all threads of the block, which all call it. A stretch is four columns a
/// thread; threads beyond the row change no bit.
///   sums   a float per warp, shared
__device__ __forceinline__ float rms_factor(const float* x, int dim, float epsilon, float* sums) {
    float squares = 0.0F;
    const bool is_whole = dim % 4 == 0 && is_aligned(x);
    for (int i = 4 * static_cast<int>(threadIdx.x); i < dim;
         i += 4 * static_cast<int>(blockDim.x)) {
        if (is_whole) {
            squares = add_squares(*reinterpret_cast<const float4*>(x + i), squares);
            continue;
        }
        for (int k = i; k < smaller(i + 4, dim); ++k) {
            squares = __fmaf_rn(x[k], x[k], squares);
        }
    }
    return rms_factor_of(block_sum(squares, sums), dim, epsilon);
}

/// The columns of a NormInput that a thread of a block of kNormThreads norms, all under way at
/// once.
class NormColumns {
  public:
    static constexpr int kStretch = 4 * kNormThreads;
    static constexpr int kStretches = kNormInputMax / kStretch;

    __device__ __forceinline__ explicit NormColumns(const NormInput& in) {
#pragma unroll
        for (int s = 0; s < kStretches; ++s) {
            x_[s] = weight_[s] = {0.0F, 0.0F, 0.0F, 0.0F};
            if (first(s) >= in.dim) continue;
            x_[s] = *reinterpret_cast<const float4*>(in.x + first(s));
            weight_[s] = load<float4>(in.weight + first(s));
        }
    }
    /// Of stretch `s`; beyond the row the values are zeros.
    static __device__ __forceinline__ int first(int s) {
        return s * kStretch + 4 * static_cast<int>(threadIdx.x);
    }
    /// 1 / rms(x).   sums   kNormWarps floats, shared, aligned to 16; not in use before
    __device__ __forceinline__ float factor(const NormInput& in, float* sums) const {
        float squares = 0.0F;
#pragma unroll
        for (const float4& four : x_) {
            squares = add_squares(four, squares);
        }
        squares = lane_sum(squares);
        if (warp_lane() == 0) sums[warp_of_block()] = squares;
        __syncthreads();
        float total = 0.0F;
#pragma unroll
        for (int warp = 0; warp < kNormWarps; warp += 4) {
            const float4 four = *reinterpret_cast<const float4*>(sums + warp);
            total = (((total + four.x) + four.y) + four.z) + four.w;
        }
        return rms_factor_of(total, in.dim, in.epsilon);
    }
    [[nodiscard]] __device__ __forceinline__ float4 normed(int s, float factor) const {
        return {x_[s].x * factor * weight_[s].x,
                x_[s].y * factor * weight_[s].y,
                x_[s].z * factor * weight_[s].z,
                x_[s].w * factor * weight_[s].w};
    }

  private:
    float4 x_[kStretches], weight_[kStretches];
};

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
    const NormColumns columns(in);
    const float factor = columns.factor(in, sums);
#pragma unroll
    for (int s = 0; s < NormColumns::kStretches; ++s) {
        if (s * NormColumns::kStretch >= in.dim) break;
        const Q8Four four = quantise_four(columns.normed(s, factor));
        const int first = NormColumns::first(s);
        if (first >= in.dim) continue;
        *reinterpret_cast<int*>(quants + first) = four.quants;
        if (first % kChunkWeights == 0) out.scales[first / kChunkWeights] = four.scale;
    }
    __syncthreads();
    return out;
}

/// The same without rounding.   shared   norm_floats_bytes, aligned to 16
__device__ __forceinline__ const float* norm_to_floats(const NormInput& in, void* shared) {
    auto* sums = static_cast<float*>(shared);
    float* out = sums + kNormWarps;
    const NormColumns columns(in);
    const float factor = columns.factor(in, sums);
#pragma unroll
    for (int s = 0; s < NormColumns::kStretches; ++s) {
        const int first = NormColumns::first(s);
        if (first < in.dim) *reinterpret_cast<float4*>(out + first) = columns.normed(s, factor);
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

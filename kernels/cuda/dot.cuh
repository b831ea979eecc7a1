// Dot products of weight rows by one warp or by the lanes of a part of it.
#pragma once

#include "kernels/cuda/chunk.cuh"

namespace hearth::cuda {

/// What the product of half a chunk begins with, so that Q6_K's quants need not be centred: minus
/// what they are too large by times the activations, once for all rows.
template <Format kFormat>
__device__ __forceinline__ int begin_of_product(const int (&x)[4]) {
    int sum = 0;
    if constexpr (kFormat == Format::q6_k) {
#pragma unroll
        for (const int word : x) {
            sum = __dp4a(word, 0x01010101, sum);
        }
    }
    return -kOffsetQ6K * sum;
}

/// The activations of a chunk.
struct ChunkOfX {
    int low[4], high[4];  ///< its halves
    Q8Scale scale;

    __device__ __forceinline__ void read(const std::int8_t* x, const Q8Scale* scales, int chunk) {
        const auto* words = reinterpret_cast<const int4*>(x + chunk * kChunkWeights);
        take(words[0], low);
        take(words[1], high);
        scale = scales[chunk];
    }

  private:
    static __device__ __forceinline__ void take(const int4& words, int (&out)[4]) {
        out[0] = words.x;
        out[1] = words.y;
        out[2] = words.z;
        out[3] = words.w;
    }
};

/// One lane's part of `kRows` dot products: chunks lane, lane + lanes, ... of rows from `row` on;
/// the rows beyond `row_last` repeat it. Reads each row's bytes once, the activations once for all
/// rows.
///   x, scales   of one token
template <Format kFormat, int kRows>
__device__ __forceinline__ void add_row_dots(const Matrix& m,
                                             int row,
                                             int row_last,
                                             const std::int8_t* x,
                                             const Q8Scale* scales,
                                             int lane,
                                             int lanes,
                                             float (&sums)[kRows]) {
    const int chunks = m.columns / kChunkWeights;
    constexpr int kAhead = kRows == 1 ? 2 : 1;  // chunks of a row that are under way at once
    for (int first = lane; first < chunks; first += kAhead * lanes) {
        ChunkOfX inputs[kAhead];
        RawChunk<kFormat> raw[kAhead][kRows];
        ChunkScales weights[kAhead][kRows];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const int chunk = smaller(first + k * lanes, chunks - 1);
            inputs[k].read(x, scales, chunk);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const int index = smaller(row + r, row_last) * chunks + chunk;
                raw[k][r].read(m, index);
                weights[k][r] = load_scales<kFormat>(m, index);
            }
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            // No branch: the compiler would move the loads behind it.
            const bool is_there = first + k * lanes < chunks;
            const ChunkOfX& in = inputs[k];
            const int low_begin = begin_of_product<kFormat>(in.low);
            const int high_begin = begin_of_product<kFormat>(in.high);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                int low = low_begin;
                int high = high_begin;
#pragma unroll
                for (int t = 0; t < 4; ++t) {
                    const WordPair bits = raw[k][r].bits(t);
                    low = __dp4a(bits.low, in.low[t], low);
                    high = __dp4a(bits.high, in.high[t], high);
                }
                const float sum = add_chunk<kFormat>(sums[r], weights[k][r], in.scale, low, high);
                sums[r] = is_there ? sum : sums[r];
            }
        }
    }
}

/// Lanes that share a row: as many as it has chunks, up to a warp. More would only add zeros.
inline int lanes_for(std::int64_t chunks) {
    int lanes = 1;
    while (lanes < kWarpLanes && lanes < chunks) {
        lanes *= 2;
    }
    return lanes;
}

/// Adds the products of `kCount` weights in order.
template <int kCount>
__device__ __forceinline__ float add_products(const float (&weights)[kCount],
                                              const float* x,
                                              float sum) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(x + i);
        sum = __fmaf_rn(weights[i], four.x, sum);
        sum = __fmaf_rn(weights[i + 1], four.y, sum);
        sum = __fmaf_rn(weights[i + 2], four.z, sum);
        sum = __fmaf_rn(weights[i + 3], four.w, sum);
    }
    return sum;
}

/// One lane's part of a row of whole pieces with one row of aligned floats: the order of
/// add_float_dots, with the loads of several pieces under way at once.
template <Format kFormat>
__device__ __forceinline__ float add_whole_floats(
    const Matrix& m, std::int64_t row, const float* x, int lane, int lanes, float sum) {
    constexpr int kAhead = 4;
    constexpr int kCount = kFloatChunk<kFormat>;
    const int chunks = m.columns / kCount;
    for (int first = lane; first < chunks; first += kAhead * lanes) {
        float weights[kAhead][kCount];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const int chunk = smaller(first + k * lanes, chunks - 1);
            read_floats<kFormat>(m, row * m.columns + chunk * kCount, weights[k]);
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const int chunk = first + k * lanes;
            if (chunk < chunks) sum = add_products(weights[k], x + chunk * kCount, sum);
        }
    }
    return sum;
}

/// One lane's part of the dot products of a weight row with `kTokens` rows of floats.
///   x   kTokens pointers to `columns` floats
template <Format kFormat, int kTokens>
__device__ __forceinline__ void add_float_dots(const Matrix& m,
                                               std::int64_t row,
                                               const float* const (&x)[kTokens],
                                               int lane,
                                               int lanes,
                                               float (&sums)[kTokens]) {
    constexpr int kCount = kFloatChunk<kFormat>;
    if constexpr (!is_quantised(kFormat) && kTokens == 1) {
        if (m.columns % kCount == 0 && is_aligned(x[0])) {
            sums[0] = add_whole_floats<kFormat>(m, row, x[0], lane, lanes, sums[0]);
            return;
        }
    }
    for (int chunk = lane; chunk * kCount < m.columns; chunk += lanes) {
        float weights[kCount];
        decode_floats<kFormat>(m, row, chunk, weights);
        const int first = chunk * kCount;
        const int count = smaller(kCount, m.columns - first);
#pragma unroll
        for (int t = 0; t < kTokens; ++t) {
            if (count == kCount && is_aligned(x[t])) {
                sums[t] = add_products(weights, x[t] + first, sums[t]);
                continue;
            }
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                if (i < count) sums[t] = __fmaf_rn(weights[i], x[t][first + i], sums[t]);
            }
        }
    }
}

}  // namespace hearth::cuda

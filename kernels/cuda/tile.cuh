// A tile of 16 weight rows by 8 tokens on the tensor cores, for few tokens. The block's eight warps
// share out the chunks of the rows: warp w works on strands 2 w, 2 w + 1, 2 w + 16 and 2 w + 17, so
// that the strands' sums, added pairwise at the end, are those of the mat-vec kernels bit by bit.
// The integer products are exact; each chunk is scaled and added by add_chunk. For more tokens:
// wide_tile.cuh.
#pragma once

#include "kernels/cuda/chunk.cuh"

namespace hearth::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kTileTokens = 8;
inline constexpr int kTileWarps = 8;
inline constexpr int kTileThreads = kTileWarps * kWarpLanes;
inline constexpr int kWarpStrands = 4;
inline constexpr int kTileOutputs = kTileRows * kTileTokens;
/// Shared floats that sum_tile needs: two sums of each output from every warp.
inline constexpr int kTileSums = kTileWarps * 2 * kTileOutputs;

struct TileSums {
    float value[kWarpStrands][4];  ///< as mma_s8 spreads c over the lanes
};

/// The words of a chunk that a lane needs of two rows.
template <Format kFormat>
struct TileWords {
    unsigned quants[2], quants_high[2], high[2][2];

    /// index   of the chunk in each row
    __device__ __forceinline__ void read(const Matrix& m, const std::int64_t (&index)[2], int t) {
        constexpr bool kIsBytes = kFormat == Format::q8_0;
        constexpr int kBytes = kIsBytes ? 32 : 16;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const std::uint8_t* words = m.quants + index[r] * kBytes + 4 * t;
            quants[r] = load<unsigned>(words);
            quants_high[r] = kIsBytes ? load<unsigned>(words + 16) : 0U;
            high[r][0] = high[r][1] = 0U;
            if constexpr (has_fifth_bit(kFormat)) {
                high[r][0] = load<unsigned>(m.high + index[r] * 4);
            } else if constexpr (kFormat == Format::q6_k) {
                const uint2 both = load<uint2>(m.high + index[r] * 8);
                high[r][0] = both.x;
                high[r][1] = both.y;
            }
        }
    }
    /// As mma_s8 takes them.
    __device__ __forceinline__ void unpack(int t, int (&a)[4]) const {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const WordPair words =
                unpack_words<kFormat>(quants[r], quants_high[r], high[r][0], high[r][1], t);
            a[r] = words.low;
            a[r + 2] = words.high;
        }
    }
};

/// Adds one chunk's products of 16 rows and 8 tokens to a strand's sums.
///   b   the lane's words of token g   x   scales of tokens 2 t and 2 t + 1
template <Format kFormat>
__device__ __forceinline__ void add_products(const int (&a)[4],
                                             const ChunkScales (&w)[2],
                                             const int (&b)[2],
                                             const Q8Scale (&x)[2],
                                             float (&sums)[4]) {
    int low[4] = {};
    int high[4] = {};
    if constexpr (kFormat == Format::q6_k) {
        // Two scales in a chunk: its halves apart.
        const int first[4] = {a[0], a[1], 0, 0};
        const int second[4] = {0, 0, a[2], a[3]};
        mma_s8(low, first, b);
        mma_s8(high, second, b);
    } else {
        mma_s8(low, a, b);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        sums[i] = add_chunk<kFormat>(sums[i], w[i / 2], x[i % 2], low[i], high[i]);
    }
}

/// Adds this warp's strands of the rows [row, row + 16), those beyond `row_last` repeated.
///   x_rows   kTileTokens rows of `x`, shared; any valid row where there is no token
/// Reads the rows' bytes once per block, 40 bytes of activations per chunk and token.
template <Format kFormat>
__device__ __forceinline__ void add_tile(const Matrix& m,
                                         std::int64_t row,
                                         std::int64_t row_last,
                                         const Q8Rows& x,
                                         const int* x_rows,
                                         TileSums& sums) {
    const int g = warp_lane() / 4;
    const int t = warp_lane() % 4;
    const int chunks = m.columns / kChunkWeights;
    const std::int64_t rows[2] = {smaller(row + g, row_last), smaller(row + g + 8, row_last)};
    const std::int8_t* quants = x.quants + std::int64_t{x_rows[g]} * x.columns + 4 * t;
    const Q8Scale* scales[2] = {x.scales + std::int64_t{x_rows[2 * t]} * chunks,
                                x.scales + std::int64_t{x_rows[2 * t + 1]} * chunks};
    for (int base = 0; base < chunks; base += kWarpLanes) {
#pragma unroll
        for (int strand = 0; strand < kWarpStrands; ++strand) {
            const int chunk = base + 2 * warp_of_block() + strand % 2 + 16 * (strand / 2);
            if (chunk >= chunks) continue;  // the same in the whole warp
            const std::int64_t index[2] = {chunk_index(m, rows[0], chunk),
                                           chunk_index(m, rows[1], chunk)};
            TileWords<kFormat> words;
            words.read(m, index, t);
            const ChunkScales w[2] = {load_scales<kFormat>(m, index[0]),
                                      load_scales<kFormat>(m, index[1])};
            int a[4];
            words.unpack(t, a);
            const auto* of_chunk = reinterpret_cast<const int*>(quants + chunk * kChunkWeights);
            const int b[2] = {of_chunk[0], of_chunk[4]};
            const Q8Scale of_tokens[2] = {scales[0][chunk], scales[1][chunk]};
            add_products<kFormat>(a, w, b, of_tokens, sums.value[strand]);
        }
    }
}

/// Sums the strands over the block. Thread i < kTileOutputs gets the sum of
/// row i / 8 and token i % 8; the others get nothing of use. All threads of the block call it.
///   shared   kTileSums floats, free again after the next barrier
__device__ __forceinline__ float sum_tile(const TileSums& sums, float* shared) {
    const int g = warp_lane() / 4;
    const int t = warp_lane() % 4;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int output = (g + 8 * (i / 2)) * kTileTokens + 2 * t + i % 2;
        float* mine = shared + warp_of_block() * 2 * kTileOutputs + output;
        mine[0] = sums.value[0][i] + sums.value[2][i];
        mine[kTileOutputs] = sums.value[1][i] + sums.value[3][i];
    }
    __syncthreads();
    const int output = static_cast<int>(threadIdx.x);
    if (output >= kTileOutputs) return 0.0F;
    const auto at = [&](int warp, int odd) {
        return shared[(2 * warp + odd) * kTileOutputs + output];
    };
    float halves[2];
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
        // The order of lane_sum: strands 8 apart, then 4, then 2.
        halves[odd] = ((at(0, odd) + at(4, odd)) + (at(2, odd) + at(6, odd))) +
                      ((at(1, odd) + at(5, odd)) + (at(3, odd) + at(7, odd)));
    }
    return halves[0] + halves[1];
}

}  // namespace hearth::cuda

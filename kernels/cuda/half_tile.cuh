// Products of half weights (F16, BF16) and floats on the tensor cores. A float is split into parts
// that the weights' type holds: two halves, scaled by a power of two per 32 columns, or three BF16;
// so the product is as exact as one of floats. The order of sums, for any number of tokens: the
// parts' products of a chunk of 32 columns, from the small part to the large one; chunks within a
// strand; the eight strands, which are runs of neighbouring chunks.
#pragma once

#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/mma_float.cuh"

namespace hearth::cuda {

inline constexpr int kHalfWarps = 8;
inline constexpr int kHalfThreads = kHalfWarps * kWarpLanes;
inline constexpr int kHalfRows = 16;        ///< of weights that a warp multiplies at once
inline constexpr int kHalfGroupTokens = 8;  ///< tokens that it multiplies them with
inline constexpr int kHalfOutputs = kHalfRows * kHalfGroupTokens;
inline constexpr int kHalfSums = kHalfWarps * kHalfOutputs;  ///< shared floats of sum_strands

template <Format kFormat>
inline constexpr int kHalfParts = kFormat == Format::f16 ? 2 : 3;

/// The first chunk of a strand of a row; that of strand 8 is the row's end.
__device__ __forceinline__ int strand_begin(int chunks, int strand) {
    return chunks * strand / kHalfWarps;
}

/// A chunk of eight tokens: lane 4 g + t holds columns 8 t to 8 t + 7 of token g.
template <Format kFormat>
struct HalfActivations {
    uint4 parts[kHalfParts<kFormat>];  ///< the largest first
    float scale;                       ///< of token g
};

/// A power of two that brings `largest` (a float's bits) into [2^14, 2^15), and its inverse. What
/// is too small for that stays smaller; what is no finite number stays none.
struct PowerOfTwo {
    float up, down;
};
__device__ __forceinline__ PowerOfTwo half_scale(unsigned largest) {
    unsigned exponent = largest >> 23;
    exponent = exponent < 15U ? 15U : exponent > 254U ? 254U : exponent;
    return {__uint_as_float((268U - exponent) << 23), __uint_as_float((exponent - 14U) << 23)};
}

/// Splits a chunk. All lanes of a warp call it.   x   as HalfActivations spreads them
template <Format kFormat>
__device__ __forceinline__ HalfActivations<kFormat> split_floats(const float (&x)[8]) {
    HalfActivations<kFormat> out;
    PowerOfTwo scale{1.0F, 1.0F};
    if constexpr (kFormat == Format::f16) {
        unsigned largest = 0;
#pragma unroll
        for (float value : x) {
            const unsigned bits = __float_as_uint(value) & 0x7FFFFFFFU;
            largest = bits > largest ? bits : largest;
        }
        for (int step = 2; step > 0; step /= 2) {
            const unsigned other = __shfl_xor_sync(kAllLanes, largest, step);
            largest = other > largest ? other : largest;
        }
        scale = half_scale(largest);
    }
    out.scale = scale.down;
    float rest[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        rest[i] = x[i] * scale.up;
    }
#pragma unroll
    for (uint4& part : out.parts) {
        unsigned words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            words[i] = pack_halves<kFormat>(rest[2 * i], rest[2 * i + 1]);
            rest[2 * i] -= unpack_half<kFormat>(words[i], 0);
            rest[2 * i + 1] -= unpack_half<kFormat>(words[i], 1);
        }
        part = {words[0], words[1], words[2], words[3]};
    }
    return out;
}

/// Eight floats, as pieces of 16 bytes where their place allows it.
__device__ __forceinline__ void load_floats(const float* x, float (&out)[8]) {
    if (reinterpret_cast<std::uintptr_t>(x) % sizeof(float4) == 0) {
        const float4 first = *reinterpret_cast<const float4*>(x);
        const float4 second = *reinterpret_cast<const float4*>(x + 4);
        const float values[8] = {
            first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            out[i] = values[i];
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        out[i] = x[i];
    }
}

/// The lane's part of 16 rows of weights: of rows g and g + 8, columns 8 t to 8 t + 7 of a chunk.
struct HalfRows {
    const std::uint8_t* rows[2];

    /// Rows from `row` on; those beyond `row_last` repeat it.
    __device__ __forceinline__ HalfRows(const Matrix& m, std::int64_t row, std::int64_t row_last) {
        const int g = warp_lane() / 4;
        const int t = warp_lane() % 4;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            rows[r] = m.quants + smaller(row + g + 8 * r, row_last) * m.columns * 2 + 16 * t;
        }
    }
    __device__ __forceinline__ void read(int chunk, uint4 (&words)[2]) const {
        words[0] = load<uint4>(rows[0] + chunk * 2 * kChunkWeights);
        words[1] = load<uint4>(rows[1] + chunk * 2 * kChunkWeights);
    }
};

/// Adds a chunk's products of 16 rows and 8 tokens to a strand's sums. Which columns meet is the
/// same in both operands, so a lane's neighbouring ones may stand for those that mma_halves names.
///   scales   of tokens 2 t and 2 t + 1
template <Format kFormat>
__device__ __forceinline__ void add_half_chunk(const uint4 (&w)[2],
                                               const uint4 (&x)[kHalfParts<kFormat>],
                                               const float (&scales)[2],
                                               float (&sums)[4]) {
    float dots[4];
#pragma unroll
    for (int part = kHalfParts<kFormat> - 1; part >= 0; --part) {
        float products[4] = {};
        mma_halves<kFormat>(products, {w[0].x, w[1].x, w[0].y, w[1].y}, {x[part].x, x[part].y});
        mma_halves<kFormat>(products, {w[0].z, w[1].z, w[0].w, w[1].w}, {x[part].z, x[part].w});
        const bool is_first = part == kHalfParts<kFormat> - 1;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            dots[i] = is_first ? products[i] : dots[i] + products[i];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        sums[i] =
            kFormat == Format::f16 ? __fmaf_rn(scales[i % 2], dots[i], sums[i]) : sums[i] + dots[i];
    }
}

/// Few tokens: adds this warp's strand of the rows [row, row + 16) times 8 tokens. Reads the rows'
/// bytes once per block; bound by memory.
///   x   the floats of the lane's token g
template <Format kFormat>
__device__ __forceinline__ void add_half_strand(
    const Matrix& m, std::int64_t row, std::int64_t row_last, const float* x, float (&sums)[4]) {
    constexpr int kAhead = 4;
    const int t = warp_lane() % 4;
    const int chunks = m.columns / kChunkWeights;
    const HalfRows rows(m, row, row_last);
    const int end = strand_begin(chunks, warp_of_block() + 1);
    for (int base = strand_begin(chunks, warp_of_block()); base < end; base += kAhead) {
        uint4 words[kAhead][2];
        float values[kAhead][8];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            const int chunk = smaller(base + i, end - 1);
            rows.read(chunk, words[i]);
            load_floats(x + chunk * kChunkWeights + 8 * t, values[i]);
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
            const auto activations = split_floats<kFormat>(values[i]);
            float scales[2] = {1.0F, 1.0F};
            if constexpr (kFormat == Format::f16) {
                scales[0] = __shfl_sync(kAllLanes, activations.scale, 8 * t);
                scales[1] = __shfl_sync(kAllLanes, activations.scale, 8 * t + 4);
            }
            float more[4] = {sums[0], sums[1], sums[2], sums[3]};
            add_half_chunk<kFormat>(words[i], activations.parts, scales, more);
            // Chosen, not skipped: the compiler reads words behind a branch that may skip them, and
            // then each chunk waits for memory.
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                sums[j] = base + i < end ? more[j] : sums[j];
            }
        }
    }
}

/// Sums the strands of add_half_strand over the block. Thread i < kHalfOutputs gets the sum of row
/// i % 16 and token i / 16; the others get nothing of use. All threads of the block call it.
///   shared   kHalfSums floats
__device__ __forceinline__ float sum_strands(const float (&sums)[4], float* shared) {
    const int g = warp_lane() / 4;
    const int t = warp_lane() % 4;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int output = (2 * t + i % 2) * kHalfRows + g + 8 * (i / 2);
        shared[warp_of_block() * kHalfOutputs + output] = sums[i];
    }
    __syncthreads();
    const int output = static_cast<int>(threadIdx.x);
    if (output >= kHalfOutputs) return 0.0F;
    float total = 0.0F;
#pragma unroll
    for (int strand = 0; strand < kHalfWarps; ++strand) {
        total += shared[strand * kHalfOutputs + output];
    }
    return total;
}

inline constexpr int kHalfTileGroups = 4;
inline constexpr int kHalfTileTokens = kHalfTileGroups * kHalfGroupTokens;
inline constexpr int kHalfTileRows = kHalfWarps * kHalfRows;
/// Chunks that are split at once: a thread splits eight columns of one token.
inline constexpr int kHalfStageChunks = kHalfWarps / kHalfTileGroups;

/// The split activations of a stage, in shared memory, as the lanes will want them.
template <Format kFormat>
struct HalfStage {
    uint4 parts[kHalfParts<kFormat>][kHalfThreads];
    float scales[kHalfStageChunks][kHalfTileTokens];
};

/// Many tokens: each warp of the block has 16 rows of its own and walks their strands in order.
template <Format kFormat>
struct HalfTile {
    float sums[kHalfTileGroups][4] = {};
    float totals[kHalfTileGroups][4] = {};  ///< as mma_halves spreads c

    static constexpr std::size_t kSharedBytes = 2 * sizeof(HalfStage<kFormat>);

    /// The token whose columns this thread splits, of the tile's.
    static __device__ __forceinline__ int staged_token() {
        return warp_of_block() % kHalfTileGroups * kHalfGroupTokens + warp_lane() / 4;
    }

    /// totals = this warp's 16 rows from `row` on times the tile's tokens. Reads the rows' bytes
    /// once, the activations once per block; bound by the tensor cores.
    ///   x        the floats of the thread's staged_token()
    ///   shared   kSharedBytes, free before
    __device__ __forceinline__ void multiply(
        const Matrix& m, std::int64_t row, std::int64_t row_last, const float* x, void* shared) {
        auto* stages = static_cast<HalfStage<kFormat>*>(shared);
        const int chunks = m.columns / kChunkWeights;
        const int mine = warp_of_block() / kHalfTileGroups;  // the chunk that this thread splits
        const float* columns = x + warp_lane() % 4 * 8;
        const HalfRows rows(m, row, row_last);
        uint4 next[kHalfStageChunks][2];
        float values[8];
        const auto read = [&](int base) {
#pragma unroll
            for (int i = 0; i < kHalfStageChunks; ++i) {
                rows.read(smaller(base + i, chunks - 1), next[i]);
            }
            load_floats(columns + smaller(base + mine, chunks - 1) * kChunkWeights, values);
        };
        read(0);
        int strand = 0;
        for (int base = 0; base < chunks; base += kHalfStageChunks) {
            // One of two, so that a stage is filled while others still read the one before.
            HalfStage<kFormat>& stage = stages[base / kHalfStageChunks % 2];
            fill(stage, split_floats<kFormat>(values));
            uint4 words[kHalfStageChunks][2];
#pragma unroll
            for (int i = 0; i < kHalfStageChunks; ++i) {
                words[i][0] = next[i][0];
                words[i][1] = next[i][1];
            }
            __syncthreads();
            if (base + kHalfStageChunks < chunks) read(base + kHalfStageChunks);
#pragma unroll
            for (int i = 0; i < kHalfStageChunks; ++i) {
                if (base + i >= chunks) break;
                add(stage, i, words[i]);
                // Strands without a chunk add nothing.
                while (strand < kHalfWarps && base + i + 1 >= strand_begin(chunks, strand + 1)) {
                    end_strand();
                    ++strand;
                }
            }
        }
    }

  private:
    __device__ __forceinline__ void fill(HalfStage<kFormat>& stage,
                                         const HalfActivations<kFormat>& activations) const {
        const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
        for (int part = 0; part < kHalfParts<kFormat>; ++part) {
            stage.parts[part][thread] = activations.parts[part];
        }
        if (warp_lane() % 4 == 0) {
            stage.scales[warp_of_block() / kHalfTileGroups][staged_token()] = activations.scale;
        }
    }

    __device__ __forceinline__ void add(const HalfStage<kFormat>& stage,
                                        int chunk,
                                        const uint4 (&words)[2]) {
#pragma unroll
        for (int group = 0; group < kHalfTileGroups; ++group) {
            const int place = (chunk * kHalfTileGroups + group) * kWarpLanes + warp_lane();
            uint4 parts[kHalfParts<kFormat>];
#pragma unroll
            for (int part = 0; part < kHalfParts<kFormat>; ++part) {
                parts[part] = stage.parts[part][place];
            }
            const float* scale =
                stage.scales[chunk] + group * kHalfGroupTokens + 2 * (warp_lane() % 4);
            add_half_chunk<kFormat>(words, parts, {scale[0], scale[1]}, sums[group]);
        }
    }

    __device__ __forceinline__ void end_strand() {
#pragma unroll
        for (int group = 0; group < kHalfTileGroups; ++group) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                totals[group][i] += sums[group][i];
                sums[group][i] = 0.0F;
            }
        }
    }
};

/// Calls visit(row, token, group, i) for each totals[group][i] of a HalfTile whose warp has rows
/// from `first` on, where there are such a row and such a token of the tile.
template <typename Visit>
__device__ __forceinline__ void visit_half_tile(int first, int rows, int tokens, Visit visit) {
#pragma unroll
    for (int group = 0; group < kHalfTileGroups; ++group) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = first + warp_lane() / 4 + 8 * (i / 2);
            const int token = group * kHalfGroupTokens + 2 * (warp_lane() % 4) + i % 2;
            if (row < rows && token < tokens) visit(row, token, group, i);
        }
    }
}

}  // namespace hearth::cuda

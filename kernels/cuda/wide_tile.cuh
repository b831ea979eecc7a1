// A tile of 32 weight rows by up to 32 tokens on the tensor cores, for prefill. Two halves of 16
// rows, four warps each: warp r of a half works on the strands r, r + 4, ..., r + 28 (strand s: the
// chunks s, s + 32, ...) in the order 0, 4, 2, 6, 1, 5, 3, 7 of fours, so that strands are added
// pairwise as soon as they are done, and the sums are those of the mat-vec kernels bit by bit with
// three unfinished sums at most. The four warps' sums are added through shared memory at the end.
//
// The tokens' activations are copied to shared memory once, for all rows that a block works on, or
// in two, four or eight phases where they are too long for it: a phase has the chunks of some of
// the strands. The next rows' weights are asked for in advance, to be in L2 when they are wanted;
// from there a warp reads them one chunk ahead, their scales a phase at once. Bound by the scaling
// of the products: 12 to 20 operations a lane for each product of 16 rows and 8 tokens.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/wide_stage.cuh"

namespace hearth::cuda {

/// What a thread gets of a tile: row `lane`, tokens `warp`, `warp` + 8, ...
struct WideResults {
    float of[kWideGroups];
};
static_assert(kWideRows == kWarpLanes && kWideWarps == kTileTokens);

/// The product of a chunk's 16 rows and 8 tokens, as floats: exact, being whole numbers below 2^24.
template <Format kFormat>
struct ChunkProduct {
    /// The integer that a float of 1.5 * 2^23 is: its last bits count ones, so that no conversion
    /// is needed.
    static constexpr int kOneBits = 0x4B400000;
    static constexpr float kOne = 12582912.0F;
    int low[4], high[4];

    __device__ __forceinline__ void multiply(const int (&a)[4], const int (&b)[2]) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            low[i] = kFormat == Format::q6_k ? 0 : kOneBits;
            high[i] = 0;
        }
        if constexpr (kFormat == Format::q6_k) {
            // Two scales in a chunk: its halves apart.
            const int first[4] = {a[0], a[1], 0, 0};
            const int second[4] = {0, 0, a[2], a[3]};
            mma_s8(low, first, b);
            mma_s8(high, second, b);
        } else {
            mma_s8(low, a, b);
        }
    }
    /// Adds it to sums of rows g and g + 8, tokens 2 t and 2 t + 1.   x   scale and sum, of each
    __device__ __forceinline__ void add_to(float (&sums)[4],
                                           const ChunkScales (&w)[2],
                                           const float4& x) const {
        const float d[2] = {x.x, x.z};
        const float x_sum[2] = {x.y, x.w};
        constexpr auto kOffset = static_cast<float>(quant_offset(kFormat));
        const float minus[2] = {__fmaf_rn(-kOffset, x_sum[0], -kOne),
                                __fmaf_rn(-kOffset, x_sum[1], -kOne)};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float dot = __uint_as_float(static_cast<unsigned>(low[i]));
            if constexpr (kFormat == Format::q6_k) {
                dot = static_cast<float>(w[i / 2].half[0] * low[i] + w[i / 2].half[1] * high[i]);
            } else {
                dot += kOffset == 0.0F ? -kOne : minus[i % 2];
            }
            sums[i] = add_scaled<kFormat>(sums[i], w[i / 2], d[i % 2], x_sum[i % 2], dot);
        }
    }
};

struct WideSums {
    float of[kWideGroups][4];  ///< as mma_s8 spreads c over the lanes

    __device__ __forceinline__ void add(const WideSums& others) {
#pragma unroll
        for (int group = 0; group < kWideGroups; ++group) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                of[group][i] = others.of[group][i] + of[group][i];
            }
        }
    }
    /// To and from shared memory, where there are no registers for them.
    __device__ __forceinline__ void put_aside(float4* aside) const {
#pragma unroll
        for (int group = 0; group < kWideGroups; ++group) {
            const float(&four)[4] = of[group];
            aside[group * kWarpLanes] = {four[0], four[1], four[2], four[3]};
        }
    }
    __device__ __forceinline__ void add_aside(const float4* aside) {
#pragma unroll
        for (int group = 0; group < kWideGroups; ++group) {
            const float4 four = aside[group * kWarpLanes];
            float(&mine)[4] = of[group];
            mine[0] = four.x + mine[0];
            mine[1] = four.y + mine[1];
            mine[2] = four.z + mine[2];
            mine[3] = four.w + mine[3];
        }
    }
};

/// Adds the products of local chunk `local` and all tokens.
template <Format kFormat>
__device__ __forceinline__ void add_chunk_products(const WideTile& tile,
                                                   const TileWords<kFormat>& words,
                                                   int local,
                                                   WideSums& sums) {
    const int g = warp_lane() / 4;
    const int t = warp_lane() % 4;
    const auto* scales = reinterpret_cast<const uint2*>(tile.room(warp_of_block())) +
                         local / kPieceChunks * kTileRows;
    const ChunkScales w[2] = {unpack_scales<kFormat>(scales[g]),
                              unpack_scales<kFormat>(scales[g + 8])};
    int a[4];
    words.unpack(t, a);
    const TilePlace place = columns_first(warp_lane());
    const auto* x_scales = reinterpret_cast<const float4*>(tile.scales(local)) + t;
#pragma unroll
    for (int group = 0; group < kWideGroups; group += 2) {
        const int token = group * kTileTokens;
        if (token >= tile.tokens) break;  // the same in the whole block
        unsigned b[4];
        load_matrices(b,
                      reinterpret_cast<const std::uint16_t*>(tile.quants(token + place.row) +
                                                             local * kChunkWeights) +
                          place.column);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (token + i * kTileTokens >= tile.tokens) break;
            ChunkProduct<kFormat> products;
            const int of_group[2] = {static_cast<int>(b[2 * i]), static_cast<int>(b[2 * i + 1])};
            products.multiply(a, of_group);
            products.add_to(sums.of[group + i], w, x_scales[(token + i * kTileTokens) / 2]);
        }
    }
}

/// Where a warp is in its 16 rows, and the words of the chunk that comes next.
template <Format kFormat>
struct StrandReader {
    const Matrix& m;
    int begins[2];     ///< the first chunks of rows g and g + 8: a matrix has fewer than 2^31
    int scales_begin;  ///< of row lane % 16
    TileWords<kFormat> next;

    /// Those behind the last of `row_count` are repeated.
    __device__ __forceinline__ StrandReader(const ExpertRows& rows, int row, int row_count)
        : m(rows.matrix) {
        const auto begin_of = [&](int i) {
            const std::int64_t at = rows.begin + smaller(row + i, row_count - 1);
            return static_cast<int>(chunk_index(m, at, 0));
        };
        begins[0] = begin_of(warp_lane() / 4);
        begins[1] = begin_of(warp_lane() / 4 + 8);
        scales_begin = begin_of(warp_lane() % kTileRows);
        read(first_chunk(0));
    }
    [[nodiscard]] __device__ __forceinline__ int chunks() const {
        return m.columns / kChunkWeights;
    }
    __device__ __forceinline__ void read(int chunk) {
        const int sound = smaller(chunk, chunks() - 1);
        next.read(m, {begins[0] + sound, begins[1] + sound}, warp_lane() % 4);
    }
    /// Of the strand of a turn.
    static __device__ __forceinline__ int first_chunk(int turn) {
        return strand_of_turn(turn % kWideTurns) * kPieceChunks + warp_of_block() % kPieceChunks;
    }
};

/// Sums the strand of a turn; begins a phase where the turn does.
template <Format kFormat>
__device__ __forceinline__ void sum_strand(StrandReader<kFormat>& reader,
                                           const WideTile& tile,
                                           int turn,
                                           WideSums& sums) {
    const int shift = tile.layout.phase_shift;
    if ((turn & ((kWideTurns >> shift) - 1)) == 0) {
        stage_phase<kFormat>(reader.m, reader.scales_begin, tile, strand_of_turn(turn));
    }
    sums = {};
    const int chunks = reader.chunks();
    const int first = reader.first_chunk(turn);
    const int after = reader.first_chunk(turn + 1);
#pragma unroll 1
    for (int chunk = first; chunk < chunks; chunk += kWarpLanes) {
        const TileWords<kFormat> words = reader.next;
        reader.read(chunk + kWarpLanes < chunks ? chunk + kWarpLanes : after);
        const int local = (chunk / kPieceChunks >> shift) * kPieceChunks + chunk % kPieceChunks;
        add_chunk_products<kFormat>(tile, words, local, sums);
    }
    if (first >= chunks) reader.read(after);
}

/// The sums of this warp's strands of the rows [row, row + 16), those behind the last of
/// `row_count` repeated. All threads of the block call it.
template <Format kFormat>
__device__ __forceinline__ void sum_strands(
    const ExpertRows& rows, int row, int row_count, const WideTile& tile, WideSums& sums) {
    StrandReader<kFormat> reader(rows, row, row_count);
    // Set, so that they are not alive in front of here: registers are short.
    WideSums ones = {};
    WideSums twos = {};
#pragma unroll 1
    for (int i = 0; i < kWideTurns; i += 4) {
#pragma unroll 1
        for (int j = 0; j < 4; j += 2) {
#pragma unroll 1
            for (int k = 0; k < 2; ++k) {
                sum_strand<kFormat>(reader, tile, i + j + k, sums);
                if (k == 0) ones = sums;
            }
            sums.add(ones);
            if (j == 0) twos = sums;
        }
        sums.add(twos);
        if (i == 0) sums.put_aside(tile.aside());
    }
    sums.add_aside(tile.aside());
}

/// The products of the rows [row, row + 32) of `row_count`, those behind the last repeated, and the
/// tile's tokens. All threads of the block call it; shared memory is free for the next call.
__device__ __forceinline__ void multiply_wide(
    const ExpertRows& rows, int row, int row_count, WideTile& tile, WideResults& out) {
    const int g = warp_lane() / 4;
    const int t = warp_lane() % 4;
    WideSums sums;
    with_quantised(rows.matrix.format, [&](auto tag) {
        sum_strands<decltype(tag)::value>(
            rows, row + warp_of_block() / kPieceChunks * kTileRows, row_count, tile, sums);
    });
    tile.has_tokens = tile.layout.phase_shift == 0;
    __syncwarp();  // the scales have been read
    auto* mine = reinterpret_cast<float*>(tile.room(warp_of_block()));
#pragma unroll
    for (int group = 0; group < kWideGroups; ++group) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int token = group * kTileTokens + 2 * t + i % 2;
            mine[token * kWideSumStride + g + 8 * (i / 2)] = sums.of[group][i];
        }
    }
    __syncthreads();
    const int half = warp_lane() / kTileRows;
#pragma unroll
    for (int i = 0; i < kWideGroups; ++i) {
        const int token = i * kTileTokens + warp_of_block();
        const auto of_warp = [&](int r) {
            const auto* sums_of =
                reinterpret_cast<const float*>(tile.room(half * kPieceChunks + r));
            return sums_of[token * kWideSumStride + warp_lane() % kTileRows];
        };
        // The order of lane_sum: strands 2 apart, then 1.
        out.of[i] = (of_warp(0) + of_warp(2)) + (of_warp(1) + of_warp(3));
    }
    __syncthreads();
}

/// How a product of rows of `columns` is laid out; none: tokens too few or rows too long, which
/// tile.cuh serves.   more   bytes of shared memory beside the layout
inline Result<std::optional<WideLayout>> wide_layout(int columns, int tokens, std::size_t more) {
    if (tokens <= kTileTokens) return std::optional<WideLayout>();
    HEARTH_TRY(const int bytes_max, attribute_of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin));
    return find_wide_layout(columns, static_cast<std::size_t>(bytes_max), more);
}

}  // namespace hearth::cuda

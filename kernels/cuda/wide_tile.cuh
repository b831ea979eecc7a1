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

#include "kernels/cuda/expert_rows.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tensor.cuh"
#include "kernels/cuda/tile.cuh"
#include "kernels/cuda/wide_layout.h"

namespace hearth::cuda {

inline constexpr int kWideGroups = kWideTokens / kTileTokens;
inline constexpr int kWideThreads = kWideWarps * kWarpLanes;

/// What a thread gets of a tile: row `lane`, tokens `warp`, `warp` + 8, ...
struct WideResults {
    float of[kWideGroups];
};
static_assert(kWideRows == kWarpLanes && kWideWarps == kTileTokens);

/// What a block works with.
struct WideTile {
    WideLayout layout;
    Q8Rows x;
    const int* x_rows;  ///< (kWideTokens) rows of x, shared; any valid row where there is no token
    int tokens;         ///< that there are
    unsigned char* memory;  ///< shared, layout.bytes
    bool has_tokens;        ///< in shared memory: all their chunks

    [[nodiscard]] __device__ __forceinline__ std::int8_t* quants(int token) const {
        return reinterpret_cast<std::int8_t*>(memory) + token * layout.row_bytes;
    }
    /// Scale and sum (as a float) of a local chunk's tokens.
    [[nodiscard]] __device__ __forceinline__ float2* scales(int chunk) const {
        return reinterpret_cast<float2*>(memory + layout.scales_offset) + chunk * kWideTokens;
    }
    /// The warp's own room: its weights' scales (pieces, 16 rows) and sums of half its strands,
    /// then its sums of all.
    [[nodiscard]] __device__ __forceinline__ unsigned char* room(int warp) const {
        return memory + layout.rooms_offset + warp * layout.room_bytes;
    }
    /// Where a lane puts its four sums of each group aside.
    [[nodiscard]] __device__ __forceinline__ float4* aside() const {
        return reinterpret_cast<float4*>(room(warp_of_block()) + layout.aside_offset) + warp_lane();
    }
    /// The chunk that a phase holds at place `local`.   first   piece of the phase
    [[nodiscard]] __device__ __forceinline__ int chunk_of(int local, int first) const {
        return ((local / kPieceChunks << layout.phase_shift) + first) * kPieceChunks +
               local % kPieceChunks;
    }
};

/// Three bits from behind: the strand, in fours, of each of a warp's eight turns.
__device__ __forceinline__ int strand_of_turn(int turn) {
    return (turn & 1) << 2 | (turn & 2) | turn >> 2;
}

/// Asks for the bytes [begin, end) of a plane, a line of the cache per thread and turn.
__device__ __forceinline__ void prefetch_plane(const std::uint8_t* plane,
                                               std::int64_t begin,
                                               std::int64_t end) {
    constexpr int kLine = 128;
    for (std::int64_t at = begin + static_cast<int>(threadIdx.x) * kLine; at < end;
         at += kWideThreads * kLine) {
        prefetch(plane + at);
    }
}

/// Asks for the rows [row, row + 32) in front of `row_end`, so that they are on their way while
/// others are multiplied. Experts that may lie in the host's memory are left alone.
__device__ __forceinline__ void prefetch_rows(const ExpertRows& rows, int row, int row_end) {
    const Matrix& m = rows.matrix;
    if (m.experts.shifts != nullptr || row >= row_end) return;
    constexpr int kChunksOfSuper = kSuperWeights / kChunkWeights;
    const int chunks = m.columns / kChunkWeights;
    const std::int64_t begin = (rows.begin + row) * chunks;
    const std::int64_t end = begin + std::int64_t{smaller(kWideRows, row_end - row)} * chunks;
    const ChunkBytes bytes = chunk_bytes(m.format);
    prefetch_plane(m.quants, begin * bytes.quants, end * bytes.quants);
    prefetch_plane(m.high, begin * bytes.high, end * bytes.high);
    prefetch_plane(m.scales, begin * bytes.scales, end * bytes.scales);
    prefetch_plane(
        m.supers, begin * bytes.supers / kChunksOfSuper, end * bytes.supers / kChunksOfSuper);
}

/// Copies a phase's chunks of the tokens: quants a warp per token, scales a warp per piece.
__device__ __forceinline__ void stage_tokens(const WideTile& tile, int first) {
    constexpr int kUnit = 16;  // bytes
    constexpr int kPair = 2 * kTileTokens;
    const int chunks = tile.x.columns / kChunkWeights;
    const int pieces = tile.layout.pieces;
    const int tokens = (tile.tokens + kPair - 1) / kPair * kPair;
    for (int token = warp_of_block(); token < tokens; token += kWideWarps) {
        const std::int8_t* from = tile.x.quants + std::int64_t{tile.x_rows[token]} * tile.x.columns;
        for (int unit = warp_lane(); unit < 2 * kPieceChunks * pieces; unit += kWarpLanes) {
            const int chunk = tile.chunk_of(unit / 2, first);
            if (chunk >= chunks) continue;
            copy_16(reinterpret_cast<std::uint16_t*>(tile.quants(token) + unit * kUnit),
                    reinterpret_cast<const std::uint16_t*>(from + chunk * kChunkWeights +
                                                           unit % 2 * kUnit));
        }
    }
    end_copies();
    for (int piece = warp_of_block(); piece < pieces; piece += kWideWarps) {
        const int local = piece * kPieceChunks + warp_lane() / kTileTokens;
        const int chunk = tile.chunk_of(local, first);
        for (int token = warp_lane() % kTileTokens; token < tokens; token += kTileTokens) {
            if (chunk >= chunks) continue;
            const Q8Scale scale = tile.x.scales[std::int64_t{tile.x_rows[token]} * chunks + chunk];
            tile.scales(local)[token] = {scale.d, static_cast<float>(scale.sum)};
        }
    }
}

/// A chunk's scales as shared memory holds them.
template <Format kFormat>
__device__ __forceinline__ uint2 pack_scales(const ChunkScales& scales) {
    const unsigned halves = static_cast<unsigned>(scales.half[0] & 0xFFFF) |
                            static_cast<unsigned>(scales.half[1]) << 16;
    return {__float_as_uint(scales.scale),
            kFormat == Format::q6_k ? halves : __float_as_uint(scales.low)};
}
template <Format kFormat>
__device__ __forceinline__ ChunkScales unpack_scales(uint2 packed) {
    if constexpr (kFormat == Format::q6_k) {
        return {__uint_as_float(packed.x),
                0.0F,
                {static_cast<std::int16_t>(packed.y & 0xFFFFU),
                 static_cast<std::int16_t>(packed.y >> 16)}};
    } else {
        return {__uint_as_float(packed.x), __uint_as_float(packed.y), {0, 0}};
    }
}

/// Decodes the scales of the warp's chunks of a phase.   begin   the first chunk of the lane's row
template <Format kFormat>
__device__ __forceinline__ void stage_scales(const Matrix& m,
                                             int begin,
                                             const WideTile& tile,
                                             int first) {
    const int chunks = m.columns / kChunkWeights;
    auto* scales = reinterpret_cast<uint2*>(tile.room(warp_of_block()));
#pragma unroll 4
    for (int i = warp_lane(); i < tile.layout.pieces * kTileRows; i += kWarpLanes) {
        const int local = i / kTileRows * kPieceChunks + warp_of_block() % kPieceChunks;
        const int chunk = smaller(tile.chunk_of(local, first), chunks - 1);
        scales[i] = pack_scales<kFormat>(load_scales<kFormat>(m, begin + chunk));
    }
}

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

/// Brings a phase's activations, where they are not there, and scales into shared memory.
template <Format kFormat>
__device__ __forceinline__ void stage_phase(const Matrix& m,
                                            int begin,
                                            const WideTile& tile,
                                            int first) {
    if (!tile.has_tokens) {
        __syncthreads();
        stage_tokens(tile, first);
    }
    stage_scales<kFormat>(m, begin, tile, first);
    wait_copies<0>();
    __syncthreads();
}

/// The sums of this warp's strands of the rows [row, row + 16), those behind the last of
/// `row_count` repeated. All threads of the block call it.
template <Format kFormat>
__device__ __forceinline__ void sum_strands(
    const ExpertRows& rows, int row, int row_count, const WideTile& tile, WideSums& sums) {
    const Matrix& m = rows.matrix;
    const int g = warp_lane() / 4;
    const int t = warp_lane() % 4;
    const int chunks = m.columns / kChunkWeights;
    const int shift = tile.layout.phase_shift;
    // A matrix has fewer than 2^31 chunks.
    const auto begin_of = [&](int i) {
        return static_cast<int>(chunk_index(m, rows.begin + smaller(row + i, row_count - 1), 0));
    };
    const int begins[2] = {begin_of(g), begin_of(g + 8)};
    const int scales_begin = begin_of(warp_lane() % kTileRows);
    const auto first_chunk = [](int turn) {
        return strand_of_turn(turn) * kPieceChunks + warp_of_block() % kPieceChunks;
    };
    TileWords<kFormat> next;
    const auto read_next = [&](int chunk) {
        const int sound = smaller(chunk, chunks - 1);
        next.read(m, {begins[0] + sound, begins[1] + sound}, t);
    };
    read_next(first_chunk(0));
    const auto sum_strand = [&](int turn) {
        if ((turn & ((kWideTurns >> shift) - 1)) == 0) {
            stage_phase<kFormat>(m, scales_begin, tile, strand_of_turn(turn));
        }
        sums = {};
        const int after = first_chunk((turn + 1) % kWideTurns);
#pragma unroll 1
        for (int chunk = first_chunk(turn); chunk < chunks; chunk += kWarpLanes) {
            const TileWords<kFormat> words = next;
            const int following = chunk + kWarpLanes < chunks ? chunk + kWarpLanes : after;
            read_next(following);
            const int local = (chunk / kPieceChunks >> shift) * kPieceChunks + chunk % kPieceChunks;
            add_chunk_products<kFormat>(tile, words, local, sums);
        }
        if (first_chunk(turn) >= chunks) read_next(after);
    };
    // Set, so that they are not alive in front of here: registers are short.
    WideSums ones = {};
    WideSums twos = {};
#pragma unroll 1
    for (int i = 0; i < 8; i += 4) {
#pragma unroll 1
        for (int j = 0; j < 4; j += 2) {
#pragma unroll 1
            for (int k = 0; k < 2; ++k) {
                sum_strand(i + j + k);
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

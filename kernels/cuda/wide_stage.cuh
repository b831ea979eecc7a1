// What a block of the wide tile (wide_tile.cuh) brings into shared memory: the tokens' activations
// and its weights' scales; and how it asks for weights in advance.
#pragma once

#include "kernels/cuda/expert_rows.cuh"
#include "kernels/cuda/tensor.cuh"
#include "kernels/cuda/tile.cuh"
#include "kernels/cuda/wide_layout.h"

namespace hearth::cuda {

inline constexpr int kWideGroups = kWideTokens / kTileTokens;
inline constexpr int kWideThreads = kWideWarps * kWarpLanes;

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

}  // namespace hearth::cuda

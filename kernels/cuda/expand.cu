#include <algorithm>

#include "kernels/cuda/cache_row.cuh"
#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/expand.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tensor.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kPositions = 16 * kWarps;      ///< of a block, 16 a warp
constexpr int kColumns = 128;                ///< of a block, of a head's keys or values
constexpr int kLatents = 64;                 ///< that are multiplied at once
constexpr int kLatentStride = kLatents + 8;  ///< halves; no two rows meet in a bank
constexpr int kColumnStride = kColumns + 8;
constexpr int kWeightHalves = std::max(kLatents * kColumnStride, kColumns* kLatentStride);
constexpr std::size_t kSharedBytes =
    sizeof(std::uint16_t) * (kPositions * kLatentStride + kWeightHalves);

/// What a block makes: some columns of a head's keys or values, at some positions.
struct Part {
    bool is_key;
    int head, column, columns;  ///< columns: those of the head, from `column` on
    int place, rows;            ///< the first position within the stretch
};

__device__ __forceinline__ Part part_of_block(const ExpandArgs& args, int count) {
    const int key_tiles = (args.nope_dim + kColumns - 1) / kColumns;
    const int tile = static_cast<int>(blockIdx.z);
    Part part;
    part.is_key = tile < key_tiles;
    part.head = static_cast<int>(blockIdx.y);
    part.column = (part.is_key ? tile : tile - key_tiles) * kColumns;
    part.columns = (part.is_key ? args.nope_dim : args.value_dim) - part.column;
    part.place = static_cast<int>(blockIdx.x) * kPositions;
    part.rows = smaller(kPositions, count - part.place);
    return part;
}

/// Rows of the sequence's latents.
template <Format kCache>
struct LatentRows {
    const std::uint16_t* cache;  ///< of the layer
    const std::int32_t* table;
    CacheLayer layer;

    const __device__ __forceinline__ std::uint16_t* block(int position) const {
        return cache +
               std::int64_t{table[position / compute::kBlockTokens]} * cache_block_halves(layer);
    }
    /// Of a cache in halves.
    const __device__ __forceinline__ std::uint16_t* row(int position) const {
        return block(position) + position % compute::kBlockTokens * layer.key_dim;
    }
    /// Eight columns of a cache in Q8_0, as halves.
    __device__ __forceinline__ uint4 eight(int position, int column) const {
        return load_q8_halves(
            block(position), q8_cache_rows(layer, true), position % compute::kBlockTokens, column);
    }
    __device__ __forceinline__ std::uint16_t half(int position, int column) const {
        if constexpr (kCache == Format::f16) return row(position)[column];
        const uint4 eight_of = eight(position, column / 8 * 8);
        const unsigned words[4] = {eight_of.x, eight_of.y, eight_of.z, eight_of.w};
        return static_cast<std::uint16_t>(words[column % 8 / 2] >> (16 * (column % 2)));
    }
};

/// Copies latents [latent, latent + kLatents) of the part's positions; what is beyond becomes
/// zeros.
///   first   position of the part's first row
template <Format kCache>
__device__ __forceinline__ void stage_latents(const ExpandArgs& args,
                                              const Part& part,
                                              const LatentRows<kCache>& latents,
                                              int first,
                                              int latent,
                                              std::uint16_t* to) {
    constexpr int kPieces = kLatents / 8;
    const bool in_16_bytes =
        kCache == Format::f16 && latents.layer.key_dim % 8 == 0 && args.latent_dim % 8 == 0;
    for (int i = static_cast<int>(threadIdx.x); i < kPositions * kPieces; i += kThreads) {
        const int row = i / kPieces;
        const int column = latent + i % kPieces * 8;
        const bool is_inside = row < part.rows && column < args.latent_dim;
        std::uint16_t* place = to + row * kLatentStride + i % kPieces * 8;
        if (in_16_bytes) {
            copy_16(place, is_inside ? latents.row(first + row) + column : nullptr);
            continue;
        }
        if (kCache == Format::q8_0 && column + 8 <= args.latent_dim) {
            *reinterpret_cast<uint4*>(place) =
                is_inside ? latents.eight(first + row, column) : uint4{0, 0, 0, 0};
            continue;
        }
        for (int j = 0; j < 8; ++j) {
            const bool is_latent = is_inside && column + j < args.latent_dim;
            place[j] = is_latent ? latents.half(first + row, column + j) : 0;
        }
    }
    end_copies();
}

/// Decodes a tile of a matrix to halves; beyond `rows` and the matrix's columns there are zeros.
template <Format kFormat>
__device__ __forceinline__ void stage_weights(const Matrix& m,
                                              std::int64_t row,
                                              int rows,
                                              int column,
                                              int tile_rows,
                                              int tile_columns,
                                              std::uint16_t* to) {
    constexpr int kCount = kFloatChunk<kFormat>;
    const int pieces = tile_columns / kCount;
    for (int i = static_cast<int>(threadIdx.x); i < tile_rows * pieces; i += kThreads) {
        const int mine = i / pieces;
        const int first = column + i % pieces * kCount;
        float weights[kCount] = {};
        if (mine < rows && first < m.columns) {
            decode_floats<kFormat>(m, row + mine, first / kCount, weights);
        }
        auto* words = reinterpret_cast<unsigned*>(to + mine * (tile_columns + 8) + first - column);
#pragma unroll
        for (int j = 0; j < kCount / 2; ++j) {
            words[j] = pack_halves<Format::f16>(weights[2 * j], weights[2 * j + 1]);
        }
    }
}

__device__ __forceinline__ void stage_weights(const ExpandArgs& args,
                                              const Part& part,
                                              int latent,
                                              std::uint16_t* to) {
    const Matrix& m = part.is_key ? args.k_up : args.v_up;
    with_format(m.format, [&](auto tag) {
        constexpr Format kFormat = decltype(tag)::value;
        if (part.is_key) {
            const std::int64_t row = std::int64_t{part.head} * args.latent_dim + latent;
            stage_weights<kFormat>(
                m, row, args.latent_dim - latent, part.column, kLatents, kColumns, to);
        } else {
            const std::int64_t row = std::int64_t{part.head} * args.value_dim + part.column;
            stage_weights<kFormat>(m, row, part.columns, latent, kColumns, kLatents, to);
        }
    });
}

/// Adds a warp's 16 positions times the part's columns, as mma_halves spreads them.
__device__ __forceinline__ void multiply(const Part& part,
                                         const std::uint16_t* latents,
                                         const std::uint16_t* weights,
                                         float (&sums)[kColumns / 8][4]) {
    const TilePlace by_row = rows_first(warp_lane());
    const TilePlace by_column = columns_first(warp_lane());
    const std::uint16_t* mine =
        latents + (16 * warp_of_block() + by_row.row) * kLatentStride + by_row.column;
#pragma unroll
    for (int k = 0; k < kLatents; k += 16) {
        unsigned a[4];
        load_matrices(a, mine + k);
#pragma unroll
        for (int n = 0; n < kColumns; n += 16) {
            if (n >= part.columns) continue;  // the same in the whole block
            unsigned b[4];
            if (part.is_key) {
                load_matrices_transposed(
                    b, weights + (k + by_row.row) * kColumnStride + n + by_row.column);
            } else {
                load_matrices(b,
                              weights + (n + by_column.row) * kLatentStride + k + by_column.column);
            }
            mma_halves<Format::f16>(sums[n / 8], a, {b[0], b[1]});
            mma_halves<Format::f16>(sums[n / 8 + 1], a, {b[2], b[3]});
        }
    }
}

/// A row of the head's keys or values.   place   within the stretch
__device__ __forceinline__ std::uint16_t* expanded_row(const ExpandArgs& args,
                                                       const Part& part,
                                                       int place) {
    const int key_dim = args.nope_dim + args.rope_dim;
    const std::int64_t block = place / compute::kBlockTokens;
    const int slot = place % compute::kBlockTokens;
    std::uint16_t* keys = args.rows + block * compute::kBlockTokens * args.heads *
                                          (std::int64_t{key_dim} + args.value_dim);
    if (part.is_key) return keys + (std::int64_t{slot} * args.heads + part.head) * key_dim;
    return keys + std::int64_t{compute::kBlockTokens} * args.heads * key_dim +
           (std::int64_t{slot} * args.heads + part.head) * args.value_dim;
}

/// A block per (128 positions, head, 128 columns of its keys or values). The first one of a head's
/// keys also copies the rotated part, which all heads share.
template <Format kCache>
__global__ void __launch_bounds__(kThreads, 2)
    expand_kernel(ExpandArgs args, StepTables step, int token, int first, int count) {
    wait_for_predecessor();
    const Part part = part_of_block(args, count);
    const LatentRows<kCache> latents{step.header->cache + std::int64_t{args.cache.layer} *
                                                              step.header->cache_blocks *
                                                              cache_block_halves(args.cache),
                                     step.block_tables + step.table_begin[token],
                                     args.cache};
    auto* staged = static_cast<std::uint16_t*>(block_memory());
    std::uint16_t* weights = staged + kPositions * kLatentStride;
    float sums[kColumns / 8][4] = {};
    for (int latent = 0; latent < args.latent_dim; latent += kLatents) {
        __syncthreads();
        stage_latents(args, part, latents, first + part.place, latent, staged);
        stage_weights(args, part, latent, weights);
        wait_copies<0>();
        __syncthreads();
        multiply(part, staged, weights, sums);
    }
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = 16 * warp_of_block() + warp_lane() / 4 + 8 * (i / 2);
            const int column = 8 * n + 2 * (warp_lane() % 4) + i % 2;
            if (row >= part.rows || column >= part.columns) continue;
            expanded_row(args, part, part.place + row)[part.column + column] =
                float_to_half(sums[n][i]);
        }
    }
    if (!part.is_key || part.column > 0) return;
    for (int i = static_cast<int>(threadIdx.x); i < part.rows * args.rope_dim; i += kThreads) {
        const int place = part.place + i / args.rope_dim;
        const int column = i % args.rope_dim;
        expanded_row(args, part, place)[args.nope_dim + column] =
            latents.half(first + place, args.latent_dim + column);
    }
}

}  // namespace

int stretch_positions(std::int64_t columns) {
    constexpr std::int64_t kBytesMax = std::int64_t{32} << 20;
    constexpr std::int64_t kPositionsMax = 1024;
    const auto bytes = columns * static_cast<std::int64_t>(sizeof(std::uint16_t));
    const std::int64_t positions = std::min(kPositionsMax, kBytesMax / bytes);
    return static_cast<int>(std::max<std::int64_t>(1, positions / kSplitTokens)) * kSplitTokens;
}

Result<void> expand(
    const ExpandArgs& args, const StepTables& step, int token, int first, int count, Queue queue) {
    const unsigned tiles =
        blocks_for(args.nope_dim, kColumns) + blocks_for(args.value_dim, kColumns);
    return launch(
        "expand",
        args.cache.format == Format::q8_0 ? expand_kernel<Format::q8_0>
                                          : expand_kernel<Format::f16>,
        {.grid = dim3(blocks_for(count, kPositions), static_cast<unsigned>(args.heads), tiles),
         .block = dim3(kThreads),
         .shared_bytes = kSharedBytes},
        queue,
        args,
        step,
        token,
        first,
        count);
}

}  // namespace hearth::cuda

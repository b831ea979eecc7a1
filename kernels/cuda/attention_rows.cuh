// What a block of attention works on: the rows of its tile, and the rows of the cache that it
// copies into shared memory.
#pragma once

#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/cache_row.cuh"
#include "kernels/cuda/tensor.cuh"

namespace hearth::cuda {

inline constexpr int kMmaRows = 16;
inline constexpr int kScoreKeys = 32;                   ///< that a warp scores in a round
inline constexpr int kWeightStride = kSplitTokens + 8;  ///< halves; no two rows meet in a bank

/// How a tile is shared out. A warp multiplies every `kColumnWarps`-th step of 16 columns of the
/// queries, kSteps at most, by 32 keys, and has every `kWarps`-th 16 columns of the values, kPairs
/// at most. With many warps each has little code to fetch, which is what a short split waits for.
template <int kWarpsOf,
          int kColumnWarpsOf,
          int kStepsOf,
          int kPairsOf,
          int kTilesOf,
          Format kCacheOf = Format::f16>
struct TileWidth {
    static constexpr Format kCache = kCacheOf;  ///< how its keys and values are kept
    static constexpr int kWarps = kWarpsOf;     ///< that work on 16 rows
    static constexpr int kColumnWarps = kColumnWarpsOf;
    static constexpr int kSteps = kStepsOf;
    static constexpr int kPairs = kPairsOf;
    static constexpr int kTiles = kTilesOf;
    static constexpr int kRows = kMmaRows * kTiles;
    static constexpr int kThreads = kWarps * kTiles * kWarpLanes;
    static constexpr int kWarpRows = kMmaRows / kWarps;  ///< whose softmax a warp makes
    static constexpr int kRoundKeys = kScoreKeys * (kWarps / kColumnWarps);
    static constexpr int kRounds = kSplitTokens / kRoundKeys;
    static constexpr int kPieceColumns = 16 * kWarps * kPairs / 2;  ///< of values
    static constexpr bool kIsWide = kWarps > 4;

    /// Blocks whose shared memory fits a multiprocessor of 228 KiB; their registers should too.
    static constexpr int kSplitBlocks = kIsWide || kPairs > 2 ? 2 : 4;
    static constexpr int kWalkBlocks = kIsWide || kPairs > 2 ? 1 : 2;

    // Shared memory behind the staged rows. Where there are many partial sums, the weights are
    // written over them, so that a split fits a block of 99 KiB, and its pieces one of 64.
    static constexpr int kPartials = kTiles * kColumnWarps * kMmaRows * kRoundKeys;  ///< floats
    static constexpr int kWeights = kTiles * 2 * kMmaRows * kWeightStride;           ///< halves
    static constexpr int kWeightsOffset = kIsWide ? 0 : kPartials * 4;               ///< bytes
    static constexpr int kStatesOffset = kIsWide ? kPartials * 4 : kPartials * 4 + kWeights * 2;
    static constexpr int kBytes = kStatesOffset + kRows * (8 + 8 + 4);
    static_assert(kWeightsOffset + kWeights * 2 <= kStatesOffset);
};

/// How the query heads of a key head are cut into tiles. Made on the host: the device's
/// division of integers is long code, and a block would fetch several for a few numbers.
struct Tiles {
    int group = 1;         ///< query heads of a key head
    int count = 1;         ///< tiles of a group
    int tokens = 1;        ///< share a tile at most; 1 where a group has several tiles
    unsigned inverse = 0;  ///< 2^16 / group + 1; 0: a tile has one token
};

/// How rows of the cache lie in shared memory, padded with zeros to 16 columns; counts of halves.
struct Staging {
    int stages = 1;        ///< splits that are held at once; 0: a split is read in pieces
    int key_columns = 0;   ///< padded
    int key_stride = 0;    ///< 8 more, so that no two rows meet in a bank
    int value_stride = 0;  ///< of a whole split
    int value_offset = 0;  ///< of a stage; 0: the values are the keys
    int stage_halves = 0;
    bool in_16_bytes = false;  ///< rows of the cache are aligned
};

template <typename W>
struct TileBlock {
    int token = 0;    ///< the first one
    int kv_head = 0;  ///< ... its query heads from `head` on, `heads` of each token
    int head = 0, heads = 0;
    unsigned inverse = 0;  ///< as in Tiles
    int rows = 0;          ///< 0: another block has this token
    int length = 0;        ///< positions that the last token sees
    std::int64_t block_elements = 0;
    const std::uint16_t* cache = nullptr;  ///< of the layer
    const std::int32_t* table = nullptr;   ///< null: the blocks follow each other ...
    int block_first = 0;                   ///< ... from this one of the sequence on
    std::uint16_t* staged = nullptr;       ///< shared
    float* partials = nullptr;             ///< shared (kTiles, kColumnWarps, 16, kRoundKeys)
    std::uint16_t* weights = nullptr;      ///< shared (kTiles, high and low, 16, kWeightStride)
    float2* states = nullptr;              ///< shared (kRows): maximum and sum of what is merged
    float2* factors = nullptr;             ///< shared (kRows): of what is merged, of what is added
    int* lengths = nullptr;                ///< shared (kRows): positions that a row sees

    /// Where the block of a position is.
    __device__ __forceinline__ auto block_of(int position) const {
        const int block = position / compute::kBlockTokens;
        return cache + (table == nullptr ? block - block_first : table[block]) * block_elements;
    }
    /// row / heads
    [[nodiscard]] __device__ __forceinline__ int index_of(int row) const {
        return static_cast<int>(static_cast<unsigned>(row) * inverse >> 16);
    }
    [[nodiscard]] __device__ __forceinline__ int token_of(int row) const {
        return token + index_of(row);
    }
    [[nodiscard]] __device__ __forceinline__ int head_of(int row) const {
        return head + row - index_of(row) * heads;
    }
};

/// Splits that a row sees.   length   its positions
__device__ __forceinline__ int split_count(int length) {
    return (length + kSplitTokens - 1) / kSplitTokens;
}

/// How many tokens share the tile of `token`; 0: it is in the tile of one before it. Tiles begin at
/// positions that are multiples of `most`, so that they do not depend on how a step was cut.
__device__ __forceinline__ int tokens_of_tile(const StepTables& step,
                                              int token,
                                              int tokens,
                                              int most) {
    const int t = token + warp_lane();
    bool begins = t == 0 || t >= tokens;
    if (!begins) {
        const int position = step.positions[t];
        begins = position % most == 0 || position != step.positions[t - 1] + 1 ||
                 step.table_begin[t] != step.table_begin[t - 1];
    }
    const unsigned borders = __ballot_sync(kAllLanes, begins ? 1 : 0);
    if ((borders & 1U) == 0) return 0;
    int count = 1;
    while (count < most && count < kWarpLanes && (borders >> count & 1U) == 0) {
        ++count;
    }
    return count;
}

/// Rows' lengths and states are there after a barrier.   The block of blockIdx.x (tile of heads)
/// and blockIdx.y (token) of gridDim.y.
template <typename W>
__device__ __forceinline__ TileBlock<W> make_tile_block(const AttentionArgs& args,
                                                        const StepTables& step,
                                                        const Tiles& tiles,
                                                        std::size_t staged_bytes) {
    TileBlock<W> b;
    const int tile = static_cast<int>(blockIdx.x);
    b.token = static_cast<int>(blockIdx.y);
    b.kv_head = tiles.count == 1 ? tile : tile / tiles.count;
    const int first = (tile - b.kv_head * tiles.count) * W::kRows;
    b.head = b.kv_head * tiles.group + first;
    b.heads = smaller(W::kRows, tiles.group - first);
    b.inverse = tiles.inverse;
    const int tokens =
        tiles.tokens == 1
            ? 1
            : tokens_of_tile(step, b.token, static_cast<int>(gridDim.y), tiles.tokens);
    b.rows = b.heads * tokens;
    b.length = tokens == 0 ? 0 : step.positions[b.token + tokens - 1] + 1;
    b.block_elements = cache_block_halves(args.cache);
    b.cache = step.header->cache +
              std::int64_t{args.cache.layer} * step.header->cache_blocks * b.block_elements;
    b.table = step.block_tables + step.table_begin[b.token];
    auto* shared = static_cast<unsigned char*>(block_memory());
    b.staged = reinterpret_cast<std::uint16_t*>(shared);
    shared += staged_bytes;
    b.partials = reinterpret_cast<float*>(shared);
    b.weights = reinterpret_cast<std::uint16_t*>(shared + W::kWeightsOffset);
    b.states = reinterpret_cast<float2*>(shared + W::kStatesOffset);
    b.factors = b.states + W::kRows;
    b.lengths = reinterpret_cast<int*>(b.factors + W::kRows);
    const int row = static_cast<int>(threadIdx.x);
    if (row < W::kRows) {
        b.lengths[row] = row < b.rows ? step.positions[b.token_of(row)] + 1 : 0;
        b.states[row] = make_float2(-INFINITY, 0.0F);
    }
    return b;
}

/// Rows of a key head within a block of the cache.
struct CacheRows {
    std::int64_t offset = 0;
    int stride = 0, dim = 0;
    bool is_key = true;
    int column = 0;  ///< the head's first one of the row
};
__device__ __forceinline__ CacheRows keys_of(const AttentionArgs& args, int kv_head) {
    const int dim = args.query_dim + args.rest_dim;
    return {std::int64_t{kv_head} * dim, args.cache.key_dim, dim, true, kv_head * dim};
}
__device__ __forceinline__ CacheRows values_of(const AttentionArgs& args, int kv_head) {
    if (args.values_are_keys) return keys_of(args, kv_head);
    return {std::int64_t{compute::kBlockTokens} * args.cache.key_dim +
                std::int64_t{kv_head} * args.value_dim,
            args.cache.value_dim,
            args.value_dim,
            false,
            kv_head * args.value_dim};
}

/// Eight columns of a row in Q8_0 as halves, or zeros.
template <typename W>
__device__ __forceinline__ uint4 load_q8_piece(const AttentionArgs& args,
                                               const TileBlock<W>& b,
                                               const CacheRows& source,
                                               int position,
                                               int column,
                                               bool is_inside) {
    if (!is_inside) return {0, 0, 0, 0};
    return load_q8_halves(b.block_of(position),
                          q8_cache_rows(args.cache, source.is_key),
                          position % compute::kBlockTokens,
                          source.column + column);
}

/// Copies the columns [column, column + columns) of `count` rows from position `first` on into
/// shared memory; columns beyond the row's and rows up to the next multiple of 16 become zeros.
template <typename W>
__device__ __forceinline__ void stage_rows(const AttentionArgs& args,
                                           const TileBlock<W>& b,
                                           const CacheRows& source,
                                           bool in_16_bytes,
                                           int first,
                                           int count,
                                           int column,
                                           int columns,
                                           std::uint16_t* to,
                                           int stride) {
    const int pieces = columns / 8;
    const int rows = (count + kMmaRows - 1) / kMmaRows * kMmaRows;
    const int rows_on = W::kThreads / pieces;
    const int pieces_on = W::kThreads % pieces;
    int row = static_cast<int>(threadIdx.x) / pieces;
    int piece = static_cast<int>(threadIdx.x) % pieces;
#pragma unroll(W::kTiles == 1 && !W::kIsWide ? 4 : 1)
    while (row < rows) {
        const int position = first + row;
        const int from_column = column + 8 * piece;
        const bool is_inside = row < count && from_column < source.dim;
        const std::uint16_t* from = nullptr;
        if (W::kCache == Format::f16 && is_inside) {
            from = b.block_of(position) + source.offset +
                   std::int64_t{position % compute::kBlockTokens} * source.stride + from_column;
        }
        std::uint16_t* place = to + row * stride + 8 * piece;
        if constexpr (W::kCache == Format::q8_0) {
            *reinterpret_cast<uint4*>(place) =
                load_q8_piece(args, b, source, position, from_column, is_inside);
        } else if (in_16_bytes) {
            copy_16(place, from);
        } else {
#pragma unroll 1
            for (int i = 0; i < 8; ++i) {
                place[i] = from != nullptr && from_column + i < source.dim ? from[i] : 0;
            }
        }
        row += rows_on;
        piece += pieces_on;
        if (piece >= pieces) {
            piece -= pieces;
            ++row;
        }
    }
}

/// Keys and values of a whole split: a group of copies.
template <typename W>
__device__ __forceinline__ void stage_split(const AttentionArgs& args,
                                            const Staging& staging,
                                            const TileBlock<W>& b,
                                            int split,
                                            std::uint16_t* stage) {
    const int first = split * kSplitTokens;
    const int count = smaller(kSplitTokens, b.length - first);
    stage_rows(args,
               b,
               keys_of(args, b.kv_head),
               staging.in_16_bytes,
               first,
               count,
               0,
               staging.key_columns,
               stage,
               staging.key_stride);
    if (!args.values_are_keys) {
        stage_rows(args,
                   b,
                   values_of(args, b.kv_head),
                   staging.in_16_bytes,
                   first,
                   count,
                   0,
                   staging.value_stride - 8,
                   stage + staging.value_offset,
                   staging.value_stride);
    }
    end_copies();
}

}  // namespace hearth::cuda

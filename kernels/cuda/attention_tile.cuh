// A tile of attention on the tensor cores. Its rows are query heads of one key head, of one token
// or of neighbouring tokens of a sequence, so that a key is read once for all of them; 16 rows have
// four warps. Keys and values are halves as they are. Queries and softmax weights are floats: each
// is split into a high and a low half and multiplied twice, which keeps 22 bits of it. So the
// result is that of float arithmetic up to about 1e-6, and no second kernel is needed where
// activations must stay exact. What a row gets depends on no other row of its tile.
#pragma once

#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/tensor.cuh"

namespace hearth::cuda {

inline constexpr int kMmaRows = 16;
inline constexpr int kMmaWarps = 4;                     ///< that work on 16 rows
inline constexpr int kWarpRows = 4;                     ///< whose softmax a warp makes
inline constexpr int kScoreKeys = 32;                   ///< that a warp scores in a round
inline constexpr int kWeightStride = kSplitTokens + 8;  ///< halves; no two rows meet in a bank
/// Weights are at most this: far from where low halves lose bits. Sums have it too; it cancels.
inline constexpr float kWeightScale = 16384.0F;

/// How a tile is shared out. A warp multiplies every `kColumnWarps`-th step of 16 columns of the
/// queries, kSteps at most, by 32 keys, and has every fourth 16 columns of the values, kPairs at
/// most.
template <int kColumnWarpsOf, int kStepsOf, int kPairsOf, int kTilesOf>
struct TileWidth {
    static constexpr int kColumnWarps = kColumnWarpsOf;
    static constexpr int kSteps = kStepsOf;
    static constexpr int kPairs = kPairsOf;
    static constexpr int kTiles = kTilesOf;
    static constexpr int kRows = kMmaRows * kTiles;
    static constexpr int kThreads = kMmaWarps * kTiles * kWarpLanes;
    static constexpr int kRoundKeys = kScoreKeys * kMmaWarps / kColumnWarps;
    static constexpr int kRounds = kSplitTokens / kRoundKeys;
    static constexpr int kPieceColumns = 16 * kMmaWarps * kPairs / 2;  ///< of values

    // Shared memory behind the staged rows.
    static constexpr int kPartials = kTiles * kColumnWarps * kMmaRows * kRoundKeys;  ///< floats
    static constexpr int kWeights = kTiles * 2 * kMmaRows * kWeightStride;           ///< halves
    static constexpr int kBytes = kPartials * 4 + kWeights * 2 + kRows * 8;
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
    int rows = 0;            ///< 0: another block has this token
    int length = 0;          ///< positions that the last token sees
    int lengths[kWarpRows];  ///< that the rows see whose softmax this warp makes
    std::int64_t block_elements = 0;
    const std::uint16_t* cache = nullptr;  ///< of the layer
    const std::int32_t* table = nullptr;
    std::uint16_t* staged = nullptr;   ///< shared
    float* partials = nullptr;         ///< shared (kTiles, kColumnWarps, 16, kRoundKeys)
    std::uint16_t* weights = nullptr;  ///< shared (kTiles, high and low, 16, kWeightStride)
    float2* factors = nullptr;         ///< shared (kRows): of what is, of what is added

    [[nodiscard]] __device__ __forceinline__ int token_of(int row) const {
        return token + row / heads;
    }
    [[nodiscard]] __device__ __forceinline__ int head_of(int row) const {
        return head + row % heads;
    }
    [[nodiscard]] __device__ __forceinline__ int length_of(const StepTables& step, int row) const {
        return row < rows ? step.positions[token_of(row)] + 1 : 0;
    }
};

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

/// The block of blockIdx.x (tile of heads) and blockIdx.y (token) of gridDim.y.
template <typename W>
__device__ __forceinline__ TileBlock<W> make_tile_block(const AttentionArgs& args,
                                                        const StepTables& step,
                                                        std::size_t staged_bytes) {
    TileBlock<W> b;
    const int group = args.heads / args.kv_heads;
    const int tiles = (group + W::kRows - 1) / W::kRows;
    const int first = static_cast<int>(blockIdx.x) % tiles * W::kRows;
    b.token = static_cast<int>(blockIdx.y);
    b.kv_head = static_cast<int>(blockIdx.x) / tiles;
    b.head = b.kv_head * group + first;
    b.heads = smaller(W::kRows, group - first);
    const int tokens = tokens_of_tile(
        step, b.token, static_cast<int>(gridDim.y), tiles > 1 ? 1 : W::kRows / group);
    b.rows = b.heads * tokens;
    b.length = tokens == 0 ? 0 : step.positions[b.token + tokens - 1] + 1;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
        b.lengths[r] = b.length_of(step, warp_of_block() * kWarpRows + r);
    }
    b.block_elements =
        std::int64_t{compute::kBlockTokens} * (args.cache.key_dim + args.cache.value_dim);
    b.cache = step.header->cache +
              std::int64_t{args.cache.layer} * step.header->cache_blocks * b.block_elements;
    b.table = step.block_tables + step.table_begin[b.token];
    auto* shared = static_cast<unsigned char*>(block_memory());
    b.staged = reinterpret_cast<std::uint16_t*>(shared);
    b.partials = reinterpret_cast<float*>(shared + staged_bytes);
    b.weights = reinterpret_cast<std::uint16_t*>(b.partials + W::kPartials);
    b.factors = reinterpret_cast<float2*>(b.weights + W::kWeights);
    return b;
}

/// Rows of a key head within a block of the cache.
struct CacheRows {
    std::int64_t offset = 0;
    int stride = 0, dim = 0;
};
__device__ __forceinline__ CacheRows keys_of(const AttentionArgs& args, int kv_head) {
    const int dim = args.query_dim + args.rest_dim;
    return {std::int64_t{kv_head} * dim, args.cache.key_dim, dim};
}
__device__ __forceinline__ CacheRows values_of(const AttentionArgs& args, int kv_head) {
    if (args.values_are_keys) return keys_of(args, kv_head);
    return {std::int64_t{compute::kBlockTokens} * args.cache.key_dim +
                std::int64_t{kv_head} * args.value_dim,
            args.cache.value_dim,
            args.value_dim};
}

/// Copies the columns [column, column + columns) of `count` rows from position `first` on into
/// shared memory; columns beyond the row's and rows up to the next multiple of 16 become zeros.
template <typename W>
__device__ __forceinline__ void stage_rows(const TileBlock<W>& b,
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
#pragma unroll 4
    while (row < rows) {
        const int position = first + row;
        const int from_column = column + 8 * piece;
        const std::uint16_t* from = nullptr;
        if (row < count && from_column < source.dim) {
            from = b.cache + b.table[position / compute::kBlockTokens] * b.block_elements +
                   source.offset + std::int64_t{position % compute::kBlockTokens} * source.stride +
                   from_column;
        }
        std::uint16_t* place = to + row * stride + 8 * piece;
        if (in_16_bytes) {
            copy_16(place, from);
        } else {
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
    stage_rows(b,
               keys_of(args, b.kv_head),
               staging.in_16_bytes,
               first,
               count,
               0,
               staging.key_columns,
               stage,
               staging.key_stride);
    if (!args.values_are_keys) {
        stage_rows(b,
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

/// A float as the sum of two halves.
struct HalfPair {
    std::uint16_t high, low;
};
__device__ __forceinline__ HalfPair split_float(float value) {
    const std::uint16_t high = float_to_half(value);
    return {high, float_to_half(value - half_to_float(high))};
}

/// This warp's part of the tile's queries, as mma_f16 wants `a`. Each row is multiplied by a power
/// of two, so that its largest value is near the largest half: no query is too large or too small.
template <typename W>
struct Queries {
    unsigned high[W::kSteps][4], low[W::kSteps][4];
    float back[2];  ///< takes the scores of rows g and g + 8 back

    __device__ __forceinline__ void load(const AttentionArgs& args, const TileBlock<W>& b) {
        const int tile_row = warp_of_block() / kMmaWarps * kMmaRows + warp_lane() / 4;
        const int first =
            16 * (warp_of_block() % kMmaWarps % W::kColumnWarps) + 2 * (warp_lane() % 4);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float values[W::kSteps][4];
            float largest = 0.0F;
#pragma unroll
            for (int i = 0; i < W::kSteps; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const int column = first + 16 * W::kColumnWarps * i + 8 * (j / 2) + j % 2;
                    values[i][j] = value(args, b, tile_row + 8 * r, column);
                    largest = fmaxf(largest, fabsf(values[i][j]));
                }
            }
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
            // largest * 2^(14 + 127 - exponent) is in [2^14, 2^15).
            const unsigned found = smaller(__float_as_uint(largest) >> 23, 253U);
            const unsigned exponent = found < 15U ? 15U : found;
            const float up = __uint_as_float((268U - exponent) << 23);
            back[r] = __uint_as_float((exponent - 14U) << 23);
#pragma unroll
            for (int i = 0; i < W::kSteps; ++i) {
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const HalfPair even = split_float(values[i][2 * j] * up);
                    const HalfPair odd = split_float(values[i][2 * j + 1] * up);
                    high[i][r + 2 * j] = pack_halves(even.high, odd.high);
                    low[i][r + 2 * j] = pack_halves(even.low, odd.low);
                }
            }
        }
    }

    static __device__ __forceinline__ float value(const AttentionArgs& args,
                                                  const TileBlock<W>& b,
                                                  int row,
                                                  int column) {
        if (row >= b.rows || column >= args.query_dim + args.rest_dim) return 0.0F;
        const bool is_rest = column >= args.query_dim;
        const FloatRows& rows = is_rest ? args.rest : args.query;
        const int head = b.head_of(row);
        const int place = is_rest ? head * args.rest_head_stride + column - args.query_dim
                                  : head * args.query_head_stride + column;
        return rows.data[b.token_of(row) * rows.stride + place];
    }
};

/// Where a round's partial sums of a row are: in an order that keeps warps from meeting in a bank.
template <typename W>
__device__ __forceinline__ int partial_place(int tile, int column_warp, int row, int key) {
    return ((tile * W::kColumnWarps + column_warp) * kMmaRows + row) * W::kRoundKeys +
           (key ^ (8 * (row % 4)));
}

/// This warp's part of the scores of a round's keys.   rows, count   the round's
template <typename W>
__device__ __forceinline__ void score_round(const TileBlock<W>& b,
                                            const Staging& staging,
                                            const Queries<W>& queries,
                                            const std::uint16_t* rows,
                                            int count) {
    const int quarter = warp_of_block() % kMmaWarps;
    const int column_warp = quarter % W::kColumnWarps;
    const int first = kScoreKeys * (quarter / W::kColumnWarps);
    const TilePlace place = columns_first(warp_lane());
    float high[4][4] = {};
    float low[4][4] = {};
#pragma unroll
    for (int i = 0; i < W::kSteps; ++i) {
        const int column = 16 * (column_warp + W::kColumnWarps * i);
        if (column >= staging.key_columns) continue;  // the same in the whole warp, as below
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
            const int key = first + 16 * pair;
            if (key >= count) continue;
            unsigned keys[4];
            load_matrices(keys,
                          rows + (key + place.row) * staging.key_stride + column + place.column);
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const unsigned eight[2] = {keys[2 * n], keys[2 * n + 1]};
                mma_f16(high[2 * pair + n], queries.high[i], eight);
                mma_f16(low[2 * pair + n], queries.low[i], eight);
            }
        }
    }
    const int tile = warp_of_block() / kMmaWarps;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int row = warp_lane() / 4 + 8 * r;
            const int key = first + 8 * n + 2 * (warp_lane() % 4);
            *reinterpret_cast<float2*>(b.partials + partial_place<W>(tile, column_warp, row, key)) =
                make_float2((high[n][2 * r] + low[n][2 * r]) * queries.back[r],
                            (high[n][2 * r + 1] + low[n][2 * r + 1]) * queries.back[r]);
        }
    }
}

/// Scores of the rows whose softmax this warp makes: a lane has keys lane and lane + 32.
using RowScores = float[kWarpRows][2];

template <typename W>
__device__ __forceinline__ void gather_scores(const TileBlock<W>& b, int round, RowScores& scores) {
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
        const int row = warp_of_block() * kWarpRows + r;
#pragma unroll
        for (int j = 0; j < W::kRoundKeys / kWarpLanes; ++j) {
            const int key = warp_lane() + j * kWarpLanes;
            float sum = 0.0F;
#pragma unroll
            for (int part = 0; part < W::kColumnWarps; ++part) {
                sum += b.partials[partial_place<W>(row / kMmaRows, part, row % kMmaRows, key)];
            }
            scores[r][round * (W::kRoundKeys / kWarpLanes) + j] = sum;
        }
    }
}

/// Turns scores into weights, and gives each row's maximum and sum to `on_row(r, state)`, in all
/// lanes, where the row sees a key of the split.
template <typename W, typename OnRow>
__device__ __forceinline__ void soften_split(
    const TileBlock<W>& b, float scale, int first, RowScores& scores, OnRow on_row) {
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
        const int row = warp_of_block() * kWarpRows + r;
        const int count = b.lengths[r] - first;
        std::uint16_t* weights =
            b.weights + (row / kMmaRows * 2 * kMmaRows + row % kMmaRows) * kWeightStride;
        float maximum = -INFINITY;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            scores[r][j] = warp_lane() + j * kWarpLanes < count ? scale * scores[r][j] : -INFINITY;
            maximum = scores[r][j] > maximum ? scores[r][j] : maximum;
        }
        maximum = lane_max(maximum);
        float sum = 0.0F;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int key = warp_lane() + j * kWarpLanes;
            const float weight = key < count ? kWeightScale * expf(scores[r][j] - maximum) : 0.0F;
            sum += weight;
            const HalfPair halves = split_float(weight);
            weights[key] = halves.high;
            weights[kMmaRows * kWeightStride + key] = halves.low;
        }
        sum = lane_sum(sum);
        if (count > 0) on_row(r, make_float2(maximum, sum));
    }
}

/// The weighted sums of a split's values over `count` keys, for those of this warp's columns that
/// are in [column, column_end): take(i, first column, sums of 16 rows by two times 8 columns).
///   values   row of the first key, from `column` on
template <typename W, typename Take>
__device__ __forceinline__ void weigh_split(const TileBlock<W>& b,
                                            const std::uint16_t* values,
                                            int stride,
                                            int count,
                                            int column,
                                            int column_end,
                                            Take take) {
    constexpr int kSteps = kSplitTokens / 16;
    const TilePlace place = rows_first(warp_lane());
    const std::uint16_t* weights =
        b.weights + (warp_of_block() / kMmaWarps * 2 * kMmaRows + place.row) * kWeightStride +
        place.column;
    unsigned high[kSteps][4];
    unsigned low[kSteps][4];
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
        load_matrices(high[k], weights + 16 * k);
        load_matrices(low[k], weights + kMmaRows * kWeightStride + 16 * k);
    }
#pragma unroll
    for (int i = 0; i < W::kPairs; ++i) {
        const int mine = 16 * (warp_of_block() % kMmaWarps + kMmaWarps * i);
        if (mine < column || mine >= column_end) continue;  // the same in the whole warp
        float sums[2][4] = {};
        float low_sums[2][4] = {};
#pragma unroll
        for (int k = 0; k < kSteps; ++k) {
            if (16 * k >= count) continue;
            unsigned pair[4];
            load_matrices_transposed(
                pair, values + (16 * k + place.row) * stride + mine - column + place.column);
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const unsigned eight[2] = {pair[2 * n], pair[2 * n + 1]};
                mma_f16(sums[n], high[k], eight);
                mma_f16(low_sums[n], low[k], eight);
            }
        }
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            sums[n / 4][n % 4] += low_sums[n / 4][n % 4];
        }
        take(i, mine, sums);
    }
}

/// Scores, softmax and values of one split. All threads of the block; the caller puts a barrier in
/// front, and behind before anything of the split is written over.
///   stage   keys and values of the split; unused where they are read in pieces
template <typename W, typename OnRow, typename Take>
__device__ __forceinline__ void attend_tile(const AttentionArgs& args,
                                            const Staging& staging,
                                            const TileBlock<W>& b,
                                            const Queries<W>& queries,
                                            int split,
                                            const std::uint16_t* stage,
                                            OnRow on_row,
                                            Take take) {
    const int first = split * kSplitTokens;
    const int count = smaller(kSplitTokens, b.length - first);
    const bool in_pieces = staging.stages == 0;
    RowScores scores;
#pragma unroll
    for (int round = 0; round < W::kRounds; ++round) {
        const int key = round * W::kRoundKeys;
        if (in_pieces) {
            const CacheRows keys = keys_of(args, b.kv_head);
            const int rows = smaller(W::kRoundKeys, count - key);
            stage_rows(b,
                       keys,
                       staging.in_16_bytes,
                       first + key,
                       rows,
                       0,
                       staging.key_columns,
                       b.staged,
                       staging.key_stride);
            end_copies();
            wait_copies<0>();
            __syncthreads();
        }
        score_round(b,
                    staging,
                    queries,
                    in_pieces ? b.staged : stage + key * staging.key_stride,
                    count - key);
        __syncthreads();
        gather_scores(b, round, scores);
        if (round + 1 < W::kRounds) __syncthreads();
    }
    soften_split(b, args.scale, first, scores, on_row);
    __syncthreads();
    if (!in_pieces) {
        weigh_split(
            b, stage + staging.value_offset, staging.value_stride, count, 0, args.value_dim, take);
        return;
    }
    constexpr int kStride = W::kPieceColumns + 8;
    for (int column = 0; column < args.value_dim; column += W::kPieceColumns) {
        stage_rows(b,
                   values_of(args, b.kv_head),
                   staging.in_16_bytes,
                   first,
                   count,
                   column,
                   W::kPieceColumns,
                   b.staged,
                   kStride);
        end_copies();
        wait_copies<0>();
        __syncthreads();
        weigh_split(b,
                    b.staged,
                    kStride,
                    count,
                    column,
                    smaller(args.value_dim, column + W::kPieceColumns),
                    take);
        __syncthreads();
    }
}

}  // namespace hearth::cuda

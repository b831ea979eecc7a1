// A tile of attention on the tensor cores. Its rows are query heads of one key head, of one token
// or of neighbouring tokens of a sequence, so that a key is read once for all of them; 16 rows have
// four warps, or sixteen. Keys and values are halves as they are. Queries and softmax weights are
// floats: each is split into a high and a low half and multiplied twice, which keeps 22 bits of it.
// So the result is that of float arithmetic up to about 1e-6, and no second kernel is needed where
// activations must stay exact. What a row gets depends on no other row of its tile.
#pragma once

#include <cmath>

#include "kernels/cuda/attention_rows.cuh"

namespace hearth::cuda {

/// Weights are at most this: far from where low halves lose bits. Sums have it too; it cancels.
inline constexpr float kWeightScale = 16384.0F;

/// A float as the sum of two halves.
struct HalfPair {
    std::uint16_t high, low;
};
__device__ __forceinline__ HalfPair split_float(float value) {
    const std::uint16_t high = float_to_half(value);
    return {high, float_to_half(value - half_to_float(high))};
}

/// The first of a lane's two rows in its tile; the other is 8 further.
template <typename W>
__device__ __forceinline__ int first_row_of_lane() {
    return warp_of_block() / W::kWarps * kMmaRows + warp_lane() / 4;
}
/// The first of 16 columns of the values that a lane's warp has, the `i`-th time.
template <typename W>
__device__ __forceinline__ int first_column(int i) {
    return 16 * (warp_of_block() % W::kWarps + W::kWarps * i);
}

/// What this lane holds of the tile's queries. Read before keys are staged: both then wait for
/// memory together.
template <typename W>
struct QueryValues {
    float rows[2][W::kSteps][4];

    __device__ __forceinline__ QueryValues(const AttentionArgs& args, const TileBlock<W>& b) {
        const int first =
            16 * (warp_of_block() % W::kWarps % W::kColumnWarps) + 2 * (warp_lane() % 4);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int row = first_row_of_lane<W>() + 8 * r;
            const int columns = row < b.rows ? args.query_dim + args.rest_dim : 0;
            const std::int64_t token = b.token_of(row);
            const int head = b.head_of(row);
            const float* query =
                args.query.data + token * args.query.stride + head * args.query_head_stride;
            const float* rest = args.rest_dim == 0
                                    ? query  // never read
                                    : args.rest.data + token * args.rest.stride +
                                          head * args.rest_head_stride - args.query_dim;
#pragma unroll
            for (int i = 0; i < W::kSteps; ++i) {
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const int column = first + 16 * W::kColumnWarps * i + 8 * j;
                    const float* pair = (column < args.query_dim ? query : rest) + column;
                    rows[r][i][2 * j] = column < columns ? pair[0] : 0.0F;
                    rows[r][i][2 * j + 1] = column + 1 < columns ? pair[1] : 0.0F;
                }
            }
        }
    }
};

/// This warp's part of the tile's queries, as mma_halves wants `a`. Each row is multiplied by a
/// power of two, so that its largest value is near the largest half: no query is too large or too
/// small.
template <typename W>
struct Queries {
    unsigned high[W::kSteps][4], low[W::kSteps][4];
    float back[2];  ///< takes the scores of rows g and g + 8 back

    __device__ __forceinline__ explicit Queries(const QueryValues<W>& values) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float largest = 0.0F;
#pragma unroll
            for (int i = 0; i < 4 * W::kSteps; ++i) {
                largest = fmaxf(largest, fabsf(values.rows[r][i / 4][i % 4]));
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
                    const HalfPair even = split_float(values.rows[r][i][2 * j] * up);
                    const HalfPair odd = split_float(values.rows[r][i][2 * j + 1] * up);
                    high[i][r + 2 * j] = pack_halves(even.high, odd.high);
                    low[i][r + 2 * j] = pack_halves(even.low, odd.low);
                }
            }
        }
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
    const int warp = warp_of_block() % W::kWarps;
    const int column_warp = warp % W::kColumnWarps;
    const int first = kScoreKeys * (warp / W::kColumnWarps);
    const int end = smaller(smaller(first + kScoreKeys, W::kRoundKeys), count);
    const int tile = warp_of_block() / W::kWarps;
    const TilePlace place = columns_first(warp_lane());
#pragma unroll(W::kIsWide ? 1 : 2)
    for (int key = first; key < end; key += 16) {
        float high[2][4] = {};
        float low[2][4] = {};
#pragma unroll
        for (int i = 0; i < W::kSteps; ++i) {
            const int column = 16 * (column_warp + W::kColumnWarps * i);
            if (column >= staging.key_columns) continue;  // the same in the whole warp
            unsigned keys[4];
            load_matrices(keys,
                          rows + (key + place.row) * staging.key_stride + column + place.column);
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const unsigned eight[2] = {keys[2 * n], keys[2 * n + 1]};
                mma_halves<Format::f16>(high[n], queries.high[i], eight);
                mma_halves<Format::f16>(low[n], queries.low[i], eight);
            }
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int n = j / 2;
            const int r = j % 2;
            const int row = warp_lane() / 4 + 8 * r;
            const int mine = key + 8 * n + 2 * (warp_lane() % 4);
            auto* partial = reinterpret_cast<float2*>(
                b.partials + partial_place<W>(tile, column_warp, row, mine));
            *partial = make_float2((high[n][2 * r] + low[n][2 * r]) * queries.back[r],
                                   (high[n][2 * r + 1] + low[n][2 * r + 1]) * queries.back[r]);
        }
    }
}

/// Scores of the rows whose softmax this warp makes: a lane has keys lane and lane + 32.
template <typename W>
using RowScores = float[W::kWarpRows][2];

template <typename W>
__device__ __forceinline__ void gather_scores(const TileBlock<W>& b,
                                              int round,
                                              RowScores<W>& scores) {
#pragma unroll
    for (int r = 0; r < W::kWarpRows; ++r) {
        const int row = warp_of_block() * W::kWarpRows + r;
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

/// Turns scores into weights, and gives each row's maximum and sum to `on_row(row, state)`, in one
/// lane, where the row sees a key of the split.
template <typename W, typename OnRow>
__device__ __forceinline__ void soften_split(
    const TileBlock<W>& b, float scale, int first, RowScores<W>& scores, OnRow on_row) {
    float2 mine{};
#pragma unroll
    for (int r = 0; r < W::kWarpRows; ++r) {
        const int row = warp_of_block() * W::kWarpRows + r;
        const int count = b.lengths[row] - first;
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
        if (warp_lane() == r) mine = make_float2(maximum, sum);
    }
    if (warp_lane() >= W::kWarpRows) return;
    const int row = warp_of_block() * W::kWarpRows + warp_lane();
    if (b.lengths[row] > first) on_row(row, mine);
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
    const TilePlace place = rows_first(warp_lane());
    const std::uint16_t* weights =
        b.weights + (warp_of_block() / W::kWarps * 2 * kMmaRows + place.row) * kWeightStride +
        place.column;
    const auto is_mine = [&](int i) {  // the same in the whole warp
        return first_column<W>(i) >= column && first_column<W>(i) < column_end;
    };
    float sums[W::kPairs][2][4] = {};
    float low_sums[W::kPairs][2][4] = {};
#pragma unroll(W::kIsWide ? 1 : kSplitTokens / 16)
    for (int key = 0; key < count; key += 16) {
        unsigned high[4];
        unsigned low[4];
        load_matrices(high, weights + key);
        load_matrices(low, weights + kMmaRows * kWeightStride + key);
#pragma unroll
        for (int i = 0; i < W::kPairs; ++i) {
            if (!is_mine(i)) continue;
            unsigned pair[4];
            load_matrices_transposed(
                pair,
                values + (key + place.row) * stride + first_column<W>(i) - column + place.column);
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const unsigned eight[2] = {pair[2 * n], pair[2 * n + 1]};
                mma_halves<Format::f16>(sums[i][n], high, eight);
                mma_halves<Format::f16>(low_sums[i][n], low, eight);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < W::kPairs; ++i) {
        if (!is_mine(i)) continue;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
            sums[i][n / 4][n % 4] += low_sums[i][n / 4][n % 4];
        }
        take(i, first_column<W>(i), sums[i]);
    }
}

/// Waits for what the block has copied.
__device__ __forceinline__ void await_copies() {
    end_copies();
    wait_copies<0>();
    __syncthreads();
}

/// The weighted sums of a split's values, at once or in pieces: all keys, some of the columns.
template <typename W, typename Take>
__device__ __forceinline__ void weigh_values(const AttentionArgs& args,
                                             const Staging& staging,
                                             const TileBlock<W>& b,
                                             int first,
                                             int count,
                                             const std::uint16_t* stage,
                                             Take take) {
    const bool in_pieces = staging.stages == 0;
    const int columns = in_pieces ? W::kPieceColumns : args.value_dim;
    const int stride = in_pieces ? W::kPieceColumns + 8 : staging.value_stride;
#pragma unroll 1
    for (int column = 0; column < args.value_dim; column += columns) {
        if (in_pieces) {
            stage_rows(args,
                       b,
                       values_of(args, b.kv_head),
                       staging.in_16_bytes,
                       first,
                       count,
                       column,
                       columns,
                       b.staged,
                       stride);
            await_copies();
        }
        weigh_split(b,
                    in_pieces ? b.staged : stage + staging.value_offset,
                    stride,
                    count,
                    column,
                    smaller(args.value_dim, column + columns),
                    take);
        if (in_pieces) __syncthreads();
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
    RowScores<W> scores = {};
#pragma unroll
    for (int round = 0; round < W::kRounds; ++round) {
        const int key = round * W::kRoundKeys;
        if (key >= count) break;
        if (in_pieces) {
            stage_rows(args,
                       b,
                       keys_of(args, b.kv_head),
                       staging.in_16_bytes,
                       first + key,
                       smaller(W::kRoundKeys, count - key),
                       0,
                       staging.key_columns,
                       b.staged,
                       staging.key_stride);
            await_copies();
        }
        score_round(b,
                    staging,
                    queries,
                    in_pieces ? b.staged : stage + key * staging.key_stride,
                    count - key);
        __syncthreads();
        gather_scores(b, round, scores);
        if (round + 1 < W::kRounds || W::kIsWide) __syncthreads();
    }
    soften_split(b, args.scale, first, scores, on_row);
    __syncthreads();
    weigh_values(args, staging, b, first, count, stage, take);
}

}  // namespace hearth::cuda

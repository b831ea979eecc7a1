// The walk over splits: how their results are merged, stored and taken up again. Splits are merged
// in order wherever they were computed, so that a row's bits do not depend on it.
#pragma once

#include "kernels/cuda/attention_tile.cuh"

namespace hearth::cuda {

/// Takes a split's maximum and sum into those of what came before; gives the factors of the old
/// and the new values.
__device__ __forceinline__ float2 merge_state(float2& state, float2 split) {
    const float maximum = split.x > state.x ? split.x : state.x;
    const float2 factors = make_float2(expf(state.x - maximum), expf(split.x - maximum));
    state = make_float2(maximum, __fmaf_rn(state.y, factors.x, split.y * factors.y));
    return factors;
}
__device__ __forceinline__ float merge(float before, float2 factors, float split) {
    return __fmaf_rn(before, factors.x, split * factors.y);
}

/// The `j`-th of the columns that a lane holds of 16 from `first` on.
__device__ __forceinline__ int column_of_lane(int first, int j) {
    return first + 8 * (j / 2) + 2 * (warp_lane() % 4) + j % 2;
}
/// Stores what a lane holds of row g (r = 0) or g + 8 of 16 rows by 16 columns from `first` on.
__device__ __forceinline__ void store_row(
    float* row, int columns, int first, int r, const float (&values)[2][4]) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const int column = column_of_lane(first, j);
        if (column < columns) row[column] = values[j / 2][2 * r + j % 2];
    }
}

/// Where a row's values are.
template <typename W>
__device__ __forceinline__ float* out_row(const AttentionArgs& args,
                                          const TileBlock<W>& b,
                                          int row) {
    return args.out.data + b.token_of(row) * args.out.stride +
           std::int64_t{b.head_of(row)} * args.value_dim;
}

/// Stores what walk_splits made of the rows, divided by their sums where `divides`.
template <typename W>
__device__ __forceinline__ void store_values(const AttentionArgs& args,
                                             const TileBlock<W>& b,
                                             const float (&values)[W::kPairs][2][4],
                                             bool divides) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = first_row_of_lane<W>() + 8 * r;
        if (row >= b.rows) continue;
        // A filled row sees nothing.
        const float factor = divides && b.length > 0 ? 1.0F / b.states[row].y : 1.0F;
        float* out = out_row(args, b, row);
#pragma unroll
        for (int i = 0; i < W::kPairs; ++i) {
            float scaled[2][4];
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                scaled[j / 4][j % 4] = values[i][j / 4][j % 4] * factor;
            }
            store_row(out, args.value_dim, first_column<W>(i), r, scaled);
        }
    }
}

/// Takes up what store_values has left undivided.
template <typename W>
__device__ __forceinline__ void load_values(const AttentionArgs& args,
                                            const TileBlock<W>& b,
                                            float (&values)[W::kPairs][2][4]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = first_row_of_lane<W>() + 8 * r;
        if (row >= b.rows) continue;
        const float* out = out_row(args, b, row);
#pragma unroll
        for (int i = 0; i < W::kPairs; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int column = column_of_lane(first_column<W>(i), j);
                if (column < args.value_dim) values[i][j / 2][2 * r + j % 2] = out[column];
            }
        }
    }
}

/// Walks the splits [first, end) of a tile and merges them into `values` and the rows' states. All
/// threads of the block; a barrier ends it.
template <typename W>
__device__ __forceinline__ void walk_splits(const AttentionArgs& args,
                                            const Staging& staging,
                                            const TileBlock<W>& b,
                                            int first,
                                            int end,
                                            float (&values)[W::kPairs][2][4]) {
    const auto stage_of = [&](int split) {
        return b.staged + (staging.stages == 2 ? split % 2 : 0) * staging.stage_halves;
    };
    const QueryValues<W> query_values(args, b);
    if (staging.stages > 0 && first < end) stage_split(args, staging, b, first, stage_of(first));
    const Queries<W> queries(query_values);
    const int tile_row = first_row_of_lane<W>();
    for (int split = first; split < end; ++split) {
        if (staging.stages == 2) {
            if (split + 1 < end) stage_split(args, staging, b, split + 1, stage_of(split + 1));
            if (split + 1 == end) end_copies();
            wait_copies<1>();
        } else {
            wait_copies<0>();
        }
        __syncthreads();
        attend_tile(
            args,
            staging,
            b,
            queries,
            split,
            stage_of(split),
            [&](int row, float2 state) { b.factors[row] = merge_state(b.states[row], state); },
            [&](int i, int /*first*/, const float(&sums)[2][4]) {
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    if (split * kSplitTokens >= b.lengths[tile_row + 8 * r]) continue;
                    const float2 factors = b.factors[tile_row + 8 * r];
#pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        float& value = values[i][j / 2][2 * r + j % 2];
                        value = merge(value, factors, sums[j / 2][2 * r + j % 2]);
                    }
                }
            });
        __syncthreads();
        if (staging.stages == 1 && split + 1 < end) {
            stage_split(args, staging, b, split + 1, b.staged);
        }
    }
    wait_copies<0>();
}

}  // namespace hearth::cuda

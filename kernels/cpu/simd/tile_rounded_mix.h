// `mix_rounded` on the tile unit: cached rows are what it multiplies with queries as they lie, and
// with weights once the columns of four tokens lie side by side. The integers are exact and the
// floats are added as vector_rounded_mix.h adds them, so that the bits are those of the other
// AVX-512 kernels, which take calls of few rows. `Tiles` is the unit. Included by tile_table.h
// alone; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/panel_rows.h"
#include "kernels/cpu/simd/quantise_256.h"
#include "kernels/cpu/simd/tile_unit.h"
#include "kernels/cpu/simd/vec_avx512.h"
#include "kernels/cpu/simd/vector_rounded_mix.h"

namespace hearth::cpu {
namespace {

/// Rows, tokens or columns of floats of a tile.
constexpr int kMixSide = 16;
/// Columns of tokens in a tile; what is left of a part fills half of one.
constexpr int kScoreColumns = 2 * kRoundedColumns;
constexpr int kMixGroups = kMixTokens / kPerLane;
static_assert(kAttendTokens == kMixSide && kMixTokens == 2 * kMixSide &&
              kAttendRows == 2 * kMixSide && kMixLanes == kMixSide && kPerLane == 4 &&
              kRoundedColumns == kMixTokens);

/// Of one part: (tokens, rows).
using ScoreSums = std::int32_t[kMixTokens][kAttendRows];

/// Tiles 0 to 3 are sums, (tokens, rows) by sixteens of rows; 4 is of tokens and 6 of queries; 5
/// and 7 are half as deep.
inline TileConfig score_config() {
    TileConfig config;
    config.row_bytes[5] = kRoundedColumns;
    config.rows[7] = kRoundedColumns / kPerLane;
    return config;
}

/// Up to kMixTokens tokens of a call; where the second block is missing, the first stands for it.
struct TokenBlocks {
    explicit TokenBlocks(const MixCall& call)
        : tokens(call),
          blocks{tokens.block(0), tokens.block(call.count > kAttendTokens ? 1 : 0)} {}

    RoundedRows tokens;
    RoundedBlock blocks[2];
};

/// Some columns of both blocks with the same of all queries, tiles kA and kB.
template <typename Tiles, int kA, int kB>
void add_score_columns(const TokenBlocks& tokens,
                       std::int64_t column,
                       const float* queries,
                       std::int64_t query_stride) {
    const auto query_bytes = query_stride * std::int64_t{sizeof(float)};
    const auto load_tokens = [&](int block) {
        Tiles::template load<kA>(tokens.blocks[block].rows + column, tokens.blocks[block].stride);
    };
    Tiles::template load<kB>(queries, query_bytes);
    load_tokens(0);
    Tiles::template multiply_int8_unsigned<0, kA, kB>();
    load_tokens(1);
    Tiles::template multiply_int8_unsigned<2, kA, kB>();
    Tiles::template load<kB>(queries + kMixSide, query_bytes);
    Tiles::template multiply_int8_unsigned<3, kA, kB>();
    load_tokens(0);
    Tiles::template multiply_int8_unsigned<1, kA, kB>();
}

template <typename Tiles>
void sum_scores(const TokenBlocks& tokens,
                const RoundedQueries& queries,
                int part,
                Ahead& ahead,
                ScoreSums& out) {
    SquareSums<Tiles>::clear();
    const std::int64_t first = part * tokens.tokens.value_stride;
    const float* from = queries.columns(part);
    // Columns up to whole tiles are zero on one side or, behind the queries' last, on the other.
    const std::int64_t columns = to_rounded_columns(queries.group_counts[part] * kPerLane);
    std::int64_t i = 0;
    for (; i + kScoreColumns <= columns; i += kScoreColumns) {
        ahead.ask();
        add_score_columns<Tiles, 4, 6>(
            tokens, first + i, from + i / kPerLane * queries.stride, queries.stride);
    }
    if (i < columns) {
        add_score_columns<Tiles, 5, 7>(
            tokens, first + i, from + i / kPerLane * queries.stride, queries.stride);
    }
    SquareSums<Tiles>::store(&out[0][0], kAttendRows);
}

/// Tiles 0 to 3 are sums, (rows, columns) by sixteens of columns; 4 and 5 are of rows' weights, 6
/// and 7 of values.
inline TileConfig mix_config(std::int64_t rows) {
    TileConfig config;
    config.rows[2] = config.rows[3] = config.rows[5] = static_cast<std::uint8_t>(rows - kMixSide);
    config.row_bytes[4] = config.row_bytes[5] = kMixTokens;
    config.rows[6] = config.rows[7] = kMixGroups;
    return config;
}

/// The weights of a row behind each other.
struct alignas(64) WeightTiles {
    explicit WeightTiles(const RoundedWeights& weights) {
        for (int row = 0; row < kAttendRows; row += 4) {
            FourBytes turned[4];
            load_turned([&](int g) { return weights.groups[g] + row; }, turned);
            for (int r = 0; r < 4; ++r) {
                store_32(rows[row + r], turned[r]);
            }
        }
    }
    std::uint8_t rows[kAttendRows][kMixTokens];
};

/// Thirty-two columns of all tokens: in each lane one of four tokens, by sixteens.
struct alignas(64) ValueTiles {
    std::uint8_t lanes[2][kMixGroups][kMixSide * kPerLane];

    void fill(const TokenBlocks& tokens, std::int64_t column) {
        for (int g = 0; g < kMixGroups; ++g) {
            const RoundedBlock& block = tokens.blocks[g * kPerLane / kAttendTokens];
            const RowInt* rows = block.rows + g * kPerLane % kAttendTokens * block.stride + column;
            IntVec columns[2];
            load_side_by_side(rows, block.stride, columns);
            store_ints(lanes[0][g], columns[0]);
            store_ints(lanes[1][g], columns[1]);
        }
    }
};

/// (two sixteens of columns, rows)
using MixSums = std::int32_t[2][kAttendRows][kMixSide];

template <typename Tiles>
void multiply_values(const ValueTiles& values, MixSums& out) {
    constexpr std::int64_t kRowBytes = sizeof out[0][0];
    SquareSums<Tiles>::clear();
    Tiles::template load<6>(values.lanes[0], kRowBytes);
    Tiles::template load<7>(values.lanes[1], kRowBytes);
    Tiles::template multiply_unsigned_int8<0, 4, 6>();
    Tiles::template multiply_unsigned_int8<1, 4, 7>();
    Tiles::template multiply_unsigned_int8<2, 5, 6>();
    Tiles::template multiply_unsigned_int8<3, 5, 7>();
    Tiles::template store<0>(out[0], kRowBytes);
    Tiles::template store<1>(out[1], kRowBytes);
    Tiles::template store<2>(out[0][kMixSide], kRowBytes);
    Tiles::template store<3>(out[1][kMixSide], kRowBytes);
}

inline void add_values(const MixCall& call,
                       std::int64_t column,
                       const RoundedWeights& weights,
                       const float* factors,
                       const MixSums& sums) {
    for (std::int64_t r = 0; r < call.rows; ++r) {
        Vec mixed[2] = {to_floats(load_ints_of<IntVec>(sums[0][r])),
                        to_floats(load_ints_of<IntVec>(sums[1][r]))};
        add_mixed(call, r, column, mixed, weights.scales[r], factors[r]);
    }
}

/// The unit works on 32 columns while the vectors put the next side by side, which it can read
/// late, and add those before.
template <typename Tiles>
void mix_values(const MixCall& call,
                const TokenBlocks& tokens,
                const RoundedWeights& weights,
                const float* factors,
                Ahead& ahead) {
    const WeightTiles tiles(weights);
    ValueTiles values[2];
    values[0].fill(tokens, 0);
    Tiles::configure(mix_config(call.rows));
    Tiles::template load<4>(tiles.rows[0], kMixTokens);
    Tiles::template load<5>(tiles.rows[kMixSide], kMixTokens);
    alignas(64) MixSums sums[2];
    const std::int64_t columns = tokens.tokens.value_stride;
    int turn = 0;
    for (std::int64_t column = 0; column < columns; column += kRoundedColumns, turn ^= 1) {
        ahead.ask();
        const std::int64_t next = column + kRoundedColumns;
        if (next < columns) values[turn ^ 1].fill(tokens, next);
        multiply_values<Tiles>(values[turn], sums[turn]);
        if (column == 0) continue;
        add_values(call, column - kRoundedColumns, weights, factors, sums[turn ^ 1]);
    }
    add_values(call, columns - kRoundedColumns, weights, factors, sums[turn ^ 1]);
    Tiles::release();
}

template <typename Tiles>
void mix_rounded_tiles(const MixCall& call) {
    const TokenBlocks tokens(call);
    const RoundedQueries queries(call.queries, call.query_stride, call.key_dim, call.value_dim);
    Ahead ahead(call, (call.key_dim + call.value_dim) / kScoreColumns + 2);
    alignas(64) ScoreSums sums[kMixParts];
    Tiles::configure(score_config());
    for (int part = 0; part < kMixParts; ++part) {
        sum_scores<Tiles>(tokens, queries, part, ahead, sums[part]);
    }
    MixWeights weights;
    for (std::int64_t t = 0; t < call.count; ++t) {
        const RoundedBlock& block = tokens.blocks[t / kAttendTokens];
        for (int part = 0; part < kMixParts; ++part) {
            const std::int64_t at = part * kAttendTokens + t % kAttendTokens;
            const __m512i raised = _mm512_set1_epi32(kRaised * block.sums[at]);
            for (int row = 0; row < kAttendRows; row += kMixSide) {
                const IntVec sum = load_ints_of<IntVec>(sums[part][t] + row);
                add_scores(IntVec{_mm512_sub_epi32(sum.v, raised)},
                           queries.scales(part) + row,
                           block.scales[at],
                           part == 0,
                           weights[t] + row);
            }
        }
    }
    hide(call, weights);
    alignas(64) RoundedWeights rounded;
    for (std::int64_t g = to_groups(call.count); g < kMixGroups; ++g) {
        __builtin_memset(rounded.groups[g], 0, sizeof rounded.groups[g]);
    }
    alignas(64) float factors[kAttendRows];
    for (int row = 0; row < kAttendRows; row += kMixSide) {
        soften(call, row, weights, factors);
        rounded.round(call, tokens.tokens, row, weights);
    }
    mix_values<Tiles>(call, tokens, rounded, factors, ahead);
}

template <typename Tiles, const Kernels& kOthers>
void mix_rounded_with_tiles(const MixCall& call) {
    if (call.rows <= kMixSide) return kOthers.mix_rounded(call);
    mix_rounded_tiles<Tiles>(call);
}

}  // namespace
}  // namespace hearth::cpu

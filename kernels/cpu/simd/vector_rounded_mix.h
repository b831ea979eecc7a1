// Attention of many rows of queries over the same cached rows: three products of matrices of small
// integers, kPerLane to a lane. Queries lie turned, with a row in each lane, so that a score is one
// chain over the columns, and softmax needs no sums across lanes. The integer sums are exact, and a
// row's float sums are taken in the order of columns and tokens, whatever other rows there are and
// however wide a Vec is. Included by each kernels_*.cpp behind rounded_rows.h; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/rounded_rows.h"
#include "kernels/cpu/simd/vector_mix.h"

namespace hearth::cpu {
namespace {

/// Lanes' fills of columns between two requests for what comes ahead.
constexpr std::int64_t kAheadGroups = kAheadColumns / kPerLane;

constexpr auto kFewRows = static_cast<std::int64_t>(sizeof(FewInts) / sizeof(float));

/// Sixteen sums and what they are made of in registers, or eight.
constexpr bool kHasManyRegisters = Vec::kWidth == 16;

/// kPerLane columns or tokens.
template <typename Lanes>
inline Lanes broadcast_group(const void* p) {
    int group = 0;
    __builtin_memcpy(&group, p, sizeof group);
    return broadcast_lane<Lanes>(group);
}

/// out = sums as floats times both scales, or that added to it.
inline void add_scores(
    IntVec sums, const float* query_scales, float key_scale, bool is_first, float* out) {
    const Vec scores = mul(to_floats(sums), load(query_scales));
    const Vec scale = broadcast(key_scale);
    store(out, is_first ? mul(scores, scale) : fma(scores, scale, load(out)));
}

/// Scores of kTokens tokens of a block, from `first` on, and of kVecs times the lanes of Lanes,
/// rows from `row` on, to `out` and the tokens behind it. Not inlined, as mix_rounded_tile: all
/// registers are for the sums.
template <typename Lanes, int kVecs, int kTokens>
[[gnu::noinline]] void score_rounded_tile(const RoundedQueries& queries,
                                          const RoundedRows& tokens,
                                          const RoundedBlock& block,
                                          std::int64_t row,
                                          std::int64_t first,
                                          Ahead& ahead,
                                          float (*out)[kAttendRows]) {
    constexpr auto kWidth = static_cast<std::int64_t>(sizeof(Lanes) / sizeof(float));
    for (int part = 0; part < kMixParts; ++part) {
        Lanes sums[kTokens][kVecs];
#pragma GCC unroll 16
        for (int t = 0; t < kTokens; ++t) {
            // Queries are raised by so much.
            const int sum = block.sums[part * kAttendTokens + first + t];
#pragma GCC unroll 4
            for (int v = 0; v < kVecs; ++v) {
                sums[t][v] = broadcast_lane<Lanes>(-kRaised * sum);
            }
        }
        const RowInt* keys = block.rows + first * block.stride + part * tokens.value_stride;
        const float* columns = queries.columns(part) + row;
        const std::int64_t groups = queries.group_counts[part];
        const auto add_group = [&](std::int64_t i) {
            Lanes query[kVecs];
#pragma GCC unroll 4
            for (int v = 0; v < kVecs; ++v) {
                query[v] =
                    in_register(load_ints_of<Lanes>(columns + i * queries.stride + v * kWidth));
            }
#pragma GCC unroll 16
            for (int t = 0; t < kTokens; ++t) {
                const auto key = broadcast_group<Lanes>(keys + t * block.stride + i * kPerLane);
#pragma GCC unroll 4
                for (int v = 0; v < kVecs; ++v) {
                    sums[t][v] = add_products(sums[t][v], query[v], key);
                }
            }
        };
        std::int64_t i = 0;
        for (; i + kAheadGroups <= groups; i += kAheadGroups) {
            ahead.ask();
#pragma GCC unroll 8
            for (int g = 0; g < kAheadGroups; ++g) {
                add_group(i + g);
            }
        }
        for (; i < groups; ++i) {
            add_group(i);
        }
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) {
            const float* const scales = queries.scales(part) + row + v * kWidth;
#pragma GCC unroll 16
            for (int t = 0; t < kTokens; ++t) {
                add_scores(sums[t][v],
                           scales,
                           block.scales[part * kAttendTokens + first + t],
                           part == 0,
                           out[t] + row + v * kWidth);
            }
        }
    }
}

/// Tokens in tiles that keep two products a cycle busy without a register being spilled.
template <typename Lanes, int kVecs>
inline void score_rounded_rows(const MixCall& call,
                               const RoundedRows& tokens,
                               std::int64_t row,
                               Ahead& ahead,
                               MixWeights& out) {
    constexpr int kTokens = kVecs == 1 || kHasManyRegisters ? 8 : 6;
    const RoundedQueries queries(call.queries, call.query_stride, call.key_dim, call.value_dim);
    for (std::int64_t begin = 0; begin < call.count; begin += kAttendTokens) {
        const RoundedBlock block = tokens.block(begin / kAttendTokens);
        const std::int64_t left = call.count - begin;
        const std::int64_t count = left < kAttendTokens ? left : kAttendTokens;
        std::int64_t j = 0;
        for (; j + kTokens <= count; j += kTokens) {
            score_rounded_tile<Lanes, kVecs, kTokens>(
                queries, tokens, block, row, j, ahead, out + begin + j);
        }
        for (; j + 4 <= count; j += 4) {
            score_rounded_tile<Lanes, kVecs, 4>(
                queries, tokens, block, row, j, ahead, out + begin + j);
        }
        for (; j < count; ++j) {
            score_rounded_tile<Lanes, kVecs, 1>(
                queries, tokens, block, row, j, ahead, out + begin + j);
        }
    }
}

/// Weights times the tokens' scales, rounded: kPerLane tokens to a lane.
struct RoundedWeights {
    float groups[kMixTokens / kPerLane][kAttendRows];
    float scales[kAttendRows];

    void round(const MixCall& call,
               const RoundedRows& tokens,
               std::int64_t row,
               const MixWeights& weights) {
        Vec scaled[kMixTokens];
        Vec largest = broadcast(kTinyMaximum);
        for (std::int64_t j = 0; j < call.count; ++j) {
            const float scale = tokens.block(j / kAttendTokens).scales[j % kAttendTokens];
            scaled[j] = mul(load(weights[j] + row), broadcast(scale));
            largest = max(largest, scaled[j]);
        }
        for (std::int64_t j = call.count; j < to_groups(call.count) * kPerLane; ++j) {
            scaled[j] = zero();
        }
        const Vec factor = div(broadcast(kWeightMax), largest);
        store(scales + row, div(largest, broadcast(kWeightMax)));
        for (std::int64_t g = 0; g < to_groups(call.count); ++g) {
            IntVec lanes[kPerLane];
            for (int t = 0; t < kPerLane; ++t) {
                lanes[t] = to_ints(mul(scaled[g * kPerLane + t], factor));
            }
            store_ints(groups[g] + row, pack_lanes(lanes));
        }
    }
};

/// out = out * factor + mixed * scale, for a row's two Vecs of columns from `column` on.
inline void add_mixed(const MixCall& call,
                      std::int64_t row,
                      std::int64_t column,
                      Vec* mixed,
                      float scale,
                      float factor) {
    to_column_order(mixed);
    float* out = call.out + row * call.out_stride + column;
    const auto sum_with = [&](int v, Vec before) {
        return fma(mixed[v], broadcast(scale), mul(before, broadcast(factor)));
    };
    const std::int64_t left = call.value_dim - column;
    if (left >= 2 * Vec::kWidth) {
        store(out, sum_with(0, load(out)));
        store(out + Vec::kWidth, sum_with(1, load(out + Vec::kWidth)));
        return;
    }
    const int whole = left >= Vec::kWidth ? 1 : 0;
    if (whole == 1) store(out, sum_with(0, load(out)));
    const std::int64_t part = left - whole * Vec::kWidth;
    if (part <= 0) return;
    out += whole * Vec::kWidth;
    store_part(out, sum_with(whole, load_part(out, part)), part);
}

/// out = out * factor + sum over the tokens of weight * value, for kRows rows and kPairs times two
/// Vecs of columns. kPerLane tokens' columns are put side by side in registers, for all rows at
/// once; behind the last token weights are 0.
template <int kRows, int kPairs>
[[gnu::noinline]] void mix_rounded_tile(const MixCall& call,
                                        const RoundedRows& tokens,
                                        std::int64_t row,
                                        std::int64_t column,
                                        const RoundedWeights& weights,
                                        const float* factors,
                                        Ahead& ahead) {
    IntVec sums[kRows][2 * kPairs];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < 2 * kPairs; ++v) {
            sums[r][v] = zero_ints<IntVec>();
        }
    }
    for (std::int64_t begin = 0; begin < call.count; begin += kAttendTokens) {
        ahead.ask();
        const RoundedBlock block = tokens.block(begin / kAttendTokens);
        const std::int64_t left = call.count - begin;
        const std::int64_t groups = to_groups(left < kAttendTokens ? left : kAttendTokens);
        const RowInt* rows = block.rows + column;
        const auto* lanes = weights.groups[begin / kPerLane] + row;
        const auto add_group = [&](std::int64_t g) {
            IntVec values[2 * kPairs];
#pragma GCC unroll 4
            for (int p = 0; p < kPairs; ++p) {
                load_side_by_side(rows + g * kPerLane * block.stride + 2 * p * Vec::kWidth,
                                  block.stride,
                                  values + 2 * p);
            }
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
                const auto weight = broadcast_group<IntVec>(lanes + g * kAttendRows + r);
#pragma GCC unroll 4
                for (int v = 0; v < 2 * kPairs; ++v) {
                    sums[r][v] = add_products(sums[r][v], weight, values[v]);
                }
            }
        };
        std::int64_t g = 0;
        for (; g + 4 <= groups; g += 4) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                add_group(g + i);
            }
        }
        for (; g < groups; ++g) {
            add_group(g);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int p = 0; p < kPairs; ++p) {
            Vec mixed[2] = {to_floats(sums[r][2 * p]), to_floats(sums[r][2 * p + 1])};
            add_mixed(call,
                      row + r,
                      column + 2 * p * Vec::kWidth,
                      mixed,
                      weights.scales[row + r],
                      factors[row + r]);
        }
    }
}

template <int kRows>
inline void mix_rounded_rows(const MixCall& call,
                             const RoundedRows& tokens,
                             std::int64_t row,
                             const RoundedWeights& weights,
                             const float* factors,
                             Ahead& ahead) {
    constexpr int kPairs = kHasManyRegisters && kRows < 8 ? 2 : 1;
    constexpr std::int64_t kPairColumns = 2 * Vec::kWidth;
    std::int64_t at = 0;
    for (; at + kPairs * kPairColumns <= tokens.value_stride; at += kPairs * kPairColumns) {
        mix_rounded_tile<kRows, kPairs>(call, tokens, row, at, weights, factors, ahead);
    }
    for (; at < tokens.value_stride; at += kPairColumns) {
        mix_rounded_tile<kRows, 1>(call, tokens, row, at, weights, factors, ahead);
    }
}

/// Source: Milakov and Gimelshein, arXiv:1805.02867 (online softmax).
inline void mix_rounded(const MixCall& call) {
    const RoundedRows tokens(call);
    MixWeights weights;
    float factors[kAttendRows];
    const std::int64_t mix_parts = tokens.value_stride / kRoundedColumns *
                                   ((call.count + kAttendTokens - 1) / kAttendTokens) *
                                   ((call.rows + 7) / 8);
    Ahead ahead(call, ahead_parts(call) + mix_parts);
    std::int64_t row = 0;
    for (; row + Vec::kWidth < call.rows; row += 2 * Vec::kWidth) {
        score_rounded_rows<IntVec, 2>(call, tokens, row, ahead, weights);
    }
    if (call.rows - row > kFewRows) {
        score_rounded_rows<IntVec, 1>(call, tokens, row, ahead, weights);
    } else if (row < call.rows) {
        score_rounded_rows<FewInts, 1>(call, tokens, row, ahead, weights);
    }
    hide(call, weights);
    RoundedWeights rounded;
    for (row = 0; row < call.rows; row += Vec::kWidth) {
        soften(call, row, weights, factors);
        rounded.round(call, tokens, row, weights);
    }
    row = 0;
    if constexpr (kHasManyRegisters) {
        for (; row + 8 <= call.rows; row += 8) {
            mix_rounded_rows<8>(call, tokens, row, rounded, factors, ahead);
        }
    }
    for (; row + 4 <= call.rows; row += 4) {
        mix_rounded_rows<4>(call, tokens, row, rounded, factors, ahead);
    }
    for (; row < call.rows; ++row) {
        mix_rounded_rows<1>(call, tokens, row, rounded, factors, ahead);
    }
}

}  // namespace
}  // namespace hearth::cpu

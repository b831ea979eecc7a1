// Attention of many rows of queries over the same cached rows: three products of matrices of 16-bit
// integers, two to a lane. Queries lie turned, with a row in each lane, so that a score is one
// chain over the columns, and softmax needs no sums across lanes. The integer sums are exact, and a
// row's float sums are taken in the order of columns and tokens, whatever other rows there are and
// however wide a Vec is. Included by each kernels_*.cpp behind rounded_rows.h; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/rounded_rows.h"
#include "kernels/cpu/simd/vector_mix.h"

namespace hearth::cpu {
namespace {

/// Pairs of columns of scores between two requests for what comes ahead.
constexpr std::int64_t kAheadPairs = kAheadColumns / 2;

constexpr auto kFewRows = static_cast<std::int64_t>(sizeof(FewInts) / sizeof(float));

/// Columns of one part of the rows, few enough that their sums fit 32 bits.
struct Piece {
    std::int64_t key, pairs;  ///< the first column, and how many pairs there are
    const float* queries;     ///< the first pair
    const float* query_scales;
    int part;
    bool is_first;
};

/// out = sums as floats times both scales, or that added to it.
inline void add_scores(
    IntVec sums, const float* query_scales, float key_scale, bool is_first, float* out) {
    const Vec scores = mul(to_floats(sums), load(query_scales));
    const Vec scale = broadcast(key_scale);
    store(out, is_first ? mul(scores, scale) : fma(scores, scale, load(out)));
}

/// Scores of kTokens tokens from `first` on and of kVecs times the lanes of Lanes, rows from `row`
/// on. Not inlined, as mix_rounded_tile: all registers are for the sums.
template <typename Lanes, int kVecs, int kTokens>
[[gnu::noinline]] void score_rounded_tile(const RoundedRows& tokens,
                                          std::int64_t query_stride,
                                          const Piece& piece,
                                          std::int64_t row,
                                          std::int64_t first,
                                          Ahead& ahead,
                                          MixWeights& out) {
    constexpr auto kWidth = static_cast<std::int64_t>(sizeof(Lanes) / sizeof(float));
    Lanes sums[kTokens][kVecs];
    const std::int16_t* keys[kTokens];
    for (int t = 0; t < kTokens; ++t) {
        keys[t] = tokens.row(first + t) + piece.key;
        for (int v = 0; v < kVecs; ++v) {
            sums[t][v] = zero_ints<Lanes>();
        }
    }
    const float* queries = piece.queries + row;
    for (std::int64_t i = 0; i < piece.pairs;) {
        ahead.ask();
        const std::int64_t end = i + kAheadPairs < piece.pairs ? i + kAheadPairs : piece.pairs;
        for (; i < end; ++i, queries += query_stride) {
            Lanes query[kVecs];
            for (int v = 0; v < kVecs; ++v) {
                query[v] = in_register(load_ints_of<Lanes>(queries + v * kWidth));
            }
            for (int t = 0; t < kTokens; ++t) {
                const auto key = broadcast_two<Lanes>(keys[t] + 2 * i);
                for (int v = 0; v < kVecs; ++v) {
                    sums[t][v] = add_products(sums[t][v], query[v], key);
                }
            }
        }
    }
    for (int v = 0; v < kVecs; ++v) {
        const std::int64_t at = row + v * kWidth;
        for (int t = 0; t < kTokens; ++t) {
            add_scores(sums[t][v],
                       piece.query_scales + at,
                       tokens.scale(piece.part, first + t),
                       piece.is_first,
                       out[first + t] + at);
        }
    }
}

/// Tokens in tiles that keep two products a cycle busy without a register being spilled.
template <typename Lanes, int kVecs>
inline void score_piece(const MixCall& call,
                        const RoundedRows& tokens,
                        const Piece& piece,
                        std::int64_t row,
                        Ahead& ahead,
                        MixWeights& out) {
    constexpr int kTokens = kVecs == 1 ? 8 : 6;
    const std::int64_t stride = call.query_stride;
    std::int64_t j = 0;
    const auto left = [&] { return call.count - j; };
    for (; left() >= kTokens && (left() == kTokens || left() != 8); j += kTokens) {
        score_rounded_tile<Lanes, kVecs, kTokens>(tokens, stride, piece, row, j, ahead, out);
    }
    for (; left() >= 4; j += 4) {
        score_rounded_tile<Lanes, kVecs, 4>(tokens, stride, piece, row, j, ahead, out);
    }
    for (; left() >= 2; j += 2) {
        score_rounded_tile<Lanes, kVecs, 2>(tokens, stride, piece, row, j, ahead, out);
    }
    if (left() == 1) {
        score_rounded_tile<Lanes, kVecs, 1>(tokens, stride, piece, row, j, ahead, out);
    }
}

template <typename Lanes, int kVecs>
inline void score_rounded_rows(const MixCall& call,
                               const RoundedRows& tokens,
                               std::int64_t row,
                               Ahead& ahead,
                               MixWeights& out) {
    const RoundedQueries queries(call.queries, call.query_stride, call.key_dim, call.value_dim);
    for (int part = 0; part < kMixParts; ++part) {
        const std::int64_t dim = part_dim(call.key_dim, call.value_dim, part);
        for (std::int64_t column = 0; column < dim; column += kPieceColumns) {
            const std::int64_t left = dim - column;
            const Piece piece{part * tokens.value_stride + column,
                              ((left < kPieceColumns ? left : kPieceColumns) + 1) / 2,
                              queries.pairs(part) + column / 2 * call.query_stride,
                              queries.scales(part),
                              part,
                              part == 0 && column == 0};
            score_piece<Lanes, kVecs>(call, tokens, piece, row, ahead, out);
        }
    }
}

/// Weights times the tokens' scales, rounded: two tokens to a lane.
struct RoundedWeights {
    float pairs[kMixTokens / 2][kAttendRows];
    float scales[kAttendRows];

    void round(const MixCall& call,
               const RoundedRows& tokens,
               std::int64_t row,
               const MixWeights& weights) {
        Vec scaled[kMixTokens];
        Vec largest = broadcast(kTinyMaximum);
        for (std::int64_t j = 0; j < call.count; ++j) {
            scaled[j] = mul(load(weights[j] + row), broadcast(tokens.scale(0, j)));
            largest = max(largest, scaled[j]);
        }
        const Vec factor = div(broadcast(kWeightMax), largest);
        store(scales + row, div(largest, broadcast(kWeightMax)));
        for (std::int64_t j = 0; j < call.count; j += 2) {
            const Vec second = j + 1 < call.count ? scaled[j + 1] : zero();
            store_ints(pairs[j / 2] + row,
                       pack_two(to_ints(mul(scaled[j], factor)), to_ints(mul(second, factor))));
        }
    }
};

/// Tokens of mixing between two requests for what comes ahead.
constexpr std::int64_t kAheadTokens = 8;

/// Sixteen sums and what they are made of in registers, or eight.
constexpr bool kHasManyRegisters = Vec::kWidth == 16;

/// out = out * factor + sum over the tokens of weight * value, for kRows rows and kPairs times two
/// Vecs of columns. Two tokens' columns are put side by side in registers, for all rows at once.
template <int kRows, int kPairs>
[[gnu::noinline]] void mix_rounded_tile(const MixCall& call,
                                        const RoundedRows& tokens,
                                        std::int64_t row,
                                        std::int64_t column,
                                        const RoundedWeights& weights,
                                        const float* factors,
                                        Ahead& ahead) {
    IntVec sums[kRows][2 * kPairs];
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < 2 * kPairs; ++v) {
            sums[r][v] = zero_ints<IntVec>();
        }
    }
    for (std::int64_t j = 0; j < call.count; j += 2) {
        if (j % kAheadTokens == 0) ahead.ask();
        // Behind the last token that token again: its weight there is 0.
        const std::int16_t* const first = tokens.row(j) + column;
        const std::int16_t* const second = tokens.row(j + 1 < call.count ? j + 1 : j) + column;
        IntVec values[2 * kPairs];
        for (int p = 0; p < kPairs; ++p) {
            load_side_by_side(
                first + 2 * p * Vec::kWidth, second + 2 * p * Vec::kWidth, values + 2 * p);
        }
        for (int r = 0; r < kRows; ++r) {
            const IntVec weight = broadcast_two<IntVec>(weights.pairs[j / 2] + row + r);
            for (int v = 0; v < 2 * kPairs; ++v) {
                sums[r][v] = add_products(sums[r][v], values[v], weight);
            }
        }
    }
    for (int r = 0; r < kRows; ++r) {
        const Vec factor = broadcast(factors[row + r]);
        const Vec scale = broadcast(weights.scales[row + r]);
        float* out = call.out + (row + r) * call.out_stride + column;
        for (int p = 0; p < kPairs; ++p) {
            Vec mixed[2] = {to_floats(sums[r][2 * p]), to_floats(sums[r][2 * p + 1])};
            to_column_order(mixed);
            for (int v = 0; v < 2; ++v, out += Vec::kWidth) {
                const std::int64_t left = call.value_dim - column - (2 * p + v) * Vec::kWidth;
                if (left <= 0) break;
                const Vec before = left < Vec::kWidth ? load_part(out, left) : load(out);
                const Vec sum = fma(mixed[v], scale, mul(before, factor));
                if (left < Vec::kWidth) {
                    store_part(out, sum, left);
                } else {
                    store(out, sum);
                }
            }
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
void mix_rounded(const MixCall& call) {
    const RoundedRows tokens(call);
    MixWeights weights;
    float factors[kAttendRows];
    const std::int64_t mix_parts = tokens.value_stride / kRoundedColumns *
                                   ((call.count + kAheadTokens - 1) / kAheadTokens) *
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

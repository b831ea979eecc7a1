// Attention of many rows of queries over the same keys and values, which lie as floats: three
// products of matrices. Queries lie turned, with a row in each lane, so that a score is one chain
// over the columns, and softmax needs no sums across lanes. A row's sums are taken in the order of
// columns and tokens, whatever other rows there are and however wide a Vec is. Included by each
// kernels_*.cpp behind vector_attention.h; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/vector_attention.h"
#include "kernels/cpu/simd/vector_softmax.h"

namespace hearth::cpu {
namespace {

/// Columns of scores between two requests for what comes ahead.
constexpr std::int64_t kAheadColumns = 16;

inline std::int64_t ahead_parts(const MixCall& call) {
    return (call.key_dim + kAheadColumns - 1) / kAheadColumns *
           ((call.count * call.rows + 63) / 64);
}

/// Scores of kTokens tokens from `first` on and of kVecs Vecs of rows from `row` on. Not inlined,
/// as mix_tile: all registers are for the sums.
template <int kVecs, int kTokens>
[[gnu::noinline]] void score_tile(
    const MixCall& call, std::int64_t row, std::int64_t first, Ahead& ahead, MixWeights& out) {
    Vec sums[kTokens][kVecs];
    const float* keys[kTokens];
    for (int t = 0; t < kTokens; ++t) {
        keys[t] = call.keys + (first + t) * call.key_stride;
        for (int v = 0; v < kVecs; ++v) {
            sums[t][v] = zero();
        }
    }
    const float* queries = call.queries + row;
    for (std::int64_t i = 0; i < call.key_dim;) {
        ahead.ask();
        const std::int64_t end =
            i + kAheadColumns < call.key_dim ? i + kAheadColumns : call.key_dim;
        for (; i < end; ++i, queries += call.query_stride) {
            Vec query[kVecs];
            for (int v = 0; v < kVecs; ++v) {
                query[v] = in_register(load(queries + v * Vec::kWidth));
            }
            for (int t = 0; t < kTokens; ++t) {
                const Vec key = broadcast(keys[t][i]);
                for (int v = 0; v < kVecs; ++v) {
                    sums[t][v] = fma(key, query[v], sums[t][v]);
                }
            }
        }
    }
    for (int t = 0; t < kTokens; ++t) {
        for (int v = 0; v < kVecs; ++v) {
            store(out[first + t] + row + v * Vec::kWidth, sums[t][v]);
        }
    }
}

/// Tokens in tiles that keep two products a cycle busy without a Vec leaving its register.
template <int kVecs>
inline void score_rows(const MixCall& call, std::int64_t row, Ahead& ahead, MixWeights& out) {
    constexpr int kTokens = kVecs == 1 ? 8 : 6;
    std::int64_t j = 0;
    const auto left = [&] { return call.count - j; };
    for (; left() >= kTokens && (left() == kTokens || left() != 8); j += kTokens) {
        score_tile<kVecs, kTokens>(call, row, j, ahead, out);
    }
    for (; left() >= 4; j += 4) {
        score_tile<kVecs, 4>(call, row, j, ahead, out);
    }
    for (; left() >= 2; j += 2) {
        score_tile<kVecs, 2>(call, row, j, ahead, out);
    }
    if (left() == 1) score_tile<kVecs, 1>(call, row, j, ahead, out);
}

/// out = out * factor + sum over the tokens of weight * value, for kRows rows and kVecs Vecs of
/// columns.
template <int kRows, int kVecs>
[[gnu::noinline]] void mix_tile(const MixCall& call,
                                std::int64_t row,
                                std::int64_t column,
                                const MixWeights& weights,
                                const float* factors) {
    Vec sums[kRows][kVecs];
    float* const out = call.out + row * call.out_stride + column;
    for (int r = 0; r < kRows; ++r) {
        const Vec factor = broadcast(factors[row + r]);
        for (int v = 0; v < kVecs; ++v) {
            sums[r][v] = mul(load(out + r * call.out_stride + v * Vec::kWidth), factor);
        }
    }
    const float* values = call.values + column;
    for (std::int64_t j = 0; j < call.count; ++j, values += call.value_stride) {
        Vec value[kVecs];
        for (int v = 0; v < kVecs; ++v) {
            value[v] = in_register(load(values + v * Vec::kWidth));
        }
        for (int r = 0; r < kRows; ++r) {
            const Vec weight = broadcast(weights[j][row + r]);
            for (int v = 0; v < kVecs; ++v) {
                sums[r][v] = fma(weight, value[v], sums[r][v]);
            }
        }
    }
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) {
            store(out + r * call.out_stride + v * Vec::kWidth, sums[r][v]);
        }
    }
}

/// The same for the columns that do not fill a Vec.
inline void mix_rest(const MixCall& call,
                     std::int64_t row,
                     std::int64_t column,
                     const MixWeights& weights,
                     const float* factors) {
    const std::int64_t width = call.value_dim - column;
    float* const out = call.out + row * call.out_stride + column;
    Vec sum = mul(load_part(out, width), broadcast(factors[row]));
    for (std::int64_t j = 0; j < call.count; ++j) {
        const float* value = call.values + j * call.value_stride + column;
        sum = fma(broadcast(weights[j][row]), load_part(value, width), sum);
    }
    float lanes[Vec::kWidth];
    store(lanes, sum);
    for (std::int64_t lane = 0; lane < width; ++lane) {
        out[lane] = lanes[lane];
    }
}

template <int kRows>
inline void mix_rows(const MixCall& call,
                     std::int64_t row,
                     const MixWeights& weights,
                     const float* factors) {
    std::int64_t at = 0;
    std::int64_t vecs = call.value_dim / Vec::kWidth;
    for (; vecs > 4 || vecs == 3; vecs -= 3, at += 3 * Vec::kWidth) {
        mix_tile<kRows, 3>(call, row, at, weights, factors);
    }
    for (; vecs >= 2; vecs -= 2, at += 2 * Vec::kWidth) {
        mix_tile<kRows, 2>(call, row, at, weights, factors);
    }
    if (vecs == 1) {
        mix_tile<kRows, 1>(call, row, at, weights, factors);
        at += Vec::kWidth;
    }
    if (at == call.value_dim) return;
    for (int r = 0; r < kRows; ++r) {
        mix_rest(call, row + r, at, weights, factors);
    }
}

/// Source: Milakov and Gimelshein, arXiv:1805.02867 (online softmax).
inline void mix(const MixCall& call) {
    MixWeights weights;
    float factors[kAttendRows];
    Ahead ahead(call, ahead_parts(call));
    std::int64_t row = 0;
    for (; row + Vec::kWidth < call.rows; row += 2 * Vec::kWidth) {
        score_rows<2>(call, row, ahead, weights);
    }
    if (row < call.rows) score_rows<1>(call, row, ahead, weights);
    hide(call, weights);
    for (row = 0; row < call.rows; row += Vec::kWidth) {
        soften(call, row, weights, factors);
    }
    for (row = 0; row + 4 <= call.rows; row += 4) {
        mix_rows<4>(call, row, weights, factors);
    }
    for (; row < call.rows; ++row) {
        mix_rows<1>(call, row, weights, factors);
    }
}

template <typename Columns>
void decode_rows(
    const void* rows, std::int64_t row_bytes, std::int64_t dim, std::int64_t count, float* out) {
    decode_columns<Columns>(rows, row_bytes, 0, dim, count, out);
}

}  // namespace
}  // namespace hearth::cpu

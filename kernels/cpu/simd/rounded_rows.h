// What `mix_rounded` multiplies: queries and cached rows as integers of 12 bits and a sign. A row
// has two parts with a scale each, what is mixed and what is rotated, since one may be much larger
// than the other. Each row is rounded alone. Included by vector_rounded_mix.h behind
// vector_attention.h; internal linkage.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/vector_attention.h"

namespace hearth::cpu {
namespace {

/// The largest integers, and the most columns whose products of two then fit 32 bits; of weights as
/// many tokens.
constexpr float kRoundedMax = 4095.0F;
constexpr std::int64_t kPieceColumns = 128;
constexpr float kWeightMax = 16383.0F;
static_assert(4095LL * 4095 * kPieceColumns < 1LL << 31);
static_assert(4095LL * 16383 * kMixTokens < 1LL << 31);
/// Of a row of zeros, so that it can be divided by.
constexpr float kTinyMaximum = 1e-30F;

constexpr int kMixParts = 2;
constexpr std::int64_t part_dim(std::int64_t key_dim, std::int64_t value_dim, int part) {
    return part == 0 ? value_dim : key_dim - value_dim;
}
constexpr std::int64_t to_lanes(std::int64_t columns) {
    return (columns + kMixLanes - 1) / kMixLanes * kMixLanes;
}

/// Rounded queries in the memory of floats: the pairs of the first part, those of the second, and
/// the scales of both. Each lane is a row.
struct RoundedQueries {
    RoundedQueries(const float* memory,
                   std::int64_t row_stride,
                   std::int64_t key_dim,
                   std::int64_t value_dim)
        : first(memory),
          stride(row_stride),
          first_pairs((value_dim + 1) / 2),
          all_pairs(first_pairs + (key_dim - value_dim + 1) / 2) {}

    [[nodiscard]] const float* pairs(int part) const { return first + part * first_pairs * stride; }
    [[nodiscard]] const float* scales(int part) const {
        return first + (all_pairs + part) * stride;
    }

    const float* first;
    std::int64_t stride, first_pairs, all_pairs;
};

/// kMixTokens cached rows.
struct RoundedRows {
    RoundedRows(void* memory, std::int64_t key_dim, std::int64_t value_dim)
        : value_stride(to_lanes(value_dim)),
          key_stride(value_stride + to_lanes(key_dim - value_dim)),
          keys(static_cast<std::int16_t*>(memory)),
          values(keys + kMixTokens * key_stride) {
        scales[0] = reinterpret_cast<float*>(values + kMixTokens * value_stride);
        scales[1] = scales[0] + kMixTokens;
        row = scales[1] + kMixTokens;
    }

    std::int64_t value_stride, key_stride;
    std::int16_t* keys;        ///< (kMixTokens, key_stride): the second part begins at value_stride
    std::int16_t* values;      ///< (kMixTokens / 2, value_stride, 2): two tokens side by side
    float* scales[kMixParts];  ///< (kMixTokens)
    float* row;                ///< one as floats, while it is read
};

/// The part of a lane's rows from `from` on, of which there are `dim`; leaves the pairs at `to`.
inline Vec round_part(const RoundQueriesCall& call,
                      const float* from,
                      std::int64_t dim,
                      float* to) {
    Vec largest = broadcast(kTinyMaximum);
    for (std::int64_t i = 0; i < dim; ++i) {
        largest = max(largest, abs(load(from + i * call.stride)));
    }
    const Vec factor = div(broadcast(kRoundedMax), largest);
    for (std::int64_t i = 0; i < dim; i += 2, from += 2 * call.stride, to += call.stride) {
        const Vec second = i + 1 < dim ? load(from + call.stride) : zero();
        store_ints(to, pack_two(to_ints(mul(load(from), factor)), to_ints(mul(second, factor))));
    }
    return div(largest, broadcast(kRoundedMax));
}

void round_queries(const RoundQueriesCall& call) {
    const RoundedQueries to(call.queries, call.stride, call.key_dim, call.value_dim);
    for (std::int64_t lane = 0; lane < call.stride; lane += Vec::kWidth) {
        // Pairs never overtake the rows that they are made of.
        float* const first = call.queries + lane;
        Vec scales[kMixParts];
        for (int part = 0; part < kMixParts; ++part) {
            scales[part] = round_part(call,
                                      first + part * call.value_dim * call.stride,
                                      part_dim(call.key_dim, call.value_dim, part),
                                      first + part * to.first_pairs * call.stride);
        }
        for (int part = 0; part < kMixParts; ++part) {
            store(first + (to.all_pairs + part) * call.stride, scales[part]);
        }
    }
}

/// `dim` floats, rounded, and zeros up to the next lanes; their scale.
inline float round_row(const float* x, std::int64_t dim, std::int16_t* out) {
    Vec largest_lanes = broadcast(kTinyMaximum);
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        largest_lanes = max(largest_lanes, abs(load(x + i)));
    }
    if (i < dim) largest_lanes = max(largest_lanes, abs(load_part(x + i, dim - i)));
    const float largest = max_of(largest_lanes);
    const Vec factor = broadcast(kRoundedMax / largest);
    for (i = 0; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store_int16(out + i, to_ints(mul(load(x + i), factor)));
    }
    if (i < dim) {
        store_int16(out + i, to_ints(mul(load_part(x + i, dim - i), factor)));
        i += Vec::kWidth;
    }
    for (; i < to_lanes(dim); i += Vec::kWidth) {
        store_int16(out + i, zero_ints<IntVec>());
    }
    return largest / kRoundedMax;
}

template <typename Columns>
void read_rows(const ReadRowsCall& call) {
    const RoundedRows to(call.out, call.key_dim, call.value_dim);
    for (std::int64_t j = 0; j < call.count; ++j) {
        const std::int64_t token = call.first + j;
        std::int16_t* const keys = to.keys + token * to.key_stride;
        decode_columns<Columns>(
            cache_row(call.rows, call.row_bytes, j), call.row_bytes, 0, call.key_dim, 1, to.row);
        to.scales[0][token] = round_row(to.row, call.value_dim, keys);
        to.scales[1][token] = round_row(
            to.row + call.value_dim, call.key_dim - call.value_dim, keys + to.value_stride);
    }
    for (std::int64_t j = 0; j < call.count; j += 2) {
        const std::int16_t* const keys = to.keys + (call.first + j) * to.key_stride;
        std::int16_t* const values = to.values + (call.first + j) * to.value_stride;
        const bool is_pair = j + 1 < call.count;
        for (std::int64_t i = 0; i < to.value_stride; i += Vec::kWidth) {
            const IntVec second =
                is_pair ? load_int16(keys + to.key_stride + i) : zero_ints<IntVec>();
            store_ints(values + 2 * i, pack_two(load_int16(keys + i), second));
        }
    }
}

}  // namespace
}  // namespace hearth::cpu

// What `mix_rounded` multiplies: queries and cached rows as integers of 12 bits and a sign, each
// rounded alone, each part with a scale of its own. Included by vector_rounded_mix.h behind
// vector_attention.h; internal linkage.
#pragma once

#include <cstddef>
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

constexpr std::int64_t part_dim(std::int64_t key_dim, std::int64_t value_dim, int part) {
    return part == 0 ? value_dim : key_dim - value_dim;
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

/// The blocks of a call.
class RoundedRows {
  public:
    explicit RoundedRows(const MixCall& call)
        : value_stride(to_rounded_columns(call.value_dim)),
          stride_(rounded_row_stride(call.key_dim, call.value_dim)),
          blocks_(call.blocks) {}

    /// Of a token: the second part begins at value_stride.
    [[nodiscard]] const std::int16_t* row(std::int64_t token) const {
        return rows_of(token) + token % kAttendTokens * stride_;
    }
    [[nodiscard]] float scale(int part, std::int64_t token) const {
        const void* const scales = rows_of(token) + kAttendTokens * stride_;
        return static_cast<const float*>(scales)[part * kAttendTokens + token % kAttendTokens];
    }

    const std::int64_t value_stride;

  private:
    [[nodiscard]] const std::int16_t* rows_of(std::int64_t token) const {
        return static_cast<const std::int16_t*>(
            static_cast<const void*>(blocks_[token / kAttendTokens]));
    }

    std::int64_t stride_;
    const std::byte* const* blocks_;
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

/// Floats as they are, and as halves.
struct AsFloats {
    static Vec of(Vec x) { return x; }
};
struct AsHalves {
    static Vec of(Vec x) {
        std::uint16_t halves[Vec::kWidth];
        store_half(halves, x);
        return load_half(halves);
    }
};

/// `dim` floats, rounded, and zeros up to whole columns; their scale.
template <typename As>
inline float round_row(const float* x, std::int64_t dim, std::int16_t* out) {
    Vec largest_lanes = broadcast(kTinyMaximum);
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        largest_lanes = max(largest_lanes, abs(As::of(load(x + i))));
    }
    if (i < dim) largest_lanes = max(largest_lanes, abs(As::of(load_part(x + i, dim - i))));
    const float largest = max_of(largest_lanes);
    const Vec factor = broadcast(kRoundedMax / largest);
    for (i = 0; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store_int16(out + i, to_ints(mul(As::of(load(x + i)), factor)));
    }
    if (i < dim) {
        store_int16(out + i, to_ints(mul(As::of(load_part(x + i, dim - i)), factor)));
        i += Vec::kWidth;
    }
    for (; i < to_rounded_columns(dim); i += Vec::kWidth) {
        store_int16(out + i, zero_ints<IntVec>());
    }
    return largest / kRoundedMax;
}

template <typename As>
inline void round_into_block(const StoreRoundedCall& call) {
    const std::int64_t stride = rounded_row_stride(call.key_dim, call.value_dim);
    auto* const rows = static_cast<std::int16_t*>(static_cast<void*>(call.block));
    auto* const scales = static_cast<float*>(static_cast<void*>(rows + kAttendTokens * stride));
    std::int16_t* const row = rows + call.slot * stride;
    scales[call.slot] = round_row<As>(call.row, call.value_dim, row);
    scales[kAttendTokens + call.slot] = round_row<As>(call.row + call.value_dim,
                                                      call.key_dim - call.value_dim,
                                                      row + to_rounded_columns(call.value_dim));
}

void store_rounded(const StoreRoundedCall& call) {
    round_into_block<AsHalves>(call);
}

void round_rows(const RoundRowsCall& call) {
    for (std::int64_t j = 0; j < call.count; ++j) {
        decode_columns<Q80Columns>(
            cache_row(call.rows, call.row_bytes, j), call.row_bytes, 0, call.key_dim, 1, call.row);
        round_into_block<AsFloats>({call.row, call.key_dim, call.value_dim, j, call.block});
    }
}

}  // namespace
}  // namespace hearth::cpu

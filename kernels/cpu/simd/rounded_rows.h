// What `mix_rounded` multiplies: queries and cached rows as integers of 8 bits, each rounded alone,
// each part with a scale of its own. A lane takes kPerLane columns of bytes at a time, or of 16
// bits where an instruction set multiplies no bytes (RowInt). Included by vector_rounded_mix.h
// behind vector_attention.h; internal linkage.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd/vector_attention.h"

namespace hearth::cpu {
namespace {

/// The largest integers: of queries and rows, and of weights, which have no sign.
constexpr float kRoundedMax = 127.0F;
constexpr float kWeightMax = 255.0F;
static_assert(127LL * 255 * kMixTokens < 1LL << 31);
/// Of a row of zeros, so that it can be divided by.
constexpr float kTinyMaximum = 1e-30F;

constexpr std::int64_t part_dim(std::int64_t key_dim, std::int64_t value_dim, int part) {
    return part == 0 ? value_dim : key_dim - value_dim;
}
/// Lanes' fills of columns.
constexpr std::int64_t to_groups(std::int64_t columns) {
    return (columns + kPerLane - 1) / kPerLane;
}

/// Rounded queries in the memory of floats: the columns of the first part, kPerLane to a lane,
/// those of the second, and the scales of both. Each lane is a row.
struct RoundedQueries {
    RoundedQueries(const float* memory,
                   std::int64_t row_stride,
                   std::int64_t key_dim,
                   std::int64_t value_dim)
        : first(memory),
          stride(row_stride),
          group_counts{to_groups(value_dim), to_groups(key_dim - value_dim)} {}

    [[nodiscard]] const float* columns(int part) const {
        return first + part * group_counts[0] * stride;
    }
    [[nodiscard]] const float* scales(int part) const {
        return first + (group_counts[0] + group_counts[1] + part) * stride;
    }

    const float* first;
    std::int64_t stride;
    std::int64_t group_counts[kMixParts];
};

/// Up to kAttendTokens tokens of a call: their rows, of which the second part begins behind the
/// columns of the first one.
struct RoundedBlock {
    const RowInt* rows;
    std::int64_t stride;
    const float* scales;       ///< (kMixParts, kAttendTokens)
    const std::int32_t* sums;  ///< (kMixParts, kAttendTokens)
};

/// What lies behind the rows of a block.
inline const float* block_scales(const std::byte* block, std::int64_t stride) {
    return static_cast<const float*>(static_cast<const void*>(block + kAttendTokens * stride));
}
inline const std::int32_t* block_sums(const std::byte* block, std::int64_t stride) {
    const void* const sums = block_scales(block, stride) + kMixParts * kAttendTokens;
    return static_cast<const std::int32_t*>(sums);
}

/// The rows of a call as 16 bits, (count up to whole groups, stride), behind each other.
inline void widen_rows(const MixCall& call, std::int64_t stride, std::int16_t* wide) {
    for (std::int64_t j = 0; j < call.count; j += kAttendTokens) {
        const std::int64_t left = call.count - j;
        const std::int64_t rows = to_groups(left < kAttendTokens ? left : kAttendTokens) * kPerLane;
        const auto* narrow = static_cast<const std::int8_t*>(
            static_cast<const void*>(call.blocks[j / kAttendTokens]));
        for (std::int64_t i = 0; i < rows * stride; ++i) {
            // NOLINTNEXTLINE(bugprone-signed-char-misuse): an int8 is a number here
            wide[j * stride + i] = narrow[i];
        }
    }
}

/// The blocks of a call, as RowInt.
class RoundedRows {
  public:
    explicit RoundedRows(const MixCall& call)
        : value_stride(to_rounded_columns(call.value_dim)),
          stride_(rounded_row_stride(call.key_dim, call.value_dim)),
          call_(call) {
        if constexpr (sizeof(RowInt) > 1) widen_rows(call, stride_, widened());
    }

    /// Tokens from kAttendTokens * `index` on.
    [[nodiscard]] RoundedBlock block(std::int64_t index) const {
        const std::byte* const block = call_.blocks[index];
        return {rows_of(index), stride_, block_scales(block, stride_), block_sums(block, stride_)};
    }

    const std::int64_t value_stride;

  private:
    [[nodiscard]] const RowInt* rows_of(std::int64_t index) const {
        constexpr bool kIsWide = sizeof(RowInt) > 1;
        const void* const rows =
            kIsWide ? static_cast<const void*>(widened() + index * kAttendTokens * stride_)
                    : call_.blocks[index];
        return static_cast<const RowInt*>(rows);
    }
    [[nodiscard]] std::int16_t* widened() const {
        return static_cast<std::int16_t*>(static_cast<void*>(call_.widened));
    }

    std::int64_t stride_;
    const MixCall& call_;
};

/// The part of a lane's rows from `from` on, of which there are `dim`; leaves the columns at `to`.
inline Vec round_part(const RoundQueriesCall& call,
                      const float* from,
                      std::int64_t dim,
                      float* to) {
    Vec largest = broadcast(kTinyMaximum);
    for (std::int64_t i = 0; i < dim; ++i) {
        largest = max(largest, abs(load(from + i * call.stride)));
    }
    const Vec factor = div(broadcast(kRoundedMax), largest);
    for (std::int64_t i = 0; i < dim; i += kPerLane, to += call.stride) {
        IntVec columns[kPerLane];
        for (int c = 0; c < kPerLane; ++c, from += call.stride) {
            columns[c] = i + c < dim ? to_ints(mul(load(from), factor)) : zero_ints<IntVec>();
        }
        store_ints(to, raise(pack_lanes(columns)));
    }
    return div(largest, broadcast(kRoundedMax));
}

inline void round_queries(const RoundQueriesCall& call) {
    const RoundedQueries to(call.queries, call.stride, call.key_dim, call.value_dim);
    for (std::int64_t lane = 0; lane < call.stride; lane += Vec::kWidth) {
        // Columns never overtake the rows that they are made of.
        float* const first = call.queries + lane;
        Vec scales[kMixParts];
        for (int part = 0; part < kMixParts; ++part) {
            scales[part] = round_part(call,
                                      first + part * call.value_dim * call.stride,
                                      part_dim(call.key_dim, call.value_dim, part),
                                      first + (to.columns(part) - to.first));
        }
        for (int part = 0; part < kMixParts; ++part) {
            store(first + (to.scales(part) - to.first), scales[part]);
        }
    }
}

/// `dim` floats, to halves and then rounded, and zeros up to whole columns; their scale.
inline float round_row(const float* x, std::int64_t dim, std::int8_t* out) {
    const auto to_half = [](Vec value) {
        std::uint16_t halves[Vec::kWidth];
        store_half(halves, value);
        return load_half(halves);
    };
    Vec largest_lanes = broadcast(kTinyMaximum);
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        largest_lanes = max(largest_lanes, abs(to_half(load(x + i))));
    }
    if (i < dim) largest_lanes = max(largest_lanes, abs(to_half(load_part(x + i, dim - i))));
    const float largest = max_of(largest_lanes);
    const Vec factor = broadcast(kRoundedMax / largest);
    for (i = 0; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store_int8(out + i, mul(to_half(load(x + i)), factor));
    }
    if (i < dim) {
        store_int8(out + i, mul(to_half(load_part(x + i, dim - i)), factor));
        i += Vec::kWidth;
    }
    for (; i < to_rounded_columns(dim); ++i) {
        out[i] = 0;
    }
    return largest / kRoundedMax;
}

inline void store_rounded(const StoreRoundedCall& call) {
    const std::int64_t stride = rounded_row_stride(call.key_dim, call.value_dim);
    auto* row = static_cast<std::int8_t*>(static_cast<void*>(call.block)) + call.slot * stride;
    auto* const scales =
        static_cast<float*>(static_cast<void*>(call.block + kAttendTokens * stride));
    auto* const sums =
        static_cast<std::int32_t*>(static_cast<void*>(scales + kMixParts * kAttendTokens));
    const float* x = call.row;
    for (int part = 0; part < kMixParts; ++part) {
        const std::int64_t dim = part_dim(call.key_dim, call.value_dim, part);
        const std::int64_t at = part * kAttendTokens + call.slot;
        scales[at] = round_row(x, dim, row);
        sums[at] = 0;
        for (std::int64_t i = 0; i < dim; ++i) {
            sums[at] += row[i];
        }
        x += dim;
        row += to_rounded_columns(dim);
    }
}

}  // namespace
}  // namespace hearth::cpu

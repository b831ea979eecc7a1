// Attention over the blocks of the cache, written once over Vec: a block is decoded to floats for
// all rows of queries that look at it. Included by each kernels_*.cpp behind vector_kernels.h;
// internal linkage. A row's sums are taken in the order of the tokens, whatever other rows there
// are.
#pragma once

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/simd/vector_kernels.h"
#include "kernels/cpu/simd/vector_softmax.h"

namespace hearth::cpu {
namespace {

/// Columns of a cache row, by its CacheType. `load` gives kCount Vecs of columns side by side, of
/// which kShared, or all where those are fewer, lie in one block: a call's columns begin at a
/// multiple of 16, and `column` at a multiple of kCount Vecs behind that.
struct F16Columns {
    static constexpr int kShared = 1;
    static const std::uint16_t* at(const void* row, std::int64_t column) {
        return static_cast<const std::uint16_t*>(row) + column;
    }
    template <int kCount>
    static void load(const void* row, std::int64_t column, Vec* out) {
        for (int c = 0; c < kCount; ++c) {
            out[c] = load_half(at(row, column + c * Vec::kWidth));
        }
    }
    /// The lanes from `count` on are of no account.
    static Vec load_last(const void* row, std::int64_t column, std::int64_t count) {
        return load_row_part<F16Row>(at(row, column), count);
    }
};
struct Q80Columns {
    static constexpr int kShared = static_cast<int>(16 / Vec::kWidth);
    template <int kCount>
    static void load(const void* row, std::int64_t column, Vec* out) {
        for (int c = 0; c < kCount; c += kShared) {
            const auto at = static_cast<std::uint64_t>(column + c * Vec::kWidth);
            const auto& block = static_cast<const compute::BlockQ80*>(row)[at / kQ8Elements];
            const std::int8_t* quants = block.quants + at % kQ8Elements;
            const Vec scale = broadcast_half(block.d);
            for (int i = 0; i < kShared && c + i < kCount; ++i) {
                out[c + i] = mul(load_int8(quants + i * Vec::kWidth), scale);
            }
        }
    }
    static Vec load_last(const void* row, std::int64_t column, std::int64_t /*count*/) {
        Vec last = zero();
        load<1>(row, column, &last);  // a block is stored whole
        return last;
    }
};

/// Columns that have been decoded, or were stored so.
struct FloatColumns {
    static constexpr int kShared = 1;
    template <int kCount>
    static void load(const void* row, std::int64_t column, Vec* out) {
        for (int c = 0; c < kCount; ++c) {
            out[c] = cpu::load(static_cast<const float*>(row) + column + c * Vec::kWidth);
        }
    }
    static Vec load_last(const void* row, std::int64_t column, std::int64_t count) {
        return load_part(static_cast<const float*>(row) + column, count);
    }
};

inline const void* cache_row(const void* rows, std::int64_t row_bytes, std::int64_t index) {
    return static_cast<const char*>(rows) + index * row_bytes;
}

/// scores[r][j] for kRows queries and kKeys tokens from `first_key` on: eight products side by
/// side, each one chain of sums.
template <typename Columns, int kRows>
inline void score_keys(const AttendCall& call,
                       const float* const* queries,
                       std::int64_t first_key,
                       float (*scores)[kAttendTokens]) {
    constexpr int kKeys = 8 / kRows;
    const void* keys[kKeys];
    Vec products[8];
    for (int k = 0; k < kKeys; ++k) {
        // Past the last token the last one again: rows behind it may never have been written.
        const std::int64_t j = first_key + k < call.count ? first_key + k : call.count - 1;
        keys[k] = cache_row(call.keys, call.key_row_bytes, j);
    }
    for (int i = 0; i < 8; ++i) {
        products[i] = zero();
    }
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= call.key_dim; i += Vec::kWidth) {
        Vec query[kRows];
        for (int r = 0; r < kRows; ++r) {
            query[r] = load(queries[r] + i);
        }
        for (int k = 0; k < kKeys; ++k) {
            Vec key;
            Columns::template load<1>(keys[k], call.key_column + i, &key);
            for (int r = 0; r < kRows; ++r) {
                products[r * kKeys + k] = fma(key, query[r], products[r * kKeys + k]);
            }
        }
    }
    if (i < call.key_dim) {
        for (int k = 0; k < kKeys; ++k) {
            const Vec key = Columns::load_last(keys[k], call.key_column + i, call.key_dim - i);
            for (int r = 0; r < kRows; ++r) {
                const Vec query = load_part(queries[r] + i, call.key_dim - i);
                products[r * kKeys + k] = fma(key, query, products[r * kKeys + k]);
            }
        }
    }
    float sums[8];
    sums_of_8(products, sums);
    for (int r = 0; r < kRows; ++r) {
        __builtin_memcpy(scores[r] + first_key, sums + r * kKeys, sizeof(float) * kKeys);
    }
}

/// Tokens that a row may not see get minus infinity.
template <typename Columns, int kRows>
inline void score_rows(const AttendCall& call, std::int64_t first, float (*scores)[kAttendTokens]) {
    const float* queries[kRows];
    for (int r = 0; r < kRows; ++r) {
        queries[r] = call.queries + (first + r) * call.query_stride;
    }
    for (std::int64_t key = 0; key < call.count; key += 8 / kRows) {
        score_keys<Columns, kRows>(call, queries, key, scores);
    }
    for (int r = 0; r < kRows; ++r) {
        for (int j = call.visible[first + r]; j < kAttendTokens; ++j) {
            scores[r][j] = -kInfinity;
        }
    }
}

/// Products to weights relative to the row's new maximum; sums and what has been gathered are
/// scaled to it.
inline void softmax_row(const AttendCall& call, std::int64_t row, float* scores) {
    Vec largest = broadcast(call.maxima[row]);
    for (int j = 0; j < kAttendTokens; j += static_cast<int>(Vec::kWidth)) {
        const Vec scaled = mul(load(scores + j), broadcast(call.scale));
        store(scores + j, scaled);
        largest = max(largest, scaled);
    }
    const float maximum = max_of(largest);
    Vec sums = zero();
    for (int j = 0; j < kAttendTokens; j += static_cast<int>(Vec::kWidth)) {
        const Vec weights = exp(add(load(scores + j), broadcast(-maximum)));
        store(scores + j, weights);
        sums = add(sums, weights);
    }
    float* out = call.out + row * call.out_stride;
    if (maximum > call.maxima[row]) {
        float lanes[Vec::kWidth];
        store(lanes, exp(broadcast(call.maxima[row] - maximum)));
        const Vec shrink = broadcast(lanes[0]);
        call.sums[row] *= lanes[0];
        std::int64_t i = 0;
        for (; i + Vec::kWidth <= call.value_dim; i += Vec::kWidth) {
            store(out + i, mul(load(out + i), shrink));
        }
        for (; i < call.value_dim; ++i) {
            out[i] *= lanes[0];
        }
        call.maxima[row] = maximum;
    }
    call.sums[row] += sum_of(sums);
}

/// out[r][at + lanes] += sum over tokens of weights[r][j] * value[j], in the order of the tokens,
/// for kColumns Vecs side by side.
template <typename Columns, int kRows, int kColumns>
inline void gather_columns(const AttendCall& call,
                           std::int64_t first,
                           std::int64_t at,
                           const float (*weights)[kAttendTokens]) {
    Vec gathered[kRows][kColumns];
    for (int r = 0; r < kRows; ++r) {
        for (int c = 0; c < kColumns; ++c) {
            gathered[r][c] = load(call.out + (first + r) * call.out_stride + at + c * Vec::kWidth);
        }
    }
    for (std::int64_t j = 0; j < call.count; ++j) {
        const void* row = cache_row(call.values, call.value_row_bytes, j);
        Vec values[kColumns];
        Columns::template load<kColumns>(row, call.value_column + at, values);
        for (int r = 0; r < kRows; ++r) {
            const Vec weight = broadcast(weights[r][j]);
            for (int c = 0; c < kColumns; ++c) {
                gathered[r][c] = fma(weight, values[c], gathered[r][c]);
            }
        }
    }
    for (int r = 0; r < kRows; ++r) {
        for (int c = 0; c < kColumns; ++c) {
            store(call.out + (first + r) * call.out_stride + at + c * Vec::kWidth, gathered[r][c]);
        }
    }
}

/// The same for the last columns, which do not fill a Vec.
template <typename Columns, int kRows>
inline void gather_rest(const AttendCall& call,
                        std::int64_t first,
                        std::int64_t at,
                        const float (*weights)[kAttendTokens]) {
    const std::int64_t width = call.value_dim - at;
    for (int r = 0; r < kRows; ++r) {
        float* out = call.out + (first + r) * call.out_stride + at;
        Vec gathered = load_part(out, width);
        for (std::int64_t j = 0; j < call.count; ++j) {
            const Vec value = Columns::load_last(
                cache_row(call.values, call.value_row_bytes, j), call.value_column + at, width);
            gathered = fma(broadcast(weights[r][j]), value, gathered);
        }
        store_part(out, gathered, width);
    }
}

template <typename Columns, int kRows>
inline void gather_values(const AttendCall& call,
                          std::int64_t first,
                          const float (*weights)[kAttendTokens]) {
    constexpr int kColumns = 8 / kRows;
    std::int64_t at = 0;
    for (; at + kColumns * Vec::kWidth <= call.value_dim; at += kColumns * Vec::kWidth) {
        gather_columns<Columns, kRows, kColumns>(call, first, at, weights);
    }
    for (; at + Vec::kWidth <= call.value_dim; at += Vec::kWidth) {
        gather_columns<Columns, kRows, 1>(call, first, at, weights);
    }
    if (at < call.value_dim) gather_rest<Columns, kRows>(call, first, at, weights);
}

template <typename Columns, int kRows>
inline void attend_rows(const AttendCall& call, std::int64_t first) {
    std::int32_t visible = 0;
    for (int r = 0; r < kRows; ++r) {
        visible = visible < call.visible[first + r] ? call.visible[first + r] : visible;
    }
    if (visible == 0) return;
    float scores[kRows][kAttendTokens];
    score_rows<Columns, kRows>(call, first, scores);
    for (int r = 0; r < kRows; ++r) {
        softmax_row(call, first + r, scores[r]);
    }
    gather_values<Columns, kRows>(call, first, scores);
}

template <typename Columns>
inline void attend_all(const AttendCall& call) {
    std::int64_t r = 0;
    for (; r + 4 <= call.rows; r += 4) {
        attend_rows<Columns, 4>(call, r);
    }
    if (r + 2 <= call.rows) {
        attend_rows<Columns, 2>(call, r);
        r += 2;
    }
    if (r < call.rows) attend_rows<Columns, 1>(call, r);
}

/// out: (count, dim) floats.
template <typename Columns>
inline void decode_columns(const void* rows,
                           std::int64_t row_bytes,
                           std::int64_t column,
                           std::int64_t dim,
                           std::int64_t count,
                           float* out) {
    for (std::int64_t j = 0; j < count; ++j, out += dim) {
        const void* row = cache_row(rows, row_bytes, j);
        std::int64_t i = 0;
        constexpr std::int64_t kShared = Columns::kShared * Vec::kWidth;
        for (; i + kShared <= dim; i += kShared) {
            Vec columns[Columns::kShared];
            Columns::template load<Columns::kShared>(row, column + i, columns);
            for (int c = 0; c < Columns::kShared; ++c) {
                store(out + i + c * Vec::kWidth, columns[c]);
            }
        }
        for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
            Vec columns;
            Columns::template load<1>(row, column + i, &columns);
            store(out + i, columns);
        }
        if (i == dim) continue;
        store_part(out + i, Columns::load_last(row, column + i, dim - i), dim - i);
    }
}

/// Up to so many rows of queries columns are decoded where they are used: halves no more often than
/// once for scores and once for values.
template <typename Columns>
constexpr std::int64_t kDirectRows = 0;
template <>
constexpr std::int64_t kDirectRows<F16Columns> = 4;
template <>
constexpr std::int64_t kDirectRows<FloatColumns> = kAttendRows;

/// Source: Milakov and Gimelshein, arXiv:1805.02867 (online softmax).
template <typename Columns>
void attend(const AttendCall& call) {
    if (call.rows <= kDirectRows<Columns>) return attend_all<Columns>(call);
    const auto float_bytes = static_cast<std::int64_t>(sizeof(float));
    AttendCall decoded = call;
    decode_columns<Columns>(
        call.keys, call.key_row_bytes, call.key_column, call.key_dim, call.count, call.decoded);
    decoded.keys = call.decoded;
    decoded.key_row_bytes = call.key_dim * float_bytes;
    decoded.key_column = 0;
    float* values = call.decoded + call.count * call.key_dim;
    decode_columns<Columns>(
        call.values, call.value_row_bytes, call.value_column, call.value_dim, call.count, values);
    decoded.values = values;
    decoded.value_row_bytes = call.value_dim * float_bytes;
    decoded.value_column = 0;
    attend_all<FloatColumns>(decoded);
}

}  // namespace
}  // namespace hearth::cpu

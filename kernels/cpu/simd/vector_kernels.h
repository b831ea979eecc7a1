// The kernels over floats, written once over Vec. Included by each kernels_*.cpp after the Vec of
// its instruction set; everything has internal linkage. The order of every sum depends on the
// lengths of the rows only, never on how many rows, tokens or threads there are.
#pragma once

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd/token_tiles.h"

namespace hearth::cpu {
namespace {

constexpr float kInfinity = __builtin_inff();

/// The last elements of a row that does not fill a Vec; the rest of the lanes is 0.
inline Vec load_part(const float* p, std::int64_t count) {
    float lanes[Vec::kWidth] = {};
    for (std::int64_t i = 0; i < count; ++i) {
        lanes[i] = p[i];
    }
    return load(lanes);
}

struct F32Row {
    using Element = float;
    static Vec load_at(const float* p) { return load(p); }
};
struct F16Row {
    using Element = std::uint16_t;
    static Vec load_at(const std::uint16_t* p) { return load_half(p); }
};
struct Bf16Row {
    using Element = std::uint16_t;
    static Vec load_at(const std::uint16_t* p) { return load_bf16(p); }
};

template <typename Row>
inline Vec load_row_part(const typename Row::Element* p, std::int64_t count) {
    typename Row::Element lanes[Vec::kWidth] = {};
    for (std::int64_t i = 0; i < count; ++i) {
        lanes[i] = p[i];
    }
    return Row::load_at(lanes);
}

/// `kCount` dot products of one row of weights (or keys) with float rows. Two chains of sums per
/// product.
template <typename Row, int kCount>
inline void dot_rows(const typename Row::Element* row,
                     const float* const* others,
                     std::int64_t dim,
                     float* out) {
    Vec even[kCount];
    Vec odd[kCount];
    for (int t = 0; t < kCount; ++t) {
        even[t] = odd[t] = zero();
    }
    std::int64_t i = 0;
    for (; i + 2 * Vec::kWidth <= dim; i += 2 * Vec::kWidth) {
        const Vec w0 = Row::load_at(row + i);
        const Vec w1 = Row::load_at(row + i + Vec::kWidth);
        for (int t = 0; t < kCount; ++t) {
            even[t] = fma(w0, load(others[t] + i), even[t]);
            odd[t] = fma(w1, load(others[t] + i + Vec::kWidth), odd[t]);
        }
    }
    if (i + Vec::kWidth <= dim) {
        const Vec w = Row::load_at(row + i);
        for (int t = 0; t < kCount; ++t) {
            even[t] = fma(w, load(others[t] + i), even[t]);
        }
        i += Vec::kWidth;
    }
    if (i < dim) {
        const Vec w = load_row_part<Row>(row + i, dim - i);
        for (int t = 0; t < kCount; ++t) {
            odd[t] = fma(w, load_part(others[t] + i, dim - i), odd[t]);
        }
    }
    for (int t = 0; t < kCount; ++t) {
        out[t] = sum_of(add(even[t], odd[t]));
    }
}

template <typename Row>
struct FloatTile {
    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        const float* others[kCount];
        for (int t = 0; t < kCount; ++t) {
            others[t] = static_cast<const float*>(call.activations[first + t]);
        }
        for (std::int64_t r = 0; r < call.rows; ++r) {
            float results[kCount];
            const auto* row = reinterpret_cast<const typename Row::Element*>(row_of(call, r));
            dot_rows<Row, kCount>(row, others, call.dim, results);
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = results[t];
            }
        }
    }
};

template <typename Row>
void dot_float(const DotCall& call) {
    for_token_tiles<FloatTile<Row>>(call);
}

/// Rounds `count` elements to int8 with one scale; returns the scale.
inline float quantise_run(const float* x, std::int64_t count, std::int8_t* quants) {
    Vec largest = zero();
    for (std::int64_t i = 0; i < count; i += Vec::kWidth) {
        largest = max(largest, abs(load(x + i)));
    }
    const float scale = max_of(largest) / 127.0F;
    const Vec inverse = broadcast(scale > 0.0F ? 1.0F / scale : 0.0F);
    for (std::int64_t i = 0; i < count; i += Vec::kWidth) {
        // A scale near the smallest float has an inverse that overshoots.
        const Vec scaled =
            min(max(mul(load(x + i), inverse), broadcast(-127.0F)), broadcast(127.0F));
        store_int8(quants + i, scaled);
    }
    return scale;
}

inline int sum_quants(const std::int8_t* quants, int count) {
    int sum = 0;
    for (int i = 0; i < count; ++i) {
        sum += quants[i];
    }
    return sum;
}

void quantise_q8(const float* x, std::int64_t dim, void* out) {
    auto* group = static_cast<Q8Group*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        for (int block = 0; block < kGroupElements / kQ8Elements; ++block) {
            const int at = block * kQ8Elements;
            group->scales[block] = 0.0F;
            group->sums[block] = 0;
            if (first + at >= dim) continue;
            group->scales[block] = quantise_run(x + first + at, kQ8Elements, group->quants + at);
            group->sums[block] = sum_quants(group->quants + at, kQ8Elements);
        }
    }
}

void quantise_q8_k(const float* x, std::int64_t dim, void* out) {
    auto* group = static_cast<Q8kGroup*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        group->scale = quantise_run(x + first, kGroupElements, group->quants);
        for (int run = 0; run < kGroupElements / kQ8kSumElements; ++run) {
            group->sums[run] = static_cast<std::int16_t>(
                sum_quants(group->quants + run * kQ8kSumElements, kQ8kSumElements));
        }
        for (int run = 0; run < kGroupElements / kQ8Elements; ++run) {
            const int sum = group->sums[2 * run] + group->sums[2 * run + 1];
            group->sums_32[run] = static_cast<std::int16_t>(sum);
        }
    }
}

void rms_norm(const float* x, const float* weight, std::int64_t dim, float epsilon, float* out) {
    Vec squares = zero();
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        const Vec part = load(x + i);
        squares = fma(part, part, squares);
    }
    if (i < dim) {
        const Vec part = load_part(x + i, dim - i);
        squares = fma(part, part, squares);
    }
    const float mean = sum_of(squares) / static_cast<float>(dim);
    const float factor = 1.0F / __builtin_sqrtf(mean + epsilon);
    const Vec factors = broadcast(factor);
    for (i = 0; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store(out + i, mul(mul(load(x + i), factors), load(weight + i)));
    }
    for (; i < dim; ++i) {
        out[i] = x[i] * factor * weight[i];
    }
}

inline Vec swiglu_of(Vec gate, Vec up) {
    const Vec one = broadcast(1.0F);
    const Vec denominator = add(one, exp(mul(gate, broadcast(-1.0F))));
    return mul(div(gate, denominator), up);
}

void swiglu(const float* gate, const float* up, std::int64_t dim, float* out) {
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store(out + i, swiglu_of(load(gate + i), load(up + i)));
    }
    if (i < dim) {
        float lanes[Vec::kWidth];
        store(lanes, swiglu_of(load_part(gate + i, dim - i), load_part(up + i, dim - i)));
        for (std::int64_t lane = 0; i + lane < dim; ++lane) {
            out[i + lane] = lanes[lane];
        }
    }
}

void add_scaled(const float* x, float factor, std::int64_t dim, float* out) {
    const Vec factors = broadcast(factor);
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store(out + i, fma(factors, load(x + i), load(out + i)));
    }
    if (i < dim) {
        float lanes[Vec::kWidth];
        store(lanes, fma(factors, load_part(x + i, dim - i), load_part(out + i, dim - i)));
        for (std::int64_t lane = 0; i + lane < dim; ++lane) {
            out[i + lane] = lanes[lane];
        }
    }
}

void store_f16(const float* x, std::int64_t dim, void* out) {
    auto* halves = static_cast<std::uint16_t*>(out);
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store_half(halves + i, load(x + i));
    }
    if (i < dim) {
        std::uint16_t lanes[Vec::kWidth];
        store_half(lanes, load_part(x + i, dim - i));
        for (std::int64_t lane = 0; i + lane < dim; ++lane) {
            halves[i + lane] = lanes[lane];
        }
    }
}

void store_q8_0(const float* x, std::int64_t dim, void* out) {
    auto* block = static_cast<compute::BlockQ80*>(out);
    for (std::int64_t first = 0; first < dim; first += kQ8Elements, ++block) {
        float rest[kQ8Elements] = {};
        for (std::int64_t i = first; i < dim && dim - first < kQ8Elements; ++i) {
            rest[i - first] = x[i];
        }
        const float* run = dim - first < kQ8Elements ? rest : x + first;
        const float scale = quantise_run(run, kQ8Elements, block->quants);
        std::uint16_t lanes[Vec::kWidth];
        store_half(lanes, broadcast(scale));
        block->d = lanes[0];
    }
}

/// Columns of a cache row, by its CacheType.
struct F16Columns {
    static const std::uint16_t* at(const void* row, std::int64_t column) {
        return static_cast<const std::uint16_t*>(row) + column;
    }
    static Vec load(const void* row, std::int64_t column) { return load_half(at(row, column)); }
    /// The lanes from `count` on are of no account.
    static Vec load_last(const void* row, std::int64_t column, std::int64_t count) {
        return load_row_part<F16Row>(at(row, column), count);
    }
};
struct Q80Columns {
    static Vec load(const void* row, std::int64_t column) {
        const auto& block = static_cast<const compute::BlockQ80*>(row)[column / kQ8Elements];
        return mul(load_int8(block.quants + column % kQ8Elements), broadcast_half(block.d));
    }
    static Vec load_last(const void* row, std::int64_t column, std::int64_t /*count*/) {
        return load(row, column);  // a block is stored whole
    }
};

/// Columns that have been decoded.
struct FloatColumns {
    static Vec load(const void* row, std::int64_t column) {
        return cpu::load(static_cast<const float*>(row) + column);
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
            const Vec key = Columns::load(keys[k], call.key_column + i);
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
        for (int c = 0; c < kColumns; ++c) {
            values[c] = Columns::load(row, call.value_column + at + c * Vec::kWidth);
        }
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
        float lanes[Vec::kWidth];
        store(lanes, gathered);
        for (std::int64_t lane = 0; lane < width; ++lane) {
            out[lane] = lanes[lane];
        }
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
        for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
            store(out + i, Columns::load(row, column + i));
        }
        if (i == dim) continue;
        float lanes[Vec::kWidth];
        store(lanes, Columns::load_last(row, column + i, dim - i));
        for (std::int64_t lane = 0; i + lane < dim; ++lane) {
            out[i + lane] = lanes[lane];
        }
    }
}

/// Up to so many rows of queries the cache is decoded where it is used: no more often than once for
/// scores and once for values.
constexpr std::int64_t kDirectRows = 4;

/// Source: Milakov and Gimelshein, arXiv:1805.02867 (online softmax).
template <typename Columns>
void attend(const AttendCall& call) {
    if (call.rows <= kDirectRows) return attend_all<Columns>(call);
    const auto float_bytes = static_cast<std::int64_t>(sizeof(float));
    AttendCall decoded = call;
    decode_columns<Columns>(
        call.keys, call.key_row_bytes, call.key_column, call.key_dim, call.count, call.decoded);
    decoded.keys = call.decoded;
    decoded.key_row_bytes = call.key_dim * float_bytes;
    decoded.key_column = 0;
    const std::int64_t offset = call.value_column - call.key_column;
    if (call.values == call.keys && offset >= 0 && offset + call.value_dim <= call.key_dim) {
        decoded.values = decoded.keys;
        decoded.value_row_bytes = decoded.key_row_bytes;
        decoded.value_column = offset;
    } else {
        float* values = call.decoded + call.count * call.key_dim;
        decode_columns<Columns>(call.values,
                                call.value_row_bytes,
                                call.value_column,
                                call.value_dim,
                                call.count,
                                values);
        decoded.values = values;
        decoded.value_row_bytes = call.value_dim * float_bytes;
        decoded.value_column = 0;
    }
    attend_all<FloatColumns>(decoded);
}

}  // namespace
}  // namespace hearth::cpu

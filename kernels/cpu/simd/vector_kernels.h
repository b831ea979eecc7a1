// The kernels over floats, written once over Vec. Included by each kernels_*.cpp after the Vec and
// the quantise_32 of its instruction set; everything has internal linkage. The order of every sum
// depends on the lengths of the rows only, never on how many rows, tokens or threads there are.
#pragma once

#include <cstdint>

#include "core/compute/blocks.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd/token_tiles.h"

namespace hearth::cpu {
namespace {

/// The last elements of a row that does not fill a Vec; the rest of the lanes is 0.
inline Vec load_part(const float* p, std::int64_t count) {
    float lanes[Vec::kWidth] = {};
    for (std::int64_t i = 0; i < count; ++i) {
        lanes[i] = p[i];
    }
    return load(lanes);
}

/// The first `count` lanes.
inline void store_part(float* p, Vec x, std::int64_t count) {
    float lanes[Vec::kWidth];
    store(lanes, x);
    for (std::int64_t i = 0; i < count; ++i) {
        p[i] = lanes[i];
    }
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

inline void rms_norm(
    const float* x, const float* weight, std::int64_t dim, float epsilon, float* out) {
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

inline void swiglu(const float* gate, const float* up, std::int64_t dim, float* out) {
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store(out + i, swiglu_of(load(gate + i), load(up + i)));
    }
    if (i < dim) {
        const Vec part = swiglu_of(load_part(gate + i, dim - i), load_part(up + i, dim - i));
        store_part(out + i, part, dim - i);
    }
}

inline void combine(float keep, const float* x, float factor, std::int64_t dim, float* out) {
    const Vec keeps = broadcast(keep);
    const Vec factors = broadcast(factor);
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= dim; i += Vec::kWidth) {
        store(out + i, fma(factors, load(x + i), mul(keeps, load(out + i))));
    }
    if (i < dim) {
        const Vec kept = mul(keeps, load_part(out + i, dim - i));
        store_part(out + i, fma(factors, load_part(x + i, dim - i), kept), dim - i);
    }
}

inline void store_f16(const float* x, std::int64_t dim, void* out) {
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

inline void store_q8_0(const float* x, std::int64_t dim, void* out) {
    auto* block = static_cast<compute::BlockQ80*>(out);
    for (std::int64_t first = 0; first < dim; first += kQ8Elements, ++block) {
        float rest[kQ8Elements] = {};
        for (std::int64_t i = first; i < dim && dim - first < kQ8Elements; ++i) {
            rest[i - first] = x[i];
        }
        const float* run = dim - first < kQ8Elements ? rest : x + first;
        const float scale = quantise_32(run, block->quants);
        std::uint16_t lanes[Vec::kWidth];
        store_half(lanes, broadcast(scale));
        block->d = lanes[0];
    }
}

inline void store_f32(const float* x, std::int64_t dim, void* out) {
    __builtin_memcpy(out, x, sizeof(float) * static_cast<std::size_t>(dim));
}

}  // namespace
}  // namespace hearth::cpu

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

/// Rounds `count` elements to int8 with one scale; returns the scale. `sums`: the quants of each
/// kQ8kSumElements, added up but for their lanes; exact.
inline float quantise_run(const float* x, std::int64_t count, std::int8_t* quants, Vec* sums) {
    Vec largest = zero();
    for (std::int64_t i = 0; i < count; i += Vec::kWidth) {
        largest = max(largest, abs(load(x + i)));
    }
    const float scale = max_of(largest) / 127.0F;
    const Vec inverse = broadcast(scale > 0.0F ? 1.0F / scale : 0.0F);
    const auto round = [&](const auto& clamp) {
        for (std::int64_t i = 0; i < count; i += Vec::kWidth) {
            const Vec scaled = clamp(mul(load(x + i), inverse));
            store_int8(quants + i, scaled);
            Vec& sum = sums[i / kQ8kSumElements];
            const Vec whole = to_floats(to_ints(scaled));
            sum = i % kQ8kSumElements == 0 ? whole : add(sum, whole);
        }
    };
    // A scale near the smallest float has an inverse that overshoots.
    constexpr float kSmall = 1e-30F;
    if (scale > kSmall) {
        round([](Vec scaled) { return scaled; });
    } else {
        round([](Vec scaled) { return min(max(scaled, broadcast(-127.0F)), broadcast(127.0F)); });
    }
    return scale;
}

/// The lanes of eight Vecs of whole numbers added up.
template <typename Int>
inline void whole_sums_of_8(const Vec* lanes, Int* sums) {
    float whole[8];
    sums_of_8(lanes, whole);
    for (int i = 0; i < 8; ++i) {
        sums[i] = static_cast<Int>(whole[i]);
    }
}

void quantise_q8(const float* x, std::int64_t dim, void* out) {
    constexpr int kBlocks = kGroupElements / kQ8Elements;
    static_assert(kBlocks == 8 && kQ8Elements == 2 * kQ8kSumElements);
    auto* group = static_cast<Q8Group*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        Vec sums[kBlocks];
        int block = 0;
        for (; block < kBlocks && first + block * kQ8Elements < dim; ++block) {
            const int at = block * kQ8Elements;
            Vec halves[2];
            group->scales[block] =
                quantise_run(x + first + at, kQ8Elements, group->quants + at, halves);
            sums[block] = add(halves[0], halves[1]);
        }
        for (; block < kBlocks; ++block) {
            group->scales[block] = 0.0F;
            sums[block] = zero();
        }
        whole_sums_of_8(sums, group->sums);
    }
}

void quantise_q8_k(const float* x, std::int64_t dim, void* out) {
    constexpr int kRuns = kGroupElements / kQ8kSumElements;
    static_assert(kRuns == 16);
    auto* group = static_cast<Q8kGroup*>(out);
    for (std::int64_t first = 0; first < dim; first += kGroupElements, ++group) {
        Vec sums[kRuns];
        group->scale = quantise_run(x + first, kGroupElements, group->quants, sums);
        for (int run = 0; run < kRuns; run += 8) {
            whole_sums_of_8(sums + run, group->sums + run);
        }
        for (int run = 0; run < kRuns / 2; ++run) {
            sums[run] = add(sums[2 * run], sums[2 * run + 1]);
        }
        whole_sums_of_8(sums, group->sums_32);
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
        const Vec part = swiglu_of(load_part(gate + i, dim - i), load_part(up + i, dim - i));
        store_part(out + i, part, dim - i);
    }
}

void combine(float keep, const float* x, float factor, std::int64_t dim, float* out) {
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
        Vec sums[kQ8Elements / kQ8kSumElements];
        const float scale = quantise_run(run, kQ8Elements, block->quants, sums);
        std::uint16_t lanes[Vec::kWidth];
        store_half(lanes, broadcast(scale));
        block->d = lanes[0];
    }
}

void store_f32(const float* x, std::int64_t dim, void* out) {
    __builtin_memcpy(out, x, sizeof(float) * static_cast<std::size_t>(dim));
}

}  // namespace
}  // namespace hearth::cpu

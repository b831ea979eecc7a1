// Vec: one float, for machines without anything wider. Included by kernels_scalar.cpp alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/compute/half.h"

namespace hearth::cpu {
namespace {

struct Vec {
    static constexpr std::int64_t kWidth = 1;
    float v;
};

inline Vec zero() {
    return {0.0F};
}
inline Vec broadcast(float x) {
    return {x};
}
inline Vec load(const float* p) {
    float x = 0.0F;
    std::memcpy(&x, p, sizeof x);  // weights of a file need not be aligned
    return {x};
}
inline Vec load_half(const std::uint16_t* p) {
    return {compute::half_to_float(*p)};
}
inline Vec load_bf16(const std::uint16_t* p) {
    return {compute::bf16_to_float(*p)};
}
inline Vec load_int8(const std::int8_t* p) {
    return {static_cast<float>(*p)};
}
inline Vec broadcast_half(std::uint16_t half) {
    return {compute::half_to_float(half)};
}
inline void store(float* p, Vec x) {
    *p = x.v;
}
inline void store_half(std::uint16_t* p, Vec x) {
    *p = compute::float_to_half(x.v);
}
/// Nearest, ties to even; x lies in [-127, 127].
inline void store_int8(std::int8_t* p, Vec x) {
    *p = static_cast<std::int8_t>(std::lrintf(x.v));
}
inline Vec add(Vec a, Vec b) {
    return {a.v + b.v};
}
inline Vec sub(Vec a, Vec b) {
    return {a.v - b.v};
}
inline Vec mul(Vec a, Vec b) {
    return {a.v * b.v};
}
inline Vec div(Vec a, Vec b) {
    return {a.v / b.v};
}
inline Vec max(Vec a, Vec b) {
    return {a.v > b.v ? a.v : b.v};
}
inline Vec min(Vec a, Vec b) {
    return {a.v < b.v ? a.v : b.v};
}
inline Vec abs(Vec a) {
    return {std::fabs(a.v)};
}
/// a * b + c.
inline Vec fma(Vec a, Vec b, Vec c) {
    return {a.v * b.v + c.v};
}
inline Vec exp(Vec a) {
    return {std::exp(a.v)};
}
inline Vec in_register(Vec a) {
    return a;
}

/// An integer of 32 bits, or two of 16.
struct IntVec {
    std::int32_t v;
};
using FewInts = IntVec;
constexpr int kPerLane = 2;
using RowInt = std::int16_t;
template <typename Lanes>
inline Lanes zero_ints() {
    return {0};
}
template <typename Lanes>
inline Lanes load_ints_of(const void* p) {
    Lanes x{};
    std::memcpy(&x.v, p, sizeof x.v);
    return x;
}
template <typename Lanes>
inline Lanes broadcast_lane(int lane) {
    return {lane};
}
inline void store_ints(void* p, IntVec x) {
    std::memcpy(p, &x.v, sizeof x.v);
}
/// The lower half of each.
inline IntVec pack_lanes(const IntVec* two) {
    const std::int16_t both[2] = {static_cast<std::int16_t>(two[0].v),
                                  static_cast<std::int16_t>(two[1].v)};
    return load_ints_of<IntVec>(both);
}
constexpr int kRaised = 0;
inline IntVec raise(IntVec pair) {
    return pair;
}
/// Two columns of two rows of 16 bits, those of a column in one lane.
inline void load_side_by_side(const std::int16_t* rows, std::int64_t stride, IntVec* out) {
    for (int column = 0; column < 2; ++column) {
        const IntVec two[2] = {{rows[column]}, {rows[stride + column]}};
        out[column] = pack_lanes(two);
    }
}
inline void to_column_order(Vec* /*two*/) {}
/// sum + both products of 16 bits.
inline IntVec add_products(IntVec sum, IntVec a, IntVec b) {
    std::int16_t pairs[2][2];
    store_ints(pairs[0], a);
    store_ints(pairs[1], b);
    return {sum.v + pairs[0][0] * pairs[1][0] + pairs[0][1] * pairs[1][1]};
}
/// Nearest, ties to even.
inline IntVec to_ints(Vec x) {
    return {static_cast<std::int32_t>(std::lrintf(x.v))};
}
inline Vec to_floats(IntVec x) {
    return {static_cast<float>(x.v)};
}
inline IntVec in_register(IntVec a) {
    return a;
}

inline float sum_of(Vec a) {
    return a.v;
}
inline void sums_of_8(const Vec* a, float* sums) {
    for (int i = 0; i < 8; ++i) {
        sums[i] = a[i].v;
    }
}
inline float max_of(Vec a) {
    return a.v;
}

}  // namespace
}  // namespace hearth::cpu

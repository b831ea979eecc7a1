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

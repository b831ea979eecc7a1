// The checks of one kernel table's dot products and rounding of activations. Shared by the tables
// that this machine runs and by those that are emulated.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/activation.h"
#include "kernels/reference/dequantize.h"
#include "kernels/reference/quantize.h"
#include "tests/kernels/cpu/kernel_tables.h"

namespace hearth::cpu::test {

inline constexpr std::array kWeightDtypes = {
    compute::Dtype::f32,
    compute::Dtype::f16,
    compute::Dtype::bf16,
    compute::Dtype::q8_0,
    compute::Dtype::q4_0,
    compute::Dtype::q5_0,
    compute::Dtype::q5_1,
    compute::Dtype::mxfp4,
    compute::Dtype::q4_k,
    compute::Dtype::q5_k,
    compute::Dtype::q6_k,
};

/// Memory as aligned as rounded activations want it.
class AlignedBytes {
  public:
    AlignedBytes() = default;
    explicit AlignedBytes(std::int64_t bytes)
        : groups_(static_cast<std::size_t>(bytes) / sizeof(Q8Group) + 1) {
        std::memset(static_cast<void*>(groups_.data()), 0xA5, groups_.size() * sizeof(Q8Group));
    }
    [[nodiscard]] std::byte* data() { return reinterpret_cast<std::byte*>(groups_.data()); }

  private:
    std::vector<Q8Group> groups_;
};

/// A matrix of weights and rows of activations in the form that it wants.
struct DotCase {
    compute::Dtype dtype;
    std::int64_t rows;
    std::int64_t dim;
    std::int64_t tokens;
    std::vector<std::byte> weights;
    std::vector<float> x;
    AlignedBytes activations;
    std::vector<const void*> activation_rows;

    [[nodiscard]] ActivationFormat format() const { return activation_format(dtype); }
    [[nodiscard]] std::int64_t row_bytes() const { return compute::row_bytes(dtype, dim); }
};

inline void round_activations(const Kernels& kernels, DotCase& c) {
    const std::int64_t stride = activation_stride(c.format(), c.dim);
    c.activations = AlignedBytes(stride * c.tokens);
    c.activation_rows.clear();
    for (std::int64_t t = 0; t < c.tokens; ++t) {
        std::byte* row = c.activations.data() + t * stride;
        const float* values = c.x.data() + t * c.dim;
        if (c.format() == ActivationFormat::f32) {
            std::memcpy(row, values, static_cast<std::size_t>(c.dim) * sizeof(float));
        } else {
            kernels.quantise[static_cast<std::size_t>(c.format())](values, c.dim, row);
        }
        c.activation_rows.push_back(row);
    }
}

inline DotCase make_case(const Kernels& kernels,
                         compute::Dtype dtype,
                         std::int64_t rows,
                         std::int64_t dim,
                         std::int64_t tokens,
                         std::mt19937& random) {
    DotCase c{dtype, rows, dim, tokens, {}, {}, {}, {}};
    const std::vector<float> weights = random_values(rows * dim, random);
    c.weights.resize(static_cast<std::size_t>(rows * c.row_bytes()));
    reference::quantize(dtype, weights, c.weights);
    c.x = random_values(tokens * dim, random);
    round_activations(kernels, c);
    return c;
}

/// Element `i` of a rounded row.
struct RoundedElement {
    float scale;
    float quant;
};
inline RoundedElement rounded_element(ActivationFormat format, const void* row, std::int64_t i) {
    const std::int64_t group = i / kGroupElements;
    const std::int64_t at = i % kGroupElements;
    if (format == ActivationFormat::q8) {
        const Q8Group& q8 = static_cast<const Q8Group*>(row)[group];
        return {q8.scales[at / kQ8Elements], static_cast<float>(q8.quants[at])};
    }
    const Q8kGroup& q8_k = static_cast<const Q8kGroup*>(row)[group];
    return {q8_k.scale, static_cast<float>(q8_k.quants[at])};
}

/// The activation as the kernel takes it, in floats.
inline std::vector<double> decode_activation(const DotCase& c, std::int64_t token) {
    std::vector<double> values(static_cast<std::size_t>(c.dim));
    const void* row = c.activation_rows[static_cast<std::size_t>(token)];
    for (std::int64_t i = 0; i < c.dim; ++i) {
        float value = c.x[static_cast<std::size_t>(token * c.dim + i)];
        if (c.format() != ActivationFormat::f32) {
            const RoundedElement element = rounded_element(c.format(), row, i);
            value = element.scale * element.quant;
        }
        values[static_cast<std::size_t>(i)] = value;
    }
    return values;
}

inline std::vector<float> run_dot(const Kernels& kernels, const DotCase& c, std::int64_t stride) {
    std::vector<float> out(static_cast<std::size_t>(stride * c.tokens), kPoison);
    AlignedBytes panels((c.dim + kGroupElements - 1) / kGroupElements * kPanelBytes);
    kernels.dot[static_cast<std::size_t>(weight_type(c.dtype))]({c.weights.data(),
                                                                 c.row_bytes(),
                                                                 c.rows,
                                                                 c.activation_rows.data(),
                                                                 c.tokens,
                                                                 c.dim,
                                                                 out.data(),
                                                                 stride,
                                                                 panels.data()});
    return out;
}

/// Results against sums in double; what lies outside the results stays as it was.
inline void check_results(const Kernels& kernels, const DotCase& c) {
    const std::int64_t stride = c.rows + 3;
    const std::vector<float> out = run_dot(kernels, c, stride);
    std::vector<float> weights(static_cast<std::size_t>(c.rows * c.dim));
    reference::dequantize(c.dtype, c.weights, weights);
    INFO(kernels.name << " " << compute::traits(c.dtype).name << " rows " << c.rows << " dim "
                      << c.dim << " tokens " << c.tokens);
    for (std::int64_t t = 0; t < c.tokens; ++t) {
        const std::vector<double> x = decode_activation(c, t);
        for (std::int64_t r = 0; r < stride; ++r) {
            const float found = out[static_cast<std::size_t>(t * stride + r)];
            if (r >= c.rows) {
                REQUIRE(found == kPoison);
                continue;
            }
            double sum = 0.0;
            double magnitude = 0.0;
            for (std::int64_t i = 0; i < c.dim; ++i) {
                const double product =
                    static_cast<double>(weights[static_cast<std::size_t>(r * c.dim + i)]) *
                    x[static_cast<std::size_t>(i)];
                sum += product;
                magnitude += std::fabs(product);
            }
            REQUIRE(std::fabs(found - sum) <= 2e-6 * magnitude + 1e-30);
        }
    }
}

inline std::vector<std::int64_t> dims_of(compute::Dtype dtype) {
    switch (activation_format(dtype)) {
        case ActivationFormat::f32:
            return {1, 7, 20, 32, 96, 160, 257, 544};
        case ActivationFormat::q8:
            return {32, 64, 96, 160, 256, 544};
        case ActivationFormat::q8_k:
            break;
    }
    return {256, 512, 768, 1280};
}

inline void check_dot(const Kernels& kernels, compute::Dtype dtype) {
    std::mt19937 random(17U + static_cast<unsigned>(dtype));
    for (const std::int64_t dim : dims_of(dtype)) {
        for (const std::int64_t tokens : {1, 2, 3, 5, 8, 17, 39}) {
            const auto rows = static_cast<std::int64_t>(1 + random() % (tokens < 8 ? 9 : 40));
            check_results(kernels, make_case(kernels, dtype, rows, dim, tokens, random));
        }
    }
}

/// Quant `at` of 32 that add up to the most whose products with 15 still fit 16 bits, and `more`.
inline float edge_quant(std::size_t at, std::size_t more) {
    constexpr std::size_t kMost = 32767 / 15;
    if (at < kMost / 127) return 127.0F;
    return at == kMost / 127 ? static_cast<float>(kMost % 127 + more) : 0.0F;
}

/// Random bytes for quants and scales, plain factors, activations of +-1 only (all quants +-127)
/// and those of edge_quant.
inline void check_extremes(const Kernels& kernels, compute::Dtype dtype) {
    if (activation_format(dtype) == ActivationFormat::f32) return;
    std::mt19937 random(99U + static_cast<unsigned>(dtype));
    for (int round = 0; round < 12; ++round) {
        DotCase c = make_case(kernels, dtype, 19, 512, 9, random);
        const std::vector<std::byte> sane = c.weights;
        const int fill =
            round < 4 ? std::array{0x00, 0xFF, 0x80, 0x7F}[static_cast<std::size_t>(round)] : -1;
        for (std::byte& byte : c.weights) {
            byte = static_cast<std::byte>(fill >= 0 ? fill : static_cast<int>(random() & 0xFFU));
        }
        // The factors are halves, or a power of two: keep the encoder's, so that nothing is
        // infinite.
        const auto block = static_cast<std::size_t>(compute::traits(dtype).bytes);
        const std::size_t factor_bytes = dtype == compute::Dtype::q5_1 ||
                                                 dtype == compute::Dtype::q4_k ||
                                                 dtype == compute::Dtype::q5_k
                                             ? 4
                                         : dtype == compute::Dtype::mxfp4 ? 1
                                                                          : 2;
        const std::size_t at = dtype == compute::Dtype::q6_k ? block - 2 : 0;
        for (std::size_t b = 0; b < c.weights.size(); b += block) {
            std::copy_n(sane.begin() + static_cast<std::ptrdiff_t>(b + at),
                        factor_bytes,
                        c.weights.begin() + static_cast<std::ptrdiff_t>(b + at));
        }
        for (float& x : c.x) {
            x = round % 3 == 0 ? 1.0F : round % 3 == 1 ? -1.0F : (random() % 2 == 0 ? 1.0F : -1.0F);
        }
        round_activations(kernels, c);
        check_results(kernels, c);
        for (std::size_t i = 0; i < c.x.size(); ++i) {
            const float quant =
                edge_quant(i % kQ8Elements, i / static_cast<std::size_t>(c.dim) % 2);
            c.x[i] = round % 2 == 0 ? quant : -quant;
        }
        round_activations(kernels, c);
        check_results(kernels, c);
    }
}

inline void check_batch_invariance(const Kernels& kernels, compute::Dtype dtype) {
    std::mt19937 random(5U + static_cast<unsigned>(dtype));
    for (const std::int64_t dim : dims_of(dtype)) {
        DotCase together = make_case(kernels, dtype, 37, dim, 23, random);
        const std::vector<float> all = run_dot(kernels, together, together.rows);
        for (std::int64_t t = 0; t < together.tokens; ++t) {
            DotCase alone = together;
            alone.tokens = 1;
            alone.activation_rows = {together.activation_rows[static_cast<std::size_t>(t)]};
            const std::vector<float> one = run_dot(kernels, alone, alone.rows);
            INFO(kernels.name << " " << compute::traits(dtype).name << " dim " << dim);
            REQUIRE(std::memcmp(one.data(),
                                all.data() + t * together.rows,
                                one.size() * sizeof(float)) == 0);
        }
    }
}

/// A row's products are the same alone and beside any number of others; no more is written.
inline void check_row_invariance(const Kernels& kernels, compute::Dtype dtype) {
    std::mt19937 random(71U + static_cast<unsigned>(dtype));
    constexpr std::int64_t kRows = 17;
    constexpr std::int64_t kStride = kRows + 3;
    const auto check = [&](const DotCase& all) {
        const auto dot_of_rows = [&](std::int64_t first, std::int64_t rows) {
            DotCase part = all;
            part.rows = rows;
            part.weights.erase(part.weights.begin(),
                               part.weights.begin() + first * all.row_bytes());
            part.weights.resize(static_cast<std::size_t>(rows * all.row_bytes()));
            return run_dot(kernels, part, kStride);
        };
        std::vector<float> alone(static_cast<std::size_t>(kStride * all.tokens), kPoison);
        for (std::int64_t rows = 1; rows <= kRows; ++rows) {
            const std::vector<float> one = dot_of_rows(rows - 1, 1);
            for (std::int64_t t = 0; t < all.tokens; ++t) {
                const auto at = static_cast<std::size_t>(t * kStride);
                alone[at + static_cast<std::size_t>(rows - 1)] = one[at];
            }
            INFO(kernels.name << " " << compute::traits(dtype).name << " rows " << rows << " dim "
                              << all.dim << " tokens " << all.tokens);
            const std::vector<float> found = dot_of_rows(0, rows);
            REQUIRE(std::memcmp(found.data(), alone.data(), found.size() * sizeof(float)) == 0);
        }
    };
    for (const std::int64_t dim : dims_of(dtype)) {
        for (const std::int64_t tokens : {1, 2, 3, 4}) {
            check(make_case(kernels, dtype, kRows, dim, tokens, random));
        }
    }
}

/// The same quants and scales as the portable kernel, whose own error is at most half a step; and
/// sums that fit them.
inline void check_quantise(const Kernels& kernels) {
    std::mt19937 random(3);
    for (const ActivationFormat format : {ActivationFormat::q8, ActivationFormat::q8_k}) {
        const auto index = static_cast<std::size_t>(format);
        for (const std::int64_t dim : {256, 512, 1280}) {
            std::vector<float> x = random_values(dim, random);
            std::fill_n(x.begin(), 32, 0.0F);
            x[40] = 1e-39F;
            const std::int64_t bytes = activation_stride(format, dim);
            AlignedBytes expected(bytes);
            AlignedBytes found(bytes);
            kScalarKernels.quantise[index](x.data(), dim, expected.data());
            kernels.quantise[index](x.data(), dim, found.data());
            INFO(kernels.name << " format " << index << " dim " << dim);
            REQUIRE(std::memcmp(expected.data(), found.data(), static_cast<std::size_t>(bytes)) ==
                    0);
            for (std::int64_t i = 0; i < dim; ++i) {
                const auto [scale, quant] = rounded_element(format, found.data(), i);
                REQUIRE(std::fabs(scale * quant - x[static_cast<std::size_t>(i)]) <=
                        0.501F * scale);
            }
        }
    }
}

}  // namespace hearth::cpu::test

// The checks of one kernel table's float kernels against plain loops in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/half.h"
#include "tests/kernels/cpu/kernel_tables.h"

namespace hearth::cpu::test {

inline const std::vector<std::int64_t> kOddDims = {1, 7, 8, 20, 33, 64, 100, 257};

inline std::size_t index_of(std::int64_t i) {
    return static_cast<std::size_t>(i);
}

/// Room for a result with poison behind it.
inline std::vector<float> poisoned(std::int64_t dim) {
    return std::vector<float>(index_of(dim + 9), kPoison);
}

inline void check_tail(const std::vector<float>& out, std::int64_t dim) {
    REQUIRE(std::all_of(out.begin() + dim, out.end(), [](float x) { return x == kPoison; }));
}

inline void check_rms_norm(const Kernels& kernels) {
    std::mt19937 random(21);
    for (const std::int64_t dim : kOddDims) {
        const std::vector<float> x = random_values(dim, random);
        const std::vector<float> weight = random_values(dim, random);
        std::vector<float> out = poisoned(dim);
        kernels.rms_norm(x.data(), weight.data(), dim, 1e-5F, out.data());
        double squares = 0.0;
        for (const float value : x) {
            squares += static_cast<double>(value) * value;
        }
        const double root = std::sqrt(squares / static_cast<double>(dim) + 1e-5);
        for (std::int64_t i = 0; i < dim; ++i) {
            const double expected = x[index_of(i)] / root * weight[index_of(i)];
            REQUIRE(out[index_of(i)] == Approx(expected).epsilon(2e-6));
        }
        check_tail(out, dim);
    }
}

inline void check_swiglu(const Kernels& kernels) {
    std::mt19937 random(22);
    for (const std::int64_t dim : kOddDims) {
        std::vector<float> gate = random_values(dim, random);
        const std::vector<float> up = random_values(dim, random);
        gate[0] = -200.0F;
        gate[index_of(dim - 1)] = 200.0F;
        std::vector<float> out = poisoned(dim);
        kernels.swiglu(gate.data(), up.data(), dim, out.data());
        for (std::int64_t i = 0; i < dim; ++i) {
            const double g = gate[index_of(i)];
            const double expected = g / (1.0 + std::exp(-g)) * up[index_of(i)];
            REQUIRE(out[index_of(i)] == Approx(expected).epsilon(1e-6).margin(1e-30));
        }
        check_tail(out, dim);
    }
}

inline void check_add_scaled(const Kernels& kernels) {
    std::mt19937 random(23);
    for (const std::int64_t dim : kOddDims) {
        const std::vector<float> x = random_values(dim, random);
        std::vector<float> out = random_values(dim + 9, random);
        const std::vector<float> before = out;
        kernels.add_scaled(x.data(), 0.37F, dim, out.data());
        for (std::int64_t i = 0; i < dim + 9; ++i) {
            const double added = i < dim ? 0.37 * static_cast<double>(x[index_of(i)]) : 0.0;
            REQUIRE(out[index_of(i)] ==
                    Approx(before[index_of(i)] + added).epsilon(1e-6).margin(1e-6));
        }
    }
}

inline void check_to_half(const Kernels& kernels) {
    std::mt19937 random(24);
    for (const std::int64_t dim : kOddDims) {
        const std::vector<float> x = random_values(dim, random);
        std::vector<std::uint16_t> out(index_of(dim + 9), 0xDEAD);
        kernels.to_half(x.data(), dim, out.data());
        for (std::int64_t i = 0; i < dim + 9; ++i) {
            REQUIRE(out[index_of(i)] ==
                    (i < dim ? compute::float_to_half(x[index_of(i)]) : 0xDEAD));
        }
    }
}

/// Rows of queries over a few steps of the cache, each row seeing one token more than the one
/// before; strides wider than the rows.
struct AttendCase {
    std::int64_t rows, key_dim, value_dim, tokens;
};

inline std::vector<std::uint16_t> random_halves(std::int64_t count, std::mt19937& random) {
    std::vector<std::uint16_t> halves;
    for (const float value : random_values(count, random)) {
        halves.push_back(compute::float_to_half(value));
    }
    return halves;
}

struct AttendInputs {
    std::vector<float> queries;
    std::vector<std::uint16_t> keys, values;
    float scale;
};

inline std::vector<double> plain_attention(const AttendCase& c,
                                           const AttendInputs& in,
                                           std::int64_t row,
                                           std::int64_t visible) {
    std::vector<double> weights;
    double largest = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < visible; ++j) {
        double score = 0.0;
        for (std::int64_t i = 0; i < c.key_dim; ++i) {
            score += static_cast<double>(in.queries[index_of(row * (c.key_dim + 5) + i)]) *
                     compute::half_to_float(in.keys[index_of(j * (c.key_dim + 2) + i)]);
        }
        weights.push_back(score * in.scale);
        largest = std::max(largest, weights.back());
    }
    double sum = 0.0;
    for (double& weight : weights) {
        weight = std::exp(weight - largest);
        sum += weight;
    }
    std::vector<double> out(index_of(c.value_dim));
    for (std::int64_t j = 0; j < visible; ++j) {
        for (std::int64_t i = 0; i < c.value_dim; ++i) {
            out[index_of(i)] += weights[index_of(j)] / sum *
                                compute::half_to_float(in.values[index_of(j * c.value_dim + i)]);
        }
    }
    return out;
}

/// `rows` query rows from row `first`; returns rows divided by their sums.
inline std::vector<float> run_attend(const Kernels& kernels,
                                     const AttendCase& c,
                                     const AttendInputs& in,
                                     std::int64_t first,
                                     std::int64_t rows) {
    std::vector<float> maxima(index_of(rows), -std::numeric_limits<float>::infinity());
    std::vector<float> sums(index_of(rows), 0.0F);
    std::vector<float> out(index_of(rows * c.value_dim), 0.0F);
    const std::int64_t visible_max = c.tokens - c.rows + first + rows;
    for (std::int64_t from = 0; from < visible_max; from += kAttendTokens) {
        std::vector<std::int32_t> visible;
        for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t seen = c.tokens - c.rows + first + r + 1 - from;
            visible.push_back(
                static_cast<std::int32_t>(std::clamp<std::int64_t>(seen, 0, kAttendTokens)));
        }
        kernels.attend({in.queries.data() + first * (c.key_dim + 5),
                        c.key_dim + 5,
                        rows,
                        visible.data(),
                        in.keys.data() + from * (c.key_dim + 2),
                        c.key_dim + 2,
                        c.key_dim,
                        in.values.data() + from * c.value_dim,
                        c.value_dim,
                        c.value_dim,
                        std::min<std::int64_t>(kAttendTokens, visible_max - from),
                        in.scale,
                        maxima.data(),
                        sums.data(),
                        out.data(),
                        c.value_dim});
    }
    for (std::int64_t i = 0; i < rows * c.value_dim; ++i) {
        out[index_of(i)] /= sums[index_of(i / c.value_dim)];
    }
    return out;
}

inline void check_attend(const Kernels& kernels) {
    std::mt19937 random(25);
    const std::vector<AttendCase> cases = {{1, 16, 16, 1},
                                           {1, 20, 12, 40},
                                           {3, 64, 64, 17},
                                           {4, 96, 40, 33},
                                           {5, 160, 128, 5},
                                           {8, 33, 7, 64},
                                           {7, 128, 100, 50}};
    for (const AttendCase& c : cases) {
        AttendInputs in{random_values(c.rows * (c.key_dim + 5), random),
                        random_halves(c.tokens * (c.key_dim + 2), random),
                        random_halves(c.tokens * c.value_dim, random),
                        1.0F / std::sqrt(static_cast<float>(c.key_dim))};
        INFO(kernels.name << " rows " << c.rows << " key_dim " << c.key_dim << " tokens "
                          << c.tokens);
        const std::vector<float> all = run_attend(kernels, c, in, 0, c.rows);
        for (std::int64_t r = 0; r < c.rows; ++r) {
            const std::vector<double> expected =
                plain_attention(c, in, r, c.tokens - c.rows + r + 1);
            for (std::int64_t i = 0; i < c.value_dim; ++i) {
                REQUIRE(all[index_of(r * c.value_dim + i)] ==
                        Approx(expected[index_of(i)]).epsilon(1e-5).margin(1e-5));
            }
            const std::vector<float> alone = run_attend(kernels, c, in, r, 1);
            REQUIRE(std::memcmp(alone.data(),
                                all.data() + r * c.value_dim,
                                alone.size() * sizeof(float)) == 0);
        }
    }
}

}  // namespace hearth::cpu::test

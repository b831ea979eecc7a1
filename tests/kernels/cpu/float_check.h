// The checks of one kernel table's float kernels against plain loops in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/dequantize.h"
#include "core/compute/half.h"
#include "core/compute/plan.h"
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

inline void check_combine(const Kernels& kernels) {
    std::mt19937 random(23);
    for (const std::int64_t dim : kOddDims) {
        const std::vector<float> x = random_values(dim, random);
        std::vector<float> out = random_values(dim + 9, random);
        const std::vector<float> before = out;
        kernels.combine(0.6F, x.data(), 0.37F, dim, out.data());
        for (std::int64_t i = 0; i < dim + 9; ++i) {
            const auto kept = static_cast<double>(before[index_of(i)]);
            const double expected =
                i < dim ? 0.6 * kept + 0.37 * static_cast<double>(x[index_of(i)]) : kept;
            REQUIRE(out[index_of(i)] == Approx(expected).epsilon(1e-6).margin(1e-6));
        }
    }
}

constexpr auto kF16 = static_cast<std::size_t>(CacheType::f16);
constexpr auto kQ80 = static_cast<std::size_t>(CacheType::q8_0);

inline compute::Dtype dtype_of(CacheType type) {
    constexpr compute::Dtype kDtypes[] = {
        compute::Dtype::f16, compute::Dtype::q8_0, compute::Dtype::f32};
    return kDtypes[static_cast<std::size_t>(type)];
}

inline void check_store_f16(const Kernels& kernels) {
    std::mt19937 random(24);
    for (const std::int64_t dim : kOddDims) {
        const std::vector<float> x = random_values(dim, random);
        std::vector<std::uint16_t> out(index_of(dim + 9), 0xDEAD);
        kernels.store_row[kF16](x.data(), dim, out.data());
        for (std::int64_t i = 0; i < dim + 9; ++i) {
            REQUIRE(out[index_of(i)] ==
                    (i < dim ? compute::float_to_half(x[index_of(i)]) : 0xDEAD));
        }
    }
}

/// A row as blocks is the nearest that its scales allow, zeros fill the last block, and nothing is
/// written behind it.
inline void check_store_q8_0(const Kernels& kernels) {
    std::mt19937 random(26);
    for (const std::int64_t dim : kOddDims) {
        for (const float size : {1.0F, 1e-4F, 3e5F, 0.0F}) {
            std::vector<float> x = random_values(dim, random);
            for (float& value : x) {
                value *= size;
            }
            const std::int64_t bytes = compute::cache_row_bytes(compute::Dtype::q8_0, dim);
            std::vector<std::byte> out(index_of(bytes + 40), std::byte{0xA5});
            kernels.store_row[kQ80](x.data(), dim, out.data());
            const std::int64_t stored = bytes / 34 * 32;
            std::vector<float> found(index_of(stored));
            compute::dequantize(compute::Dtype::q8_0, std::span(out).first(index_of(bytes)), found);
            x.resize(index_of(stored), 0.0F);
            for (std::int64_t first = 0; first < stored; first += 32) {
                float largest = 0.0F;
                for (std::int64_t i = first; i < first + 32; ++i) {
                    largest = std::max(largest, std::fabs(x[index_of(i)]));
                }
                // Half a step, and what the scale's half is off; below the smallest half nothing.
                const float off = largest * (0.5F / 127 + 0x1p-10F) + 127 * 0x1p-25F;
                for (std::int64_t i = first; i < first + 32; ++i) {
                    REQUIRE(found[index_of(i)] == Approx(x[index_of(i)]).margin(off));
                    REQUIRE((i < dim || found[index_of(i)] == 0.0F));
                }
            }
            REQUIRE(std::all_of(
                out.begin() + bytes, out.end(), [](std::byte b) { return b == std::byte{0xA5}; }));
        }
    }
}

/// Rows of queries over a few steps of the cache, each row seeing one token more than the one
/// before; strides wider than the rows.
struct AttendCase {
    std::int64_t rows, key_dim, value_dim, tokens;
    std::int64_t key_column = 0, value_column = 0;
};

/// Rows of a cache, and what they hold.
struct CacheRows {
    std::vector<std::byte> bytes;
    std::int64_t row_bytes = 0;
    std::vector<float> values;  ///< (count, dim)
    std::int64_t dim = 0;

    [[nodiscard]] double at(std::int64_t row, std::int64_t column) const {
        return static_cast<double>(values[index_of(row * dim + column)]);
    }
};

/// `dim` columns a row; what lies between two rows is poison.
inline CacheRows random_cache(CacheType type,
                              std::int64_t count,
                              std::int64_t dim,
                              std::mt19937& random) {
    const compute::Dtype dtype = dtype_of(type);
    const std::int64_t used = compute::cache_row_bytes(dtype, dim);
    CacheRows rows;
    rows.row_bytes = used + (type == CacheType::f32 ? 8 : 6);
    rows.dim = dim;
    rows.bytes.assign(index_of(count * rows.row_bytes), std::byte{0xFF});
    for (std::int64_t row = 0; row < count; ++row) {
        const std::vector<float> x = random_values(dim, random);
        const auto out = std::span(rows.bytes).subspan(index_of(row * rows.row_bytes));
        kScalarKernels.store_row[static_cast<std::size_t>(type)](x.data(), dim, out.data());
        std::vector<float> stored(index_of(type == CacheType::q8_0 ? used / 34 * 32 : dim));
        compute::dequantize(dtype, out.first(index_of(used)), stored);
        rows.values.insert(rows.values.end(), stored.begin(), stored.begin() + dim);
    }
    return rows;
}

struct AttendInputs {
    CacheType type;
    std::vector<float> queries;
    CacheRows keys, values;
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
                     in.keys.at(j, c.key_column + i);
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
            out[index_of(i)] += weights[index_of(j)] / sum * in.values.at(j, c.value_column + i);
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
    std::vector<float> decoded(index_of(kAttendTokens * (c.key_dim + c.value_dim)), kPoison);
    const std::int64_t visible_max = c.tokens - c.rows + first + rows;
    for (std::int64_t from = 0; from < visible_max; from += kAttendTokens) {
        std::vector<std::int32_t> visible;
        for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t seen = c.tokens - c.rows + first + r + 1 - from;
            visible.push_back(
                static_cast<std::int32_t>(std::clamp<std::int64_t>(seen, 0, kAttendTokens)));
        }
        kernels.attend[static_cast<std::size_t>(in.type)](
            {in.queries.data() + first * (c.key_dim + 5),
             c.key_dim + 5,
             rows,
             visible.data(),
             in.keys.bytes.data() + from * in.keys.row_bytes,
             in.keys.row_bytes,
             c.key_column,
             c.key_dim,
             in.values.bytes.data() + from * in.values.row_bytes,
             in.values.row_bytes,
             c.value_column,
             c.value_dim,
             std::min<std::int64_t>(kAttendTokens, visible_max - from),
             in.scale,
             maxima.data(),
             sums.data(),
             out.data(),
             c.value_dim,
             decoded.data()});
    }
    for (std::int64_t i = 0; i < rows * c.value_dim; ++i) {
        out[index_of(i)] /= sums[index_of(i / c.value_dim)];
    }
    return out;
}

inline void check_attend(const Kernels& kernels, CacheType type, const AttendCase& c) {
    static std::mt19937 random(25);
    const AttendInputs in{type,
                          random_values(c.rows * (c.key_dim + 5), random),
                          random_cache(type, c.tokens, c.key_column + c.key_dim, random),
                          random_cache(type, c.tokens, c.value_column + c.value_dim, random),
                          1.0F / std::sqrt(static_cast<float>(c.key_dim))};
    INFO(kernels.name << " type " << static_cast<int>(type) << " rows " << c.rows << " key_dim "
                      << c.key_dim << " tokens " << c.tokens);
    const std::vector<float> all = run_attend(kernels, c, in, 0, c.rows);
    for (std::int64_t r = 0; r < c.rows; ++r) {
        const std::vector<double> expected = plain_attention(c, in, r, c.tokens - c.rows + r + 1);
        for (std::int64_t i = 0; i < c.value_dim; ++i) {
            REQUIRE(all[index_of(r * c.value_dim + i)] ==
                    Approx(expected[index_of(i)]).epsilon(1e-5).margin(1e-5));
        }
        const std::vector<float> alone = run_attend(kernels, c, in, r, 1);
        REQUIRE(std::memcmp(
                    alone.data(), all.data() + r * c.value_dim, alone.size() * sizeof(float)) == 0);
    }
}

inline void check_attend(const Kernels& kernels) {
    for (const AttendCase& c : std::vector<AttendCase>{{1, 16, 16, 1},
                                                       {1, 20, 12, 40, 3, 7},
                                                       {3, 64, 64, 17, 64, 128},
                                                       {4, 96, 40, 33},
                                                       {5, 160, 128, 5, 20},
                                                       {8, 33, 7, 64, 0, 33},
                                                       {7, 128, 100, 50},
                                                       {32, 40, 20, 51, 8, 24},
                                                       {31, 48, 60, 47, 20, 4}}) {
        check_attend(kernels, CacheType::f16, c);
        check_attend(kernels, CacheType::f32, c);
    }
    // Heads of half a block and more, and the last columns of a row that is no whole block.
    for (const AttendCase& c : std::vector<AttendCase>{{1, 16, 16, 1},
                                                       {1, 48, 80, 40, 48, 16},
                                                       {3, 64, 64, 17, 64, 128},
                                                       {4, 40, 32, 33},
                                                       {5, 160, 128, 5, 16},
                                                       {8, 33, 7, 64},
                                                       {7, 576, 512, 50},
                                                       {29, 96, 64, 33}}) {
        check_attend(kernels, CacheType::q8_0, c);
    }
}

}  // namespace hearth::cpu::test

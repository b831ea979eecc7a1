// The checks of `mix_rounded` and of what it reads against plain loops in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/kernels/cpu/mix_check.h"

namespace hearth::cpu::test {

struct RoundedMixInputs {
    std::vector<float> queries;  ///< (rows, key_dim)
    CacheRows tokens;
};

inline RoundedMixInputs rounded_mix_inputs(const MixCase& c, std::mt19937& random) {
    return {random_values(c.rows * c.key_dim, random),
            random_cache(CacheType::f16, c.tokens, c.key_dim, random)};
}

inline float largest_of(std::span<const float> part) {
    float largest = 1e-30F;
    for (const float value : part) {
        largest = std::max(largest, std::fabs(value));
    }
    return largest;
}

/// A row of queries or tokens as `mix_rounded` takes it: each part to seven bits and a sign of its
/// largest.
inline std::vector<double> rounded_row(const MixCase& c, const float* row) {
    std::vector<double> out;
    for (std::int64_t part = 0; part < 2; ++part) {
        const auto values = part == 0 ? std::span(row, index_of(c.value_dim))
                                      : std::span(row + c.value_dim, row + c.key_dim);
        const float largest = largest_of(values);
        for (const float value : values) {
            const double steps = std::nearbyint(value * (127.0F / largest));
            out.push_back(steps * static_cast<double>(largest / 127.0F));
        }
    }
    return out;
}

/// A weight is rounded, times what a step of its token is worth, to eight bits of the largest of
/// kMixTokens.
inline std::vector<double> plain_rounded_mix(const MixCase& c,
                                             const RoundedMixInputs& in,
                                             std::int64_t row) {
    const std::int64_t visible = c.tokens - c.rows + row + 1;
    const std::vector<double> query = rounded_row(c, in.queries.data() + row * c.key_dim);
    std::vector<double> out(index_of(c.value_dim));
    double sum = 0.0;
    for (std::int64_t from = 0; from < visible; from += kMixTokens) {
        std::vector<std::vector<double>> tokens;
        std::vector<double> weights, largest;  // of a token's steps, and of its values
        for (std::int64_t j = from; j < std::min<std::int64_t>(from + kMixTokens, visible); ++j) {
            const float* values = in.tokens.values.data() + j * c.key_dim;
            tokens.push_back(rounded_row(c, values));
            const double score =
                std::inner_product(query.begin(), query.end(), tokens.back().begin(), 0.0);
            const double weight = std::exp(score * static_cast<double>(mix_scale(c)));
            sum += weight;
            largest.push_back(
                static_cast<double>(largest_of(std::span(values, index_of(c.value_dim)))));
            weights.push_back(weight * largest.back());
        }
        const double step = *std::ranges::max_element(weights) / 255.0;
        for (std::size_t t = 0; t < tokens.size(); ++t) {
            const double weight = std::nearbyint(weights[t] / step) * step / largest[t];
            for (std::int64_t i = 0; i < c.value_dim; ++i) {
                out[index_of(i)] += weight * tokens[t][index_of(i)];
            }
        }
    }
    for (double& value : out) {
        value /= sum;
    }
    return out;
}

inline std::vector<float> run_rounded_mix(const Kernels& kernels,
                                          const MixCase& c,
                                          const RoundedMixInputs& in,
                                          std::int64_t first,
                                          std::int64_t rows) {
    std::vector<float> queries =
        turned_queries(c, in.queries, first, rows, rounded_query_rows(c.key_dim));
    const auto stride = static_cast<std::int64_t>(queries.size()) / rounded_query_rows(c.key_dim);
    kernels.round_queries({queries.data(), stride, c.key_dim, c.value_dim});
    const std::int64_t block_bytes = rounded_block_bytes(c.key_dim, c.value_dim);
    std::vector<std::byte> blocks(index_of(2 * block_bytes));
    std::vector<std::byte> widened(index_of(widened_rows_bytes(c.key_dim, c.value_dim)));
    return mix_in_steps(
        kernels.mix_rounded,
        c,
        queries,
        first,
        rows,
        [&](std::int64_t from, std::int64_t count, MixCall& call) {
            std::ranges::fill(blocks, std::byte{0xFF});
            call.widened = widened.data();
            for (std::int64_t i = 0; i < count; i += kAttendTokens) {
                std::byte* const block = blocks.data() + i / kAttendTokens * block_bytes;
                const std::int64_t block_rows = std::min<std::int64_t>(kAttendTokens, count - i);
                call.blocks[i / kAttendTokens] = block;
                for (std::int64_t slot = 0; slot < block_rows; ++slot) {
                    const std::int64_t token = from + i + slot;
                    kernels.store_rounded({in.tokens.values.data() + token * c.key_dim,
                                           c.key_dim,
                                           c.value_dim,
                                           slot,
                                           block});
                }
            }
        });
}

inline void check_rounded_mix(const Kernels& kernels,
                              const MixCase& c,
                              const RoundedMixInputs& in) {
    INFO(kernels.name << " rows " << c.rows << " key_dim " << c.key_dim << " tokens " << c.tokens);
    const std::vector<float> all = run_rounded_mix(kernels, c, in, 0, c.rows);
    double largest = 0.0;  // of the values
    for (std::int64_t i = 0; i < c.tokens * c.key_dim; ++i) {
        if (i % c.key_dim >= c.value_dim) continue;
        largest = std::max(largest, std::fabs(static_cast<double>(in.tokens.values[index_of(i)])));
    }
    std::int64_t apart = 0;
    for (std::int64_t r = 0; r < c.rows; ++r) {
        const std::vector<double> expected = plain_rounded_mix(c, in, r);
        double distance = 0.0;
        for (std::int64_t i = 0; i < c.value_dim; ++i) {
            const auto found = static_cast<double>(all[index_of(r * c.value_dim + i)]);
            distance = std::max(distance, std::fabs(found - expected[index_of(i)]));
        }
        // A weight near the middle of two steps may be rounded to the other one.
        REQUIRE(distance <= 5e-3 * largest);
        if (distance > 1e-5 * largest) ++apart;
        const float* row = all.data() + r * c.value_dim;
        REQUIRE(is_same_mix(run_rounded_mix(kernels, c, in, r, 1), row));
    }
    CHECK(apart <= c.rows / 8);
}

inline void check_rounded_mix(const Kernels& kernels) {
    static std::mt19937 random(27);
    for (MixCase c : kMixCases) {
        c.value_dim = std::min(c.value_dim, c.key_dim);
        check_rounded_mix(kernels, c, rounded_mix_inputs(c, random));
    }
}

/// What is rotated may be much larger than the latent, and rows may be 0.
inline void check_uneven_rounded_mix(const Kernels& kernels) {
    const MixCase c{5, 80, 48, 37};
    static std::mt19937 random(29);
    RoundedMixInputs in = rounded_mix_inputs(c, random);
    for (std::int64_t token = 0; token < c.tokens; ++token) {
        std::vector<float> row(in.tokens.values.begin() + token * c.key_dim,
                               in.tokens.values.begin() + (token + 1) * c.key_dim);
        for (std::int64_t i = 0; i < c.key_dim; ++i) {
            row[index_of(i)] *= token % 7 == 3 ? 0.0F : i < c.value_dim ? 1.0F : 512.0F;
            in.tokens.values[index_of(token * c.key_dim + i)] = row[index_of(i)];
        }
    }
    for (std::int64_t r = 0; r < c.rows; ++r) {
        for (std::int64_t i = c.value_dim; i < c.key_dim; ++i) {
            in.queries[index_of(r * c.key_dim + i)] *= r == 2 ? 0.0F : 1.0F / 512.0F;
        }
    }
    check_rounded_mix(kernels, c, in);
}

}  // namespace hearth::cpu::test

// The checks of `mix` and `decode_rows` against plain loops in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/kernels/cpu/float_check.h"

namespace hearth::cpu::test {

/// Rows of queries over a few steps of keys, each row seeing one token more than the one before;
/// strides wider than the rows.
struct MixCase {
    std::int64_t rows, key_dim, value_dim, tokens;
};

inline const std::vector<MixCase> kMixCases = {{1, 16, 16, 1},
                                               {2, 20, 12, 40},
                                               {3, 64, 61, 17},
                                               {5, 33, 128, 70},
                                               {8, 160, 128, 100},
                                               {9, 40, 7, 33},
                                               {16, 24, 40, 64},
                                               {17, 97, 104, 50},
                                               {26, 48, 60, 47},
                                               {3, 32, 16, 70},
                                               {17, 96, 48, 40},
                                               {32, 576, 512, 39}};

struct MixInputs {
    std::vector<float> queries;  ///< (rows, key_dim)
    std::vector<float> keys;     ///< (tokens, key_dim + 3)
    std::vector<float> values;   ///< (tokens, value_dim + 5)
};

inline MixInputs mix_inputs(const MixCase& c, std::mt19937& random) {
    return {random_values(c.rows * c.key_dim, random),
            random_values(c.tokens * (c.key_dim + 3), random),
            random_values(c.tokens * (c.value_dim + 5), random)};
}

inline float mix_scale(const MixCase& c) {
    return 1.0F / std::sqrt(static_cast<float>(c.key_dim));
}

inline std::vector<double> plain_mix(const MixCase& c, const MixInputs& in, std::int64_t row) {
    const std::int64_t visible = c.tokens - c.rows + row + 1;
    std::vector<double> weights;
    for (std::int64_t j = 0; j < visible; ++j) {
        double score = 0.0;
        for (std::int64_t i = 0; i < c.key_dim; ++i) {
            score += static_cast<double>(in.queries[index_of(row * c.key_dim + i)]) *
                     static_cast<double>(in.keys[index_of(j * (c.key_dim + 3) + i)]);
        }
        weights.push_back(std::exp(score * static_cast<double>(mix_scale(c))));
    }
    double sum = 0.0;
    for (const double weight : weights) {
        sum += weight;
    }
    std::vector<double> out(index_of(c.value_dim));
    for (std::int64_t j = 0; j < visible; ++j) {
        for (std::int64_t i = 0; i < c.value_dim; ++i) {
            out[index_of(i)] += weights[index_of(j)] / sum *
                                static_cast<double>(in.values[index_of(j * (c.value_dim + 5) + i)]);
        }
    }
    return out;
}

/// `rows` rows of `queries` from row `first` on as `mix` wants them, (matrix_rows, stride).
inline std::vector<float> turned_queries(const MixCase& c,
                                         const std::vector<float>& queries,
                                         std::int64_t first,
                                         std::int64_t rows,
                                         std::int64_t matrix_rows) {
    const std::int64_t stride = (rows + kMixLanes - 1) / kMixLanes * kMixLanes;
    std::vector<float> turned(index_of(matrix_rows * stride), 0.0F);
    for (std::int64_t i = 0; i < c.key_dim * rows; ++i) {
        turned[index_of(i % c.key_dim * stride + i / c.key_dim)] =
            queries[index_of(first * c.key_dim + i)];
    }
    return turned;
}

/// Those rows over all tokens, kMixTokens at a time: `add_tokens(from, count, call)` says which.
/// (rows, value_dim), divided by their sums.
template <typename AddTokens>
std::vector<float> mix_in_steps(void (*mix)(const MixCall& call),
                                const MixCase& c,
                                const std::vector<float>& turned,
                                std::int64_t first,
                                std::int64_t rows,
                                const AddTokens& add_tokens) {
    const std::int64_t stride = (rows + kMixLanes - 1) / kMixLanes * kMixLanes;
    std::vector<float> maxima(index_of(stride), std::numeric_limits<float>::lowest());
    std::vector<float> sums(index_of(stride), 0.0F);
    std::vector<float> out(index_of(rows * c.value_dim), 0.0F);
    const std::int64_t end = c.tokens - c.rows + first + rows;
    for (std::int64_t from = 0; from < end; from += kMixTokens) {
        std::vector<std::int32_t> visible;
        const std::int64_t count = std::min<std::int64_t>(kMixTokens, end - from);
        for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t seen = c.tokens - c.rows + first + r + 1 - from;
            visible.push_back(static_cast<std::int32_t>(std::clamp<std::int64_t>(seen, 0, count)));
        }
        MixCall call{};
        call.queries = turned.data();
        call.query_stride = stride;
        call.rows = rows;
        call.visible = visible.data();
        call.key_dim = c.key_dim;
        call.value_dim = c.value_dim;
        call.count = count;
        call.scale = mix_scale(c);
        call.maxima = maxima.data();
        call.sums = sums.data();
        call.out = out.data();
        call.out_stride = c.value_dim;
        add_tokens(from, count, call);
        mix(call);
    }
    for (std::int64_t i = 0; i < rows * c.value_dim; ++i) {
        out[index_of(i)] /= sums[index_of(i / c.value_dim)];
    }
    return out;
}

inline std::vector<float> run_mix(const Kernels& kernels,
                                  const MixCase& c,
                                  const MixInputs& in,
                                  std::int64_t first,
                                  std::int64_t rows) {
    return mix_in_steps(kernels.mix,
                        c,
                        turned_queries(c, in.queries, first, rows, c.key_dim),
                        first,
                        rows,
                        [&](std::int64_t from, std::int64_t, MixCall& call) {
                            call.keys = in.keys.data() + from * (c.key_dim + 3);
                            call.key_stride = c.key_dim + 3;
                            call.values = in.values.data() + from * (c.value_dim + 5);
                            call.value_stride = c.value_dim + 5;
                        });
}

inline bool is_same_mix(const std::vector<float>& a, const float* b) {
    return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

/// The tile unit takes sixteen bits of each factor.
inline double mix_tolerance(const Kernels& kernels) {
    return std::string_view(kernels.name).starts_with("amx") ? 1e-4 : 1e-5;
}

inline void check_mix(const Kernels& kernels) {
    const double tolerance = mix_tolerance(kernels);
    static std::mt19937 random(27);
    for (const MixCase& c : kMixCases) {
        const MixInputs in = mix_inputs(c, random);
        INFO(kernels.name << " rows " << c.rows << " key_dim " << c.key_dim << " tokens "
                          << c.tokens);
        const std::vector<float> all = run_mix(kernels, c, in, 0, c.rows);
        for (std::int64_t r = 0; r < c.rows; ++r) {
            const std::vector<double> expected = plain_mix(c, in, r);
            for (std::int64_t i = 0; i < c.value_dim; ++i) {
                REQUIRE(all[index_of(r * c.value_dim + i)] ==
                        Approx(expected[index_of(i)]).epsilon(tolerance).margin(tolerance));
            }
            const float* row = all.data() + r * c.value_dim;
            REQUIRE(is_same_mix(run_mix(kernels, c, in, r, 1), row));
        }
    }
}

/// Rows are those that were stored, and nothing behind them is written.
inline void check_decode_rows(const Kernels& kernels) {
    static std::mt19937 random(28);
    for (const CacheType type : {CacheType::f16, CacheType::q8_0, CacheType::f32}) {
        for (const std::int64_t dim : {16, 24, 33, 160, 576}) {
            const CacheRows rows = random_cache(type, 5, dim, random);
            std::vector<float> out = poisoned(5 * dim);
            kernels.decode_rows[static_cast<std::size_t>(type)](
                rows.bytes.data(), rows.row_bytes, dim, 5, out.data());
            INFO(kernels.name << " type " << static_cast<int>(type) << " dim " << dim);
            REQUIRE(std::equal(rows.values.begin(), rows.values.end(), out.begin()));
            check_tail(out, 5 * dim);
        }
    }
}

}  // namespace hearth::cpu::test

// Every Math table against the portable one, on shapes that fit no tile.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/support/emulated_tiles.h"
#include "training/trainer/math_amx_unit.h"
#include "training/trainer/math_select.h"

using namespace hearth;
using namespace hearth::trainer;

namespace hearth::trainer {

// math_avx512_emulated.cpp
const Math<float>& emulated_avx512_math();
void emulated_bfloat_gemm(const Gemm<float>& product, GemmWorkspace& workspace);

}  // namespace hearth::trainer

namespace {

/// Tables whose products are of bfloat16: emulated, and those that this processor runs.
std::vector<Math<float>> bfloat_tables() {
    std::vector<Math<float>> tables(2, portable_math());
    tables[0].name = "amx emulated";
    tables[0].gemm = BfloatDriver<AmxUnit<test::EmulatedTiles>, PortableRounding>::run;
    tables[1].name = "avx512bf16 emulated";
    tables[1].gemm = emulated_bfloat_gemm;
    Log log;
    for (const char* name : {"amx", "avx512bf16"}) {
        if (const auto math = select_math(name, log)) tables.push_back(**math);
    }
    return tables;
}

std::vector<float> random_values(std::size_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) {
        value = normal(random);
    }
    return values;
}

/// The tables that this processor runs, beside the portable one.
std::vector<const Math<float>*> other_tables() {
    Log log;
    std::vector<const Math<float>*> tables;
    for (const char* name : {"avx2", "avx512"}) {
        if (const auto math = select_math(name, log)) tables.push_back(*math);
    }
    return tables;
}

void check_near(const std::vector<float>& found, const std::vector<float>& expected) {
    REQUIRE(found.size() == expected.size());
    float error = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        error = std::max(error, std::abs(found[i] - expected[i]) / (1 + std::abs(expected[i])));
    }
    CHECK(error < 1e-5F);
}

}  // namespace

TEST_CASE("a product has the value of its definition", "[trainer][math]") {
    const std::vector<double> a{1, 2, 3, 4, 5, 6};          // (2, 3)
    const std::vector<double> b{1, 0, 2, -1, 3, 1};         // (3, 2)
    const std::vector<double> b_turned{1, 2, 3, 0, -1, 1};  // (2, 3)
    const std::vector<double> a_turned{1, 4, 2, 5, 3, 6};   // (3, 2)
    const std::vector<double> expected{14, 1, 32, 1};
    const auto workspace = std::make_unique<GemmWorkspace>();
    const Math<double>& math = portable_math_double();
    std::vector<double> c(4, 7);
    math.gemm(a_times_b<double>(2, 2, 3, a.data(), 3, b.data(), 2, c.data(), 2), *workspace);
    CHECK(c == expected);
    math.gemm(a_times_b_transposed<double>(2, 2, 3, a.data(), 3, b_turned.data(), 3, c.data(), 2),
              *workspace);
    CHECK(c == expected);
    math.gemm(a_transposed_times_b<double>(2, 2, 3, a_turned.data(), 2, b.data(), 2, c.data(), 2),
              *workspace);
    CHECK(c == expected);
    math.gemm(a_times_b<double>(2, 2, 3, a.data(), 3, b.data(), 2, c.data(), 2, true), *workspace);
    CHECK(c == std::vector<double>{28, 2, 64, 2});
    math.gemm(a_times_b<double>(2, 2, 0, a.data(), 3, b.data(), 2, c.data(), 2), *workspace);
    CHECK(c == std::vector<double>{0, 0, 0, 0});
}

TEST_CASE("every instruction set gives the portable products", "[trainer][math]") {
    for (const Math<float>* math : other_tables()) {
        INFO(math->name);
        CHECK(agrees_with_portable(*math, 1e-5F));
    }
    CHECK(agrees_with_portable(portable_math(), 0));
}

TEST_CASE("the AVX-512 tile gives the portable products", "[trainer][math]") {
    CHECK(agrees_with_portable(emulated_avx512_math(), 1e-5F));
}

TEST_CASE("products of bfloat16 are the portable ones up to its rounding", "[trainer][math]") {
    for (const Math<float>& math : bfloat_tables()) {
        INFO(math.name);
        CHECK(agrees_with_portable(math, 1e-2F));
        CHECK_FALSE(agrees_with_portable(math, 1e-5F));
    }
}

TEST_CASE("products of bfloat16 are exact where its numbers are", "[trainer][math]") {
    // Small whole numbers are exact in bfloat16 and their sums in float, in any order.
    const auto workspace = std::make_unique<GemmWorkspace>();
    for (const auto& [m, n, k] :
         {std::array<std::size_t, 3>{33, 70, 65}, {1, 1, 1}, {97, 31, 700}}) {
        std::vector<float> a(m * k), b(k * n), expected(m * n), found(m * n);
        for (std::size_t i = 0; i < a.size(); ++i) {
            a[i] = static_cast<float>(i * 7 % 17) - 8;
        }
        for (std::size_t i = 0; i < b.size(); ++i) {
            b[i] = static_cast<float>(i * 5 % 13) - 6;
        }
        const std::array products = {
            a_times_b<float>(m, n, k, a.data(), k, b.data(), n, nullptr, n),
            a_times_b_transposed<float>(m, n, k, a.data(), k, b.data(), k, nullptr, n),
            a_transposed_times_b<float>(m, n, k, a.data(), m, b.data(), n, nullptr, n)};
        for (Gemm<float> product : products) {
            product.c = expected.data();
            portable_math().gemm(product, *workspace);
            for (const Math<float>& math : bfloat_tables()) {
                INFO(math.name);
                std::ranges::fill(found, -1.0F);
                product.c = found.data();
                math.gemm(product, *workspace);
                CHECK(found == expected);
            }
        }
    }
}

TEST_CASE("bfloat16 rounds to nearest, ties to even, and keeps what is no number",
          "[trainer][math]") {
    const auto rounded = [](std::uint32_t bits) { return to_bfloat(std::bit_cast<float>(bits)); };
    CHECK(rounded(0x3F808000U) == 0x3F80);
    CHECK(rounded(0x3F818000U) == 0x3F82);
    CHECK(rounded(0x3F808001U) == 0x3F81);
    CHECK(rounded(0x7F800000U) == 0x7F80);
    CHECK((rounded(0x7F800001U) & 0x7FU) != 0);
    CHECK(rounded(0x80000000U) == 0x8000);
}

TEST_CASE("a product that is wrong fails its check", "[trainer][math]") {
    Math<float> broken = portable_math();
    broken.gemm = [](const Gemm<float>& product, GemmWorkspace& workspace) {
        portable_math().gemm(product, workspace);
        product.c[product.m * product.c_row - 1] += 0.01F;
    };
    CHECK_FALSE(agrees_with_portable(broken, 1e-5F));
    broken.gemm = [](const Gemm<float>& product, GemmWorkspace&) { product.c[0] = NAN; };
    CHECK_FALSE(agrees_with_portable(broken, 1e-5F));
}

TEST_CASE("every instruction set gives the portable row operations", "[trainer][math]") {
    const std::size_t n = 77;
    const Math<float>& portable = portable_math();
    for (const Math<float>* math : other_tables()) {
        INFO(math->name);
        const auto both = [&](auto&& work) {
            std::vector<float> expected = random_values(3 * n, 5);
            std::vector<float> found = expected;
            work(portable, expected);
            work(*math, found);
            check_near(found, expected);
        };
        const std::vector<float> x = random_values(3 * n, 1);
        const std::vector<float> y = random_values(3 * n, 2);
        const std::vector<float> weight = random_values(n, 3);
        both([&](const Math<float>& m, std::vector<float>& out) {
            std::vector<float> inverse(3);
            m.rms_norm(3, n, x.data(), n, weight.data(), 1e-6F, out.data(), inverse.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            const std::vector<float> inverse{0.5F, 1.5F, 0.7F};
            std::vector<float> d_weight(n);
            m.rms_norm_backward(3,
                                n,
                                x.data(),
                                n,
                                weight.data(),
                                inverse.data(),
                                y.data(),
                                out.data(),
                                true,
                                d_weight.data());
            out.insert(out.end(), d_weight.begin(), d_weight.end());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            m.swiglu(3 * n, x.data(), y.data(), out.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            std::vector<float> gate = x;
            std::vector<float> up = y;
            std::vector<float> h(3 * n);
            m.swiglu_backward(3 * n, out.data(), gate.data(), up.data(), h.data());
            out = gate;
            out.insert(out.end(), up.begin(), up.end());
            out.insert(out.end(), h.begin(), h.end());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            m.softmax(n - 5, n, 0.3F, out.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            m.softmax_backward(n, 0.3F, x.data(), out.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            out.push_back(m.cross_entropy({.count = n,
                                           .logits = out.data(),
                                           .correction = weight.data(),
                                           .target = 12,
                                           .z_loss = 0.1F,
                                           .scale = 0.5F}));
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            m.rotate(n / 2, x.data(), y.data(), -1, out.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            m.add_scaled(n, 1.5F, x.data(), out.data());
            out[0] += m.dot(n, x.data(), y.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            m.combine(n, -0.7F, 1.5F, x.data(), out.data());
        });
        both([&](const Math<float>& m, std::vector<float>& out) {
            AdamStep<float> step;
            step.learning_rate = 0.1F;
            step.beta1 = 0.9F;
            step.beta2 = 0.95F;
            step.epsilon = 1e-8F;
            std::vector<float> first = y;
            std::vector<float> second(n, 0.3F);
            m.adam(n, step, x.data(), first.data(), second.data(), out.data());
        });
    }
}

TEST_CASE("the z-loss adds the gradient of the squared log-partition", "[trainer][math]") {
    const std::vector<double> logits{0.3, -1.2, 2.0, 0.5};
    const std::vector<double> correction{0, 0.7, 0, 0.7};
    const double z = 0.05;
    const auto value = [&](std::vector<double> x) {
        double sum = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            sum += std::exp(x[i] + correction[i]);
        }
        return std::log(sum) - x[2] + z * std::log(sum) * std::log(sum);
    };
    std::vector<double> gradient = logits;
    const double loss = portable_math_double().cross_entropy({.count = 4,
                                                              .logits = gradient.data(),
                                                              .correction = correction.data(),
                                                              .target = 2,
                                                              .z_loss = z,
                                                              .scale = 1});
    CHECK(loss > 0);
    for (std::size_t i = 0; i < logits.size(); ++i) {
        std::vector<double> above = logits;
        std::vector<double> below = logits;
        above[i] += 1e-6;
        below[i] -= 1e-6;
        CHECK(gradient[i] == Approx((value(above) - value(below)) / 2e-6).epsilon(1e-6));
    }
}

#include "core/model/rope_scaling.h"

#include <cmath>

#include <catch2/catch.hpp>

namespace hearth::model {
namespace {

TEST_CASE("without scaling the frequencies are powers of the base", "[model][rope]") {
    const auto frequencies = rope_frequencies({.base = 10000.0}, 8).value();
    REQUIRE(frequencies.size() == 4);
    CHECK(frequencies[0] == Approx(1.0));
    CHECK(frequencies[1] == Approx(0.1));
    CHECK(frequencies[3] == Approx(0.001));
}

TEST_CASE("linear scaling stretches every pair alike", "[model][rope]") {
    const RopeScaling scaling{.type = RopeScaling::Type::linear, .factor = 4.0};
    const auto frequencies = rope_frequencies(scaling, 8).value();
    CHECK(frequencies[0] == Approx(0.25));
    CHECK(frequencies[3] == Approx(0.00025));
    CHECK(scaling.magnitude(1.0) == 1.0);
}

TEST_CASE("YaRN keeps fast pairs, stretches slow ones and mixes between", "[model][rope]") {
    const RopeScaling scaling{.type = RopeScaling::Type::yarn,
                              .base = 10000.0,
                              .factor = 40.0,
                              .original_context = 4096.0,
                              .mscale_all_dim = 0.707};
    const auto frequencies = rope_frequencies(scaling, 64).value();
    const auto trained = [](int pair) { return std::pow(10000.0, -2.0 * pair / 64.0); };
    // 32 rotations over 4,096 tokens: pair 10.47; one rotation: pair 22.51.
    CHECK(frequencies[0] == Approx(trained(0)));
    CHECK(frequencies[10] == Approx(trained(10)));
    CHECK(frequencies[23] == Approx(trained(23) / 40.0));
    CHECK(frequencies[31] == Approx(trained(31) / 40.0));
    const double share = (15.0 - 10.0) / (23.0 - 10.0);
    CHECK(frequencies[15] == Approx(trained(15) * (1.0 - share + share / 40.0)));
    CHECK(scaling.magnitude(0.707) == Approx(1.0 + 0.0707 * std::log(40.0)));
}

TEST_CASE("an odd number of columns cannot be rotated", "[model][rope]") {
    CHECK_FALSE(rope_frequencies({}, 7));
}

}  // namespace
}  // namespace hearth::model

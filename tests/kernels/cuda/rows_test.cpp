// Kernels that work row by row, against the reference.
#include "kernels/cuda/rows.h"

#include <cmath>

#include "core/compute/half.h"
#include "kernels/reference/operations.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

TEST_CASE("every weight keeps its value in the planes", "[cuda][rows]") {
    std::mt19937 random(seed_of(31));
    const auto check = [&](compute::Dtype dtype, std::int64_t columns) {
        constexpr std::int64_t kRows = 5;
        const TestWeight table(dtype, {kRows, columns}, random);
        const std::vector<std::int32_t> tokens = {3, 0, 4, 3};
        const DeviceArray<std::int32_t> device_tokens(tokens);
        const auto stride = static_cast<std::size_t>(columns + 3);
        const DeviceArray<float> out(tokens.size() * stride);
        StepTables step;
        step.tokens = device_tokens.data();
        require(embed({table.matrix(), {out.data(), columns + 3}, 1.0F},
                      step,
                      static_cast<int>(tokens.size()),
                      kStream));
        const auto found = out.read();
        INFO(compute::traits(dtype).name << " columns " << columns);
        for (std::size_t t = 0; t < tokens.size(); ++t) {
            const auto row = table.values().subspan(static_cast<std::size_t>(tokens[t] * columns),
                                                    static_cast<std::size_t>(columns));
            check_near({found.data() + t * stride, row.size()}, row, 1e-6);
            REQUIRE(std::isnan(found[t * stride + row.size()]));
        }
    };
    for (const compute::Dtype dtype : kQuantised) {
        for (const std::int64_t factor : {1, 3, 9}) {
            check(dtype, factor * compute::traits(dtype).elements);
        }
    }
    for (const compute::Dtype dtype : kFloats) {
        for (const std::int64_t columns : {1, 7, 40, 515}) {
            check(dtype, columns);
        }
    }
}

TEST_CASE("norms of whole rows and of heads", "[cuda][rows]") {
    std::mt19937 random(seed_of(32));
    for (const auto& [groups, group_dim] : std::vector<std::pair<int, int>>{
             {1, 1}, {1, 33}, {1, 64}, {3, 32}, {5, 20}, {1, 1100}, {2, 576}}) {
        constexpr int kTokens = 3;
        const std::int64_t dim = groups * group_dim;
        std::vector<float> x = random_values(static_cast<std::size_t>(kTokens * (dim + 2)), random);
        const TestWeight weight(compute::Dtype::f32, {group_dim}, random);
        const DeviceArray<float> device_x(x);
        const DeviceArray<float> out(static_cast<std::size_t>(kTokens * dim));
        const bool is_rounded = group_dim % kChunkWeights == 0;
        const TestQ8 rounded(kTokens, static_cast<std::size_t>((dim + 31) / 32 * 32));
        RmsNormArgs args{.x = {device_x.data(), dim + 2},
                         .weight = reinterpret_cast<const float*>(weight.matrix().quants),
                         .out = {out.data(), dim},
                         .groups = groups,
                         .group_dim = group_dim,
                         .epsilon = 1e-5F};
        if (is_rounded) args.rounded = rounded.rows;
        require(rms_norm(args, kTokens, kStream));
        std::vector<float> expected(static_cast<std::size_t>(kTokens * dim));
        compute::RmsNorm op{};
        op.group_dim = group_dim;
        op.epsilon = 1e-5F;
        reference::rms_norm(op,
                            {x.data(), kTokens, dim, dim + 2},
                            weight.tensor(),
                            {expected.data(), kTokens, dim, dim});
        INFO("groups " << groups << " of " << group_dim);
        const auto found = out.read();
        check_near(found, expected, 1e-5);
        if (is_rounded) check_near(rounded.values(), found, 0.05);
    }
}

TEST_CASE("rounding keeps zeros and never hides what is no number", "[cuda][rows]") {
    std::mt19937 random(seed_of(33));
    constexpr std::size_t kColumns = 96;
    std::vector<float> x = random_values(2 * kColumns, random);
    std::fill_n(x.begin() + 32, 32, 0.0F);
    x[kColumns + 5] = std::nanf("");
    x[kColumns + 40] = -INFINITY;
    const DeviceArray<float> device_x(x);
    const TestQ8 rounded(2, kColumns);
    require(quantise({device_x.data(), kColumns}, rounded.rows, 2, kStream));
    const auto values = rounded.values();
    const auto scales = rounded.scales.read();
    check_near({values.data(), 32}, {x.data(), 32}, 0.01);
    CHECK(std::vector<float>(values.begin() + 32, values.begin() + 64) == std::vector<float>(32));
    CHECK(std::isnan(scales[3].d));
    CHECK_FALSE(std::isfinite(scales[4].d));
    CHECK(std::isfinite(scales[5].d));
    const auto quants = rounded.quants.read();
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < 32; ++i) {
        sum += quants[i];
    }
    CHECK(scales[0].sum == sum);
}

TEST_CASE("rotation in both styles", "[cuda][rows]") {
    std::mt19937 random(seed_of(34));
    constexpr int kTokens = 4;
    constexpr int kHeads = 3;
    constexpr int kHeadDim = 14;
    constexpr int kPairs = 5;
    const std::vector<std::int32_t> positions = {0, 7, 12345, 3};
    for (const bool is_interleaved : {true, false}) {
        compute::Rope op{};
        op.heads = kHeads;
        op.head_dim = kHeadDim;
        op.rotate_offset = 4;
        op.style = is_interleaved ? compute::RopeStyle::interleaved : compute::RopeStyle::halves;
        op.frequencies = {1.0F, 0.5F, 0.1F, 0.03F, 0.001F};
        op.magnitude = 1.25F;
        std::vector<float> x = random_values(kTokens * kHeads * kHeadDim, random);
        const DeviceArray<float> device_x(x);
        const DeviceArray<float> frequencies(op.frequencies);
        const DeviceArray<float2> angles(kTokens * kPairs);
        const DeviceArray<std::int32_t> device_positions(positions);
        StepTables step;
        step.positions = device_positions.data();
        require(rope_angles(
            {frequencies.data(), angles.data(), kPairs, op.magnitude}, step, kTokens, kStream));
        require(rope({{device_x.data(), kHeads * kHeadDim},
                      angles.data(),
                      kPairs,
                      kHeads,
                      kHeadDim,
                      4,
                      is_interleaved},
                     kTokens,
                     kStream));
        reference::rope(op, positions, {x.data(), kTokens, kHeads * kHeadDim, kHeads * kHeadDim});
        check_near(device_x.read(), x, 1e-6);
    }
}

TEST_CASE("swiglu and add, rounded where that is asked", "[cuda][rows]") {
    std::mt19937 random(seed_of(35));
    for (const int dim : {1, 32, 100, 288}) {
        constexpr int kTokens = 2;
        const auto size = static_cast<std::size_t>(kTokens * dim);
        std::vector<float> a = random_values(size, random, 3.0F);
        std::vector<float> b = random_values(size, random);
        const DeviceArray<float> device_a(a);
        const DeviceArray<float> device_b(b);
        const DeviceArray<float> out(size);
        const TestQ8 rounded(kTokens, static_cast<std::size_t>((dim + 31) / 32 * 32));
        PairwiseArgs args{.a = {device_a.data(), dim},
                          .b = {device_b.data(), dim},
                          .out = {out.data(), dim},
                          .dim = dim};
        require(add(args, kTokens, kStream));
        std::vector<float> expected(size);
        reference::add({a.data(), kTokens, dim, dim},
                       {b.data(), kTokens, dim, dim},
                       {expected.data(), kTokens, dim, dim});
        CHECK(out.read() == expected);
        if (dim % kChunkWeights == 0) args.rounded = rounded.rows;
        require(swiglu(args, kTokens, kStream));
        reference::swiglu({a.data(), kTokens, dim, dim},
                          {b.data(), kTokens, dim, dim},
                          {expected.data(), kTokens, dim, dim});
        check_near(out.read(), expected, 1e-5);
        if (dim % kChunkWeights == 0) check_near(rounded.values(), expected, 0.05);
    }
}

}  // namespace
}  // namespace hearth::cuda::test

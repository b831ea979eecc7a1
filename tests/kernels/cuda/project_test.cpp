// Matrix products: near the reference with the same rounding of activations, and the same bits for
// any number of tokens.
#include "kernels/cuda/project.h"

#include <cmath>

#include "kernels/cuda/rows.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

constexpr std::size_t kTokensMax = 37;

/// Two matrices of one input, the first with bias and residual.
struct Products {
    Products(compute::Dtype first, compute::Dtype second, std::int64_t x_dim, std::mt19937& random)
        : x(random_values(kTokensMax * static_cast<std::size_t>(x_dim), random)),
          a(first, {kRowsA, x_dim}, random),
          b(second, {kRowsB, x_dim}, random),
          bias(compute::Dtype::f32, {kRowsA}, random),
          residual(random_values(kTokensMax * kRowsA, random)),
          columns(x_dim) {}

    static constexpr std::int64_t kRowsA = 35;
    static constexpr std::int64_t kRowsB = 17;

    [[nodiscard]] std::vector<float> expected(std::span<const float> inputs) const {
        const auto first = products(inputs, a.values(), static_cast<std::size_t>(columns));
        const auto second = products(inputs, b.values(), static_cast<std::size_t>(columns));
        std::vector<float> out;
        for (std::size_t t = 0; t < inputs.size() / static_cast<std::size_t>(columns); ++t) {
            for (std::size_t r = 0; r < kRowsA; ++r) {
                out.push_back(first[t * kRowsA + r] + bias.values()[r] + residual[t * kRowsA + r]);
            }
            for (std::size_t r = 0; r < kRowsB; ++r) {
                out.push_back(2.0F * second[t * kRowsB + r]);
            }
        }
        return out;
    }

    template <typename Launch>
    std::vector<float> run(int tokens, Launch launch) const {
        constexpr std::int64_t kColumnsOut = kRowsA + kRowsB;
        const DeviceArray<float> device_residual(residual);
        const DeviceArray<float> out(static_cast<std::size_t>(tokens * kColumnsOut) + 5);
        ProjectArgs args;
        args.parts[0] = {.weight = a.matrix(),
                         .rows = kRowsA,
                         .bias = reinterpret_cast<const float*>(bias.matrix().quants),
                         .residual = {device_residual.data(), kRowsA},
                         .out = {out.data(), kColumnsOut}};
        args.parts[1] = {.weight = b.matrix(),
                         .rows = kRowsB,
                         .out = {out.data() + kRowsA, kColumnsOut},
                         .scale = 2.0F};
        args.part_count = 2;
        launch(args);
        auto values = out.read();
        for (std::size_t i = values.size() - 5; i < values.size(); ++i) {
            REQUIRE(std::isnan(values[i]));
        }
        values.resize(values.size() - 5);
        return values;
    }

    std::vector<float> x;
    TestWeight a, b, bias;
    std::vector<float> residual;
    std::int64_t columns;
};

TEST_CASE("rounded products of every type have the same bits for any number of tokens",
          "[cuda][project]") {
    std::mt19937 random(seed_of(41));
    for (std::size_t i = 0; i < kQuantised.size(); ++i) {
        const compute::Dtype first = kQuantised[i];
        const compute::Dtype second = kQuantised[(i + 3) % kQuantised.size()];
        for (const std::int64_t columns : {256, 1280}) {
            INFO(compute::traits(first).name << " and " << compute::traits(second).name << ", "
                                             << columns << " columns");
            const Products products(first, second, columns, random);
            const DeviceArray<float> device_x(products.x);
            const TestQ8 rounded(kTokensMax, static_cast<std::size_t>(columns));
            require(quantise({device_x.data(), columns}, rounded.rows, kTokensMax, kStream));
            const auto expected = products.expected(rounded.values());
            std::vector<float> all;
            for (const int tokens : {37, 1, 2, 8, 9}) {
                const auto found = products.run(tokens, [&](ProjectArgs args) {
                    args.x = rounded.rows;
                    require(project_q8(args, tokens, kStream));
                });
                if (all.empty()) {
                    check_near(found, expected, 2e-5);
                    all = found;
                }
                INFO(tokens << " tokens");
                CHECK(is_same(
                    found, {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(found.size())}));
            }
        }
    }
}

TEST_CASE("products of short rows", "[cuda][project]") {
    std::mt19937 random(seed_of(42));
    for (const std::int64_t columns : {32, 64, 96, 544}) {
        const Products products(compute::Dtype::q8_0, compute::Dtype::q5_1, columns, random);
        const DeviceArray<float> device_x(products.x);
        const TestQ8 rounded(kTokensMax, static_cast<std::size_t>(columns));
        require(quantise({device_x.data(), columns}, rounded.rows, kTokensMax, kStream));
        const auto expected = products.expected(rounded.values());
        std::vector<float> all;
        for (const int tokens : {37, 20, 5, 1}) {
            const auto found = products.run(tokens, [&](ProjectArgs args) {
                args.x = rounded.rows;
                require(project_q8(args, tokens, kStream));
            });
            check_near(found, {expected.data(), found.size()}, 2e-5);
            if (all.empty()) all = found;
            CHECK(is_same(found,
                          {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(found.size())}));
        }
    }
}

TEST_CASE("products of very many rows have the bits of those in company", "[cuda][project]") {
    std::mt19937 random(seed_of(45));
    constexpr std::int64_t kRows = 16403;
    for (const auto& [dtype, columns] : {std::pair{compute::Dtype::q6_k, std::int64_t{768}},
                                         std::pair{compute::Dtype::q5_0, std::int64_t{1056}}}) {
        INFO(compute::traits(dtype).name << ", " << columns << " columns");
        const auto width = static_cast<std::size_t>(columns);
        const TestWeight weight(dtype, {kRows, columns}, random);
        const DeviceArray<float> x(random_values(2 * width, random));
        const TestQ8 rounded(2, width);
        require(quantise({x.data(), columns}, rounded.rows, 2, kStream));
        const auto run = [&](int tokens) {
            const DeviceArray<float> out(static_cast<std::size_t>(tokens * kRows) + 1);
            ProjectArgs args;
            args.parts[0] = {.weight = weight.matrix(), .rows = kRows, .out = {out.data(), kRows}};
            args.part_count = 1;
            args.x = rounded.rows;
            require(project_q8(args, tokens, kStream));
            auto values = out.read();
            REQUIRE(std::isnan(values.back()));
            values.resize(kRows);
            return values;
        };
        const auto one = run(1);
        const auto inputs = rounded.values();
        check_near(one, products({inputs.data(), width}, weight.values(), width), 2e-5);
        CHECK(is_same(one, run(2)));
    }
}

TEST_CASE("products with float activations", "[cuda][project]") {
    std::mt19937 random(seed_of(43));
    const auto check = [&](compute::Dtype dtype, std::int64_t columns) {
        INFO(compute::traits(dtype).name << ", " << columns << " columns");
        const Products products(dtype, dtype, columns, random);
        const DeviceArray<float> device_x(products.x);
        const auto expected = products.expected(products.x);
        std::vector<float> all;
        for (const int tokens : {6, 1}) {
            const auto found = products.run(tokens, [&](ProjectArgs args) {
                args.x_float = {device_x.data(), columns};
                require(project_float(args, tokens, kStream));
            });
            check_near(found, {expected.data(), found.size()}, 2e-5);
            if (all.empty()) all = found;
            CHECK(is_same(found,
                          {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(found.size())}));
        }
    };
    for (const compute::Dtype dtype : kFloats) {
        for (const std::int64_t columns : {1, 20, 33, 640}) {
            check(dtype, columns);
        }
    }
    for (const compute::Dtype dtype : kQuantised) {
        check(dtype, 512);
    }
}

TEST_CASE("rows are picked by a map, and only as many as the device says", "[cuda][project]") {
    std::mt19937 random(seed_of(44));
    constexpr std::int64_t kColumns = 64;
    constexpr std::int64_t kRows = 20;
    const TestWeight weight(compute::Dtype::q8_0, {kRows, kColumns}, random);
    const DeviceArray<float> x(random_values(8 * kColumns, random));
    const TestQ8 rounded(8, kColumns);
    require(quantise({x.data(), kColumns}, rounded.rows, 8, kStream));
    const std::vector<std::int32_t> map = {5, 0, 7};
    const DeviceArray<std::int32_t> device_map(map);
    const auto all = products(rounded.values(), weight.values(), kColumns);
    for (const std::int32_t count : {0, 1, 3}) {
        const DeviceArray<std::int32_t> device_count(std::vector<std::int32_t>{count});
        const DeviceArray<float> out(3 * kRows);
        ProjectArgs args;
        args.parts[0] = {.weight = weight.matrix(), .rows = kRows, .out = {out.data(), kRows}};
        args.part_count = 1;
        args.x = rounded.rows;
        args.row_map = device_map.data();
        args.count = device_count.data();
        require(project_q8(args, 3, kStream));
        const auto found = out.read();
        for (std::size_t i = 0; i < found.size(); ++i) {
            const std::size_t row = i / kRows;
            if (row < static_cast<std::size_t>(count)) {
                const auto from = static_cast<std::size_t>(map[row]) * kRows + i % kRows;
                REQUIRE(found[i] == Approx(all[from]).margin(1e-4));
            } else {
                REQUIRE(std::isnan(found[i]));
            }
        }
    }
}

}  // namespace
}  // namespace hearth::cuda::test

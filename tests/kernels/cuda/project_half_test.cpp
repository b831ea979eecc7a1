// F16 and BF16 weights on the tensor cores: as exact as products of floats, and the same bits for
// any number of tokens.
#include <cmath>

#include "kernels/cuda/project.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

constexpr std::int64_t kTokensMax = 41;

std::vector<float> project(const TestWeight& weight,
                           std::int64_t rows,
                           const std::vector<float>& x,
                           std::int64_t stride,
                           int tokens) {
    const DeviceArray<float> device_x(x);
    const DeviceArray<float> out(static_cast<std::size_t>(tokens * rows));
    ProjectArgs args;
    args.parts[0] = {.weight = weight.matrix(),
                     .rows = static_cast<std::int32_t>(rows),
                     .out = {out.data(), rows}};
    args.part_count = 1;
    args.x_float = {device_x.data(), stride};
    require(project_float(args, tokens, kStream));
    return out.read();
}

std::vector<float> first_rows(const std::vector<float>& all, std::size_t count) {
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)};
}

/// Every row on its own scale, for which `check_near` would hide the small ones.
void check_rows(const std::vector<float>& found,
                const std::vector<float>& expected,
                std::size_t rows,
                double tolerance) {
    for (std::size_t begin = 0; begin < found.size(); begin += rows) {
        check_near({found.data() + begin, rows}, {expected.data() + begin, rows}, tolerance);
    }
}

TEST_CASE("half weights keep the accuracy of floats and the bits of a token", "[cuda][project]") {
    std::mt19937 random(seed_of(45));
    for (const compute::Dtype dtype : {compute::Dtype::f16, compute::Dtype::bf16}) {
        for (const auto& [rows, columns] :
             {std::pair{150, 64}, {17, 32}, {16, 288}, {129, 672}, {7, 1056}}) {
            INFO(compute::traits(dtype).name << ", " << rows << " x " << columns);
            const TestWeight weight(dtype, {rows, columns}, random);
            auto x = random_values(static_cast<std::size_t>(kTokensMax * columns), random);
            // Tokens of very different sizes, and one large value among small ones.
            for (std::size_t i = 0; i < x.size(); ++i) {
                const auto token = static_cast<int>(i) / columns;
                x[i] = std::ldexp(x[i], token % 5 * 30 - 60);
                if (i % 97 == 0) x[i] *= 1000.0F;
            }
            const auto expected = products(x, weight.values(), static_cast<std::size_t>(columns));
            std::vector<float> all;
            for (const int tokens : {41, 1, 2, 8, 9, 33}) {
                INFO(tokens << " tokens");
                const auto found = project(weight, rows, x, columns, tokens);
                if (all.empty()) {
                    all = found;
                    check_rows(all, expected, static_cast<std::size_t>(rows), 2e-6);
                }
                CHECK(is_same(found, first_rows(all, found.size())));
            }
        }
    }
}

TEST_CASE("what is no number spoils its own token only", "[cuda][project]") {
    std::mt19937 random(seed_of(47));
    constexpr std::int64_t kColumns = 96;
    constexpr std::int64_t kRows = 33;
    for (const compute::Dtype dtype : {compute::Dtype::f16, compute::Dtype::bf16}) {
        const TestWeight weight(dtype, {kRows, kColumns}, random);
        auto x = random_values(12 * kColumns, random);
        x[3 * kColumns + 40] = std::nanf("");
        x[4 * kColumns + 95] = INFINITY;
        std::fill_n(x.begin() + 5 * kColumns, kColumns, 0.0F);
        for (const int tokens : {12, 6}) {
            const auto found = project(weight, kRows, x, kColumns, tokens);
            for (std::size_t i = 0; i < found.size(); ++i) {
                const std::size_t token = i / kRows;
                CAPTURE(token, found[i]);
                REQUIRE(std::isfinite(found[i]) == (token != 3 && token != 4));
                if (token == 5) REQUIRE(found[i] == 0.0F);
            }
        }
    }
}

}  // namespace
}  // namespace hearth::cuda::test

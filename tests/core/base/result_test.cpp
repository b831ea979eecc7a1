#include "core/base/result.h"

#include <memory>

#include <catch2/catch.hpp>

namespace hearth {
namespace {

Result<int> parse_positive(int value) {
    if (value <= 0) return fail(ErrorCode::invalid_argument, "not positive", "test");
    return value;
}

Result<int> sum_of_positives(int a, int b) {
    HEARTH_TRY(const int first, parse_positive(a));
    HEARTH_TRY(const int second, parse_positive(b));
    return first + second;
}

Result<void> check_positive(int value) {
    HEARTH_CHECK(parse_positive(value));
    return {};
}

TEST_CASE("a result holds a value or an error", "[base][result]") {
    CHECK(*parse_positive(3) == 3);
    CHECK_FALSE(parse_positive(0));
    CHECK(parse_positive(0).error().text == "not positive");
}

TEST_CASE("the try macro hands an error to the caller and a value to the next line",
          "[base][result]") {
    CHECK(*sum_of_positives(1, 2) == 3);
    CHECK(sum_of_positives(1, -2).error().code == ErrorCode::invalid_argument);
    CHECK(check_positive(1));
    CHECK_FALSE(check_positive(-1));
}

TEST_CASE("a result moves what cannot be copied", "[base][result]") {
    Result<std::unique_ptr<int>> owner = std::make_unique<int>(7);
    const std::unique_ptr<int> taken = std::move(owner).value();
    CHECK(*taken == 7);
}

}  // namespace
}  // namespace hearth

#include "core/cli/bench.h"

#include <catch2/catch.hpp>

namespace hearth::cli {
namespace {

TEST_CASE("a summary is the median with the extremes", "[cli][bench]") {
    const Rate odd = summarise({3.0, 1.0, 9.0});
    CHECK(odd.median == 3.0);
    CHECK(odd.min == 1.0);
    CHECK(odd.max == 9.0);
    CHECK(summarise({4.0, 1.0, 3.0, 2.0}).median == 2.5);
    CHECK(summarise({}).median == 0.0);
}

}  // namespace
}  // namespace hearth::cli

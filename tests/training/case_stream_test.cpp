#include "training/evaluation/case_stream.h"

#include <sstream>

#include <catch2/catch.hpp>

namespace {

using namespace hearth;
using namespace hearth::evaluation;

TEST_CASE("a case is its counts and its parts", "[training][case_stream]") {
    std::istringstream stream("3 0 2\na\nb\n\n1 1 1\nxyz1 1 1 1\nabcd");
    auto parts = read_case(stream, {3, 4});
    REQUIRE(parts);
    CHECK(**parts == CaseParts{"a\nb", "", "\n\n"});
    parts = read_case(stream, {3, 4});
    REQUIRE(parts);
    CHECK(**parts == CaseParts{"x", "y", "z"});
    parts = read_case(stream, {3, 4});
    REQUIRE(parts);
    CHECK(**parts == CaseParts{"a", "b", "c", "d"});
    parts = read_case(stream, {3, 4});
    REQUIRE(parts);
    CHECK_FALSE(parts->has_value());
}

TEST_CASE("a case that is cut or of another kind is refused", "[training][case_stream]") {
    for (const char* text : {"2 2\nab",
                             "2\nab",
                             "1 1 1\nabc",
                             "1 x\nab",
                             "1 1 x\nab",
                             "1 -1\nab",
                             "1 2000000\na",
                             "\n"}) {
        INFO(text);
        std::istringstream stream(text);
        const auto parts = read_case(stream, {2, 2});
        REQUIRE_FALSE(parts);
        CHECK(parts.error().code == ErrorCode::corrupt);
    }
}

TEST_CASE("an answer ends with the sizes of its texts", "[training][case_stream]") {
    std::ostringstream stream;
    write_answer(stream, "none 0.5", {"ab", "", "c\n"});
    CHECK(stream.str() == "none 0.5 2 0 2\nabc\n");
}

}  // namespace

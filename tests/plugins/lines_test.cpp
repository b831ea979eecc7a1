#include "plugins/sdk/lines.h"

#include <catch2/catch.hpp>

namespace hearth::sdk {
namespace {

TEST_CASE("lines know their bytes, whatever ends them", "[plugins][lines]") {
    const Lines lines("one\r\ntwo\n\nfour\r");
    REQUIRE(lines.count() == 4);
    CHECK(lines[0] == "one");
    CHECK(lines[1] == "two");
    CHECK(lines[2].empty());
    CHECK(lines[3] == "four\r");  // not a line end: nothing follows
    CHECK(lines.range(1).begin_byte == 5);
    CHECK(lines.range(1).end_byte == 8);
    CHECK(lines.slice(0, 2) == "one\r\ntwo\n");
    CHECK(lines.slice(2, 100) == "\nfour\r");
    CHECK(lines.slice(4, 5).empty());
}

TEST_CASE("a byte is on the line that it stands in", "[plugins][lines]") {
    const Lines lines("ab\nc\n");
    const std::size_t expected[] = {0, 0, 0, 1, 1, 2};
    for (std::size_t byte = 0; byte < std::size(expected); ++byte) {
        CHECK(lines.line_at(byte) == expected[byte]);
    }
    CHECK(Lines("").count() == 1);
    CHECK(Lines("").line_at(0) == 0);
    CHECK(Lines("")[0].empty());
}

}  // namespace
}  // namespace hearth::sdk

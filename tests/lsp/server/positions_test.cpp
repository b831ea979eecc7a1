#include "lsp/server/positions.h"

#include <string>

#include <catch2/catch.hpp>

namespace hearth::lsp {
namespace {

constexpr PositionEncoding kAll[] = {
    PositionEncoding::utf8, PositionEncoding::utf16, PositionEncoding::utf32};

TEST_CASE("a character beyond the basic plane counts as its encoding counts it",
          "[lsp][positions]") {
    // a, ä (2 bytes), 汉 (3 bytes), 😀 (4 bytes, 2 units of UTF-16), b
    const std::string text = "x\naä汉😀b\n";
    const std::uint64_t b = text.find('b');
    CHECK(to_position(text, b, PositionEncoding::utf8) == Position{1, 10});
    CHECK(to_position(text, b, PositionEncoding::utf16) == Position{1, 5});
    CHECK(to_position(text, b, PositionEncoding::utf32) == Position{1, 4});
    CHECK(to_byte(text, {1, 10}, PositionEncoding::utf8) == b);
    CHECK(to_byte(text, {1, 5}, PositionEncoding::utf16) == b);
    CHECK(to_byte(text, {1, 4}, PositionEncoding::utf32) == b);
}

TEST_CASE("a place inside a character is the begin of that character", "[lsp][positions]") {
    const std::string text = "😀b";
    CHECK(to_byte(text, {0, 1}, PositionEncoding::utf16) == 0);
    CHECK(to_byte(text, {0, 2}, PositionEncoding::utf8) == 0);
    CHECK(to_position(text, 2, PositionEncoding::utf16) == Position{0, 0});
}

TEST_CASE("places past a line or the text are its end", "[lsp][positions]") {
    const std::string text = "ab\r\ncd";
    for (const PositionEncoding encoding : kAll) {
        CHECK(to_byte(text, {0, 99}, encoding) == 2);
        CHECK(to_byte(text, {1, 99}, encoding) == 6);
        CHECK(to_byte(text, {9, 0}, encoding) == 6);
        CHECK(to_position(text, 99, encoding) == Position{1, 2});
        CHECK(to_byte("", {0, 0}, encoding) == 0);
    }
}

TEST_CASE("every line end is known, alone and mixed", "[lsp][positions]") {
    const std::string text = "a\nb\r\nc\rd\n";
    for (const PositionEncoding encoding : kAll) {
        CHECK(to_byte(text, {1, 0}, encoding) == 2);
        CHECK(to_byte(text, {2, 0}, encoding) == 5);
        CHECK(to_byte(text, {3, 0}, encoding) == 7);
        CHECK(to_byte(text, {4, 0}, encoding) == 9);
        for (const std::uint64_t byte : {0U, 2U, 5U, 7U, 9U}) {
            CHECK(to_byte(text, to_position(text, byte, encoding), encoding) == byte);
        }
    }
    CHECK(find_line(text, 5).begin_byte == 5);
    CHECK(find_line(text, 5).end_byte == 6);
    CHECK(find_line(text, 9).begin_byte == 9);
}

TEST_CASE("broken bytes count one by one and never trap a position", "[lsp][positions]") {
    const std::string text = "a\xFF\xC3(\xE2\x82z\nq";
    for (const PositionEncoding encoding : kAll) {
        for (std::uint64_t byte = 0; byte <= text.size(); ++byte) {
            CHECK(to_byte(text, to_position(text, byte, encoding), encoding) <= byte);
        }
        CHECK(to_byte(text, {1, 0}, encoding) == text.size() - 1);
    }
}

}  // namespace
}  // namespace hearth::lsp

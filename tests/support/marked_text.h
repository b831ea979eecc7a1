// A text with a marked cursor, "int a = ^;", or a marked selection, "int <a> = 1;".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::test {

struct MarkedText {
    std::string text;
    std::uint64_t cursor_byte = 0;  ///< also the selection's begin
    std::uint64_t end_byte = 0;
};

/// `open` and `close` are marks of one byte that stand once each; equal ones mark a cursor.
inline MarkedText marked(std::string_view source, char open = '^', char close = '^') {
    MarkedText result;
    const std::size_t begin = source.find(open);
    result.text = std::string(source.substr(0, begin));
    result.cursor_byte = begin;
    std::string_view rest = source.substr(begin + 1);
    result.end_byte = begin;
    if (open != close) {
        const std::size_t length = rest.find(close);
        result.text += rest.substr(0, length);
        result.end_byte = begin + length;
        rest = rest.substr(length + 1);
    }
    result.text += rest;
    return result;
}

}  // namespace hearth::test

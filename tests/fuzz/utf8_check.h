// Whether text is UTF-8, written from the table of the standard and from nothing of hearth's: what
// the targets hold the tokenizer against.
#pragma once

#include <cstddef>
#include <string_view>

namespace hearth::fuzz {

/// Source: the Unicode standard, table 3-7 (well-formed byte sequences).
inline bool is_utf8(std::string_view text) {
    const auto in = [&](std::size_t at, int low, int high) {
        if (at >= text.size()) return false;
        const int byte = static_cast<unsigned char>(text[at]);
        return byte >= low && byte <= high;
    };
    const auto follows = [&](std::size_t at) { return in(at, 0x80, 0xBF); };
    for (std::size_t i = 0; i < text.size();) {
        if (in(i, 0x00, 0x7F)) {
            i += 1;
        } else if (in(i, 0xC2, 0xDF) && follows(i + 1)) {
            i += 2;
        } else if (((in(i, 0xE0, 0xE0) && in(i + 1, 0xA0, 0xBF)) ||
                    (in(i, 0xE1, 0xEC) && follows(i + 1)) ||
                    (in(i, 0xED, 0xED) && in(i + 1, 0x80, 0x9F)) ||
                    (in(i, 0xEE, 0xEF) && follows(i + 1))) &&
                   follows(i + 2)) {
            i += 3;
        } else if (((in(i, 0xF0, 0xF0) && in(i + 1, 0x90, 0xBF)) ||
                    (in(i, 0xF1, 0xF3) && follows(i + 1)) ||
                    (in(i, 0xF4, 0xF4) && in(i + 1, 0x80, 0x8F))) &&
                   follows(i + 2) && follows(i + 3)) {
            i += 4;
        } else {
            return false;
        }
    }
    return true;
}

}  // namespace hearth::fuzz

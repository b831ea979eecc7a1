// Small questions about lines of text that the gates ask. Blank means space, tab, \r or \n.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::assist {

inline constexpr std::string_view kBlanks = " \t\r\n";

inline bool is_blank(char c) {
    return kBlanks.find(c) != std::string_view::npos;
}

inline bool is_blank(std::string_view text) {
    return text.find_first_not_of(kBlanks) == std::string_view::npos;
}

/// Of a word of code: a letter of ASCII, a digit, `_`, or a byte of a character beyond ASCII.
inline bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0;
}

inline std::string_view trim_left(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    return text;
}

inline std::string_view trim_right(std::string_view text) {
    return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

inline std::string_view trim(std::string_view text) {
    return trim_left(trim_right(text));
}

/// The spaces and tabs at the head of a line.
inline std::string_view indentation(std::string_view line) {
    return line.substr(0, std::min(line.find_first_not_of(" \t"), line.size()));
}

/// In columns; a tab goes to the next multiple of four.
inline std::int32_t indentation_width(std::string_view line) {
    std::int32_t width = 0;
    for (const char c : indentation(line)) {
        width = c == '\t' ? (width / 4 + 1) * 4 : width + 1;
    }
    return width;
}

/// What follows the last line end.
inline std::string_view last_line(std::string_view text) {
    return text.substr(text.rfind('\n') + 1);  // npos + 1 is 0
}

/// Takes the first line, without its end, off `rest`.
inline std::string_view take_line(std::string_view& rest) {
    const std::size_t newline = rest.find('\n');
    const std::string_view line = rest.substr(0, newline);
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
    return line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
}

/// Whether the line at `at` ends with \r\n, or the one before it where this one has no end.
inline bool has_carriage_returns(std::string_view text, std::uint64_t at) {
    std::size_t newline = text.find('\n', at);
    if (newline == std::string_view::npos) newline = text.rfind('\n');
    return newline != std::string_view::npos && newline > 0 && text[newline - 1] == '\r';
}

/// Every line end as \r\n.
inline std::string with_carriage_returns(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) out += '\r';
        out += text[i];
    }
    return out;
}

/// Equal but for blank space at the ends of lines and after the last one.
inline bool same_lines(std::string_view a, std::string_view b) {
    a = trim_right(a);
    b = trim_right(b);
    while (!a.empty() && !b.empty()) {
        if (trim_right(take_line(a)) != trim_right(take_line(b))) return false;
    }
    return a.empty() && b.empty();
}

}  // namespace hearth::assist

#include "lsp/server/positions.h"

#include <algorithm>

namespace hearth::lsp {
namespace {

/// Bytes of the character at `at`, at least 1: broken sequences count byte by byte.
std::size_t character_bytes(std::string_view text, std::size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 1
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 1;
    if (at + length > text.size()) return 1;
    for (std::size_t i = 1; i < length; ++i) {
        if ((static_cast<unsigned char>(text[at + i]) & 0xC0U) != 0x80U) return 1;
    }
    return length;
}

std::uint32_t units_of(std::size_t bytes, PositionEncoding encoding) {
    switch (encoding) {
        case PositionEncoding::utf8:
            return static_cast<std::uint32_t>(bytes);
        case PositionEncoding::utf16:
            return bytes == 4 ? 2 : 1;
        case PositionEncoding::utf32:
            return 1;
    }
    return 1;
}

bool is_line_end(char c) {
    return c == '\n' || c == '\r';
}

/// The byte after the line end at `at`.
std::size_t skip_line_end(std::string_view text, std::size_t at) {
    if (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n') return at + 2;
    return at + 1;
}

std::size_t find_line_end(std::string_view text, std::size_t at) {
    return std::min(text.find_first_of("\r\n", at), text.size());
}

}  // namespace

std::string_view to_string(PositionEncoding encoding) {
    switch (encoding) {
        case PositionEncoding::utf8:
            return "utf-8";
        case PositionEncoding::utf16:
            return "utf-16";
        case PositionEncoding::utf32:
            return "utf-32";
    }
    return "utf-16";
}

std::optional<PositionEncoding> parse_position_encoding(std::string_view name) {
    for (const PositionEncoding encoding :
         {PositionEncoding::utf8, PositionEncoding::utf16, PositionEncoding::utf32}) {
        if (to_string(encoding) == name) return encoding;
    }
    return std::nullopt;
}

std::uint64_t to_byte(std::string_view text, const Position& position, PositionEncoding encoding) {
    std::size_t at = 0;
    for (std::uint32_t line = 0; line < position.line; ++line) {
        const std::size_t end = find_line_end(text, at);
        if (end == text.size()) return text.size();
        at = skip_line_end(text, end);
    }
    std::uint32_t units = 0;
    while (at < text.size() && !is_line_end(text[at])) {
        const std::size_t bytes = character_bytes(text, at);
        units += units_of(bytes, encoding);
        if (units > position.character) break;
        at += bytes;
    }
    return at;
}

Position to_position(std::string_view text, std::uint64_t byte, PositionEncoding encoding) {
    const std::size_t target = std::min<std::size_t>(byte, text.size());
    Position position;
    std::size_t at = 0;
    while (true) {
        const std::size_t end = find_line_end(text, at);
        if (end == text.size() || skip_line_end(text, end) > target) break;
        at = skip_line_end(text, end);
        ++position.line;
    }
    while (at < target && !is_line_end(text[at])) {
        const std::size_t bytes = character_bytes(text, at);
        if (at + bytes > target) break;
        position.character += units_of(bytes, encoding);
        at += bytes;
    }
    return position;
}

LineBounds find_line(std::string_view text, std::uint64_t byte) {
    const std::size_t at = std::min<std::size_t>(byte, text.size());
    const std::size_t before = at == 0 ? std::string_view::npos : text.find_last_of("\r\n", at - 1);
    return LineBounds{before == std::string_view::npos ? 0 : before + 1, find_line_end(text, at)};
}

}  // namespace hearth::lsp

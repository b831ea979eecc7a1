// LSP positions <-> byte offsets. The only place in hearth that knows UTF-16.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

enum class PositionEncoding { utf8, utf16, utf32 };

/// "utf-8", "utf-16", "utf-32".
std::string_view to_string(PositionEncoding encoding);
std::optional<PositionEncoding> parse_position_encoding(std::string_view name);

/// The byte of `text` at a position. As LSP asks, a character past the end of its line is the end
/// of that line, a line past the end is the end of the text; a place inside a character is the
/// begin of that character. Lines end with \n, \r\n or \r.
std::uint64_t to_byte(std::string_view text, const Position& position, PositionEncoding encoding);

/// The reverse; `byte` past the end is the end.
Position to_position(std::string_view text, std::uint64_t byte, PositionEncoding encoding);

/// Bytes of the text's line ends and begins around `byte`: [begin, end) without the line end.
struct LineBounds {
    std::uint64_t begin_byte = 0;
    std::uint64_t end_byte = 0;
};
LineBounds find_line(std::string_view text, std::uint64_t byte);

}  // namespace hearth::lsp

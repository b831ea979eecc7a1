#include "core/tokenizer/byte_text.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/tokenizer/utf8.h"

namespace hearth::tokenizer {
namespace {

constexpr std::uint32_t kFirstShifted = 0x100;
constexpr std::size_t kShiftedCount = 68;

struct Table {
    std::array<std::uint16_t, 256> character_of{};
    std::array<std::int16_t, kFirstShifted + kShiftedCount> byte_of{};
};

constexpr Table kTable = [] {
    Table table;
    table.byte_of.fill(-1);
    std::uint32_t shifted = kFirstShifted;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        const bool is_printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        const std::uint32_t character = is_printable ? byte : shifted++;
        table.character_of[byte] = static_cast<std::uint16_t>(character);
        table.byte_of[character] = static_cast<std::int16_t>(byte);
    }
    return table;
}();

}  // namespace

std::string to_byte_text(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        const unsigned character = kTable.character_of[static_cast<std::uint8_t>(byte)];
        if (character < 0x80) {
            text += static_cast<char>(character);
        } else {
            text += static_cast<char>(0xC0U | character >> 6);
            text += static_cast<char>(0x80U | (character & 0x3FU));
        }
    }
    return text;
}

std::string from_byte_text(std::string_view text) {
    std::string bytes;
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Character next = first_character(text.substr(at));
        const int byte = next.code < kTable.byte_of.size() ? kTable.byte_of[next.code] : -1;
        if (byte < 0) return std::string(text);
        bytes += static_cast<char>(byte);
        at += next.size_bytes;
    }
    return bytes;
}

}  // namespace hearth::tokenizer

#include "training/tokenizer/pre_tokenizer.h"

#include <array>

namespace hearth::training {
namespace {

enum class Kind { letter, number, line_end, space, other, end };

struct Letter {
    Kind kind = Kind::end;
    std::size_t bytes = 0;
};

bool is_between(unsigned code, unsigned low, unsigned high) {
    return code >= low && code <= high;
}

Kind kind_of(unsigned code) {
    if (code == '\r' || code == '\n') return Kind::line_end;
    if (code == ' ' || is_between(code, 9, 12) || code == 0x85 || code == 0xA0 || code == 0x3000 ||
        is_between(code, 0x2000, 0x200A) || code == 0x2028 || code == 0x2029) {
        return Kind::space;
    }
    if (is_between(code, '0', '9')) return Kind::number;
    const bool is_letter = is_between(code | 0x20U, 'a', 'z') || code == 0xAA || code == 0xB5 ||
                           code == 0xBA ||
                           (is_between(code, 0xC0, 0x2AF) && code != 0xD7 && code != 0xF7) ||
                           is_between(code, 0x370, 0x1FFF) || is_between(code, 0x3041, 0x9FFF) ||
                           is_between(code, 0xAC00, 0xD7A3);
    return is_letter ? Kind::letter : Kind::other;
}

Letter letter_at(std::string_view text, std::size_t position) {
    if (position >= text.size()) return {};
    const unsigned lead = static_cast<unsigned char>(text[position]);
    const std::size_t bytes = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (bytes == 1) return {kind_of(lead < 0x80 ? lead : 0xFFFFFU), 1};
    unsigned code = lead & (0xFFU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) {
        if (position + i >= text.size()) return {Kind::other, 1};
        code = (code << 6U) | (static_cast<unsigned char>(text[position + i]) & 0x3FU);
    }
    return {kind_of(code), bytes};
}

std::size_t skip(std::string_view text, std::size_t position, Kind first, Kind second) {
    Letter letter = letter_at(text, position);
    while (letter.kind == first || letter.kind == second) {
        position += letter.bytes;
        letter = letter_at(text, position);
    }
    return position;
}

std::size_t contraction_bytes(std::string_view text) {
    if (text.size() < 2 || text[0] != '\'') return 0;
    const char first = static_cast<char>(text[1] | 0x20);
    const char second = text.size() > 2 ? static_cast<char>(text[2] | 0x20) : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const bool is_pair = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                         (first == 'l' && second == 'l');
    return is_pair ? 3 : 0;
}

std::size_t blank_bytes(std::string_view text) {
    std::size_t after_last_line_end = 0;
    std::size_t before_last = 0;
    std::size_t position = 0;
    Letter letter = letter_at(text, 0);
    while (letter.kind == Kind::space || letter.kind == Kind::line_end) {
        before_last = position;
        position += letter.bytes;
        if (letter.kind == Kind::line_end) after_last_line_end = position;
        letter = letter_at(text, position);
    }
    if (after_last_line_end > 0) return after_last_line_end;
    // The last blank before a word belongs to the word, unless it is the only one.
    return letter.kind == Kind::end || before_last == 0 ? position : before_last;
}

}  // namespace

std::size_t pre_token_bytes(std::string_view text) {
    if (const std::size_t bytes = contraction_bytes(text); bytes > 0) return bytes;
    const Letter first = letter_at(text, 0);
    if (first.kind == Kind::letter) return skip(text, 0, Kind::letter, Kind::letter);
    if (first.kind == Kind::number) return first.bytes;
    const Letter second = letter_at(text, first.bytes);
    if (first.kind != Kind::line_end && second.kind == Kind::letter) {
        return skip(text, first.bytes, Kind::letter, Kind::letter);
    }
    if (first.kind == Kind::other || (text[0] == ' ' && second.kind == Kind::other)) {
        const std::size_t symbols_end = skip(text, first.bytes, Kind::other, Kind::other);
        return skip(text, symbols_end, Kind::line_end, Kind::line_end);
    }
    return blank_bytes(text);
}

}  // namespace hearth::training

// One UTF-8 character at the start of some bytes, broken ones included. Private to core/tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth::tokenizer {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  ///< U+FFFD

struct Utf8Character {
    enum class State {
        whole,
        broken,      ///< `size_bytes` bytes that no byte after them could make a character
        unfinished,  ///< all of the bytes, which more bytes could make a character
    };
    std::uint32_t code;  ///< U+FFFD unless whole
    std::size_t size_bytes;
    State state;
};

/// `bytes` is not empty. A broken part is as long as it can be while still being the start of some
/// character, as the Unicode standard (3.9, "maximal subpart") and browsers cut it.
inline Utf8Character first_character(std::string_view bytes) {
    constexpr std::uint32_t kBroken = 0xFFFD;
    using State = Utf8Character::State;
    const auto lead = static_cast<std::uint8_t>(bytes[0]);
    if (lead < 0x80) return {lead, 1, State::whole};
    if (lead < 0xC2 || lead > 0xF4) return {kBroken, 1, State::broken};
    const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    // The second byte is narrower where it would be too long a form, a surrogate or past the end.
    int low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    int high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    std::uint32_t code = lead & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if (i == bytes.size()) return {kBroken, i, State::unfinished};
        const auto byte = static_cast<std::uint8_t>(bytes[i]);
        if (byte < low || byte > high) return {kBroken, i, State::broken};
        code = code << 6 | (byte & 0x3FU);
        low = 0x80;
        high = 0xBF;
    }
    return {code, size, State::whole};
}

}  // namespace hearth::tokenizer

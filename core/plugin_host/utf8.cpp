#include "core/plugin_host/utf8.h"

#include <cstddef>

namespace hearth::plugin_host {

bool is_utf8(std::string_view text) {
    std::size_t i = 0;
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    while (i < text.size()) {
        const unsigned char lead = byte(i++);
        if (lead < 0x80) continue;
        if (lead < 0xC2 || lead > 0xF4) return false;
        const std::size_t more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
        if (text.size() - i < more) return false;
        // The second byte excludes long forms, surrogates and what is above U+10FFFF.
        const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (byte(i) < low || byte(i) > high) return false;
        for (std::size_t k = 1; k < more; ++k) {
            if ((byte(i + k) & 0xC0) != 0x80) return false;
        }
        i += more;
    }
    return true;
}

}  // namespace hearth::plugin_host

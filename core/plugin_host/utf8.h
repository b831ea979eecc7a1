// Whether bytes from a plugin are text.
#pragma once

#include <string_view>

namespace hearth::plugin_host {

/// Well-formed UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF.
///
/// Source: The Unicode Standard 15.0, table 3-7.
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace hearth::plugin_host

// Names of a GGUF file: how they are found and shown. Private to core/formats.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/compute/tensor.h"
#include "core/formats/gguf.h"

namespace hearth::formats {

/// A key or name in a message: in quotes, shortened, nothing that a terminal would obey.
inline std::string quoted(std::string_view name) {
    constexpr std::size_t kShownMax = 80;
    std::string text = "'";
    for (const char c : name.substr(0, kShownMax)) {
        text += c >= ' ' && c <= '~' ? c : '?';
    }
    return text + (name.size() > kShownMax ? "...'" : "'");
}

/// What the lookup tables of a file are sorted by.
inline constexpr auto kKeyOf = [](const GgufFile::Entry& entry) -> std::string_view {
    return entry.key;
};
inline constexpr auto kNameOf = [](const compute::Tensor& tensor) -> std::string_view {
    return tensor.name;
};

}  // namespace hearth::formats

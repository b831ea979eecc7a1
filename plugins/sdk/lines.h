// A text seen as lines, for plugins that choose which ones to hand over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "plugins/sdk/hearth_sdk.h"

namespace hearth::sdk {

inline bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

/// Part of an identifier; every byte of a character beyond ASCII counts as one.
constexpr bool is_word_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}

/// Lines from 0; a text that ends with a line end has an empty last one, as editors show it.
/// Borrows.
class Lines {
  public:
    explicit Lines(std::string_view text) : text_(text) {
        for (std::size_t end = text.find('\n'); end != std::string_view::npos;
             end = text.find('\n', end + 1)) {
            begins_.push_back(end + 1);
        }
    }

    [[nodiscard]] std::size_t count() const { return begins_.size(); }
    /// The line that holds the byte; the end of the text is on the last line.
    [[nodiscard]] std::size_t line_at(std::uint64_t byte) const {
        const auto after = std::ranges::upper_bound(begins_, byte);
        return static_cast<std::size_t>(after - begins_.begin()) - 1;
    }
    /// Without the line end.
    [[nodiscard]] Range range(std::size_t line) const {
        std::size_t end = line + 1 < count() ? begins_[line + 1] - 1 : text_.size();
        if (end > begins_[line] && line + 1 < count() && text_[end - 1] == '\r') --end;
        return {begins_[line], end};
    }
    [[nodiscard]] std::string_view operator[](std::size_t line) const {
        const Range bytes = range(line);
        return text_.substr(bytes.begin_byte, bytes.end_byte - bytes.begin_byte);
    }
    /// Lines first to last-1 with their line ends.
    [[nodiscard]] std::string_view slice(std::size_t first, std::size_t last) const {
        const std::size_t begin = first < count() ? begins_[first] : text_.size();
        const std::size_t end = last < count() ? begins_[last] : text_.size();
        return text_.substr(begin, end - begin);
    }

  private:
    std::string_view text_;
    std::vector<std::uint64_t> begins_ = {0};
};

}  // namespace hearth::sdk

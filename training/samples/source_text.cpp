#include "training/samples/source_text.h"

#include <algorithm>
#include <array>

namespace hearth::training {

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\n") + 1 - begin);
}

std::size_t indentation(std::string_view line) {
    return std::min(line.find_first_not_of(" \t"), line.size());
}

bool is_code_language(std::string_view language) {
    static constexpr std::array<std::string_view, 8> kLanguages = {
        "c", "cpp", "go", "java", "javascript", "python", "rust", "typescript"};
    return std::ranges::binary_search(kLanguages, language);
}

std::size_t to_character_start(std::string_view text, std::size_t position) {
    while (position < text.size() &&
           (static_cast<unsigned char>(text[position]) & 0xC0U) == 0x80U) {
        ++position;
    }
    return std::min(position, text.size());
}

}  // namespace hearth::training

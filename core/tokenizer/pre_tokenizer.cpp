#include "core/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "core/tokenizer/unicode_classes.h"
#include "core/tokenizer/utf8.h"

namespace hearth::tokenizer {
namespace {

constexpr CharacterClass find_class(std::uint32_t code) {
    const auto* const after =
        std::upper_bound(std::begin(kClassRuns), std::end(kClassRuns), code << 3 | 7U);
    return static_cast<CharacterClass>(*(after - 1) & 7U);
}

constexpr auto kAsciiClasses = [] {
    std::array<CharacterClass, 128> classes{};
    for (std::uint32_t code = 0; code < 128; ++code) {
        classes[code] = find_class(code);
    }
    return classes;
}();

/// A character in its place; `size_bytes` is 0 behind the end of the text.
struct Character {
    std::uint32_t code = 0;
    std::size_t size_bytes = 0;
    CharacterClass kind = CharacterClass::other;

    [[nodiscard]] bool is_end() const { return size_bytes == 0; }
    [[nodiscard]] bool is_newline() const { return code == '\r' || code == '\n'; }
    [[nodiscard]] bool is_space() const { return kind == CharacterClass::space; }
    [[nodiscard]] bool is_letter() const { return kind == CharacterClass::letter; }
    [[nodiscard]] bool is_number() const { return kind == CharacterClass::number; }
    [[nodiscard]] bool is_punctuation() const { return kind == CharacterClass::punctuation; }
    /// [^\s\p{L}\p{N}]
    [[nodiscard]] bool is_symbol() const {
        return !is_end() && !is_space() && !is_letter() && !is_number();
    }
    /// [一-龥ࠀ-一가-퟿]
    [[nodiscard]] bool is_east_asian() const {
        return (code >= 0x0800 && code <= 0x9FA5) || (code >= 0xAC00 && code <= 0xD7FF);
    }
};

Character character_at(std::string_view text, std::size_t at) {
    if (at >= text.size()) return {};
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte < 0x80) return {byte, 1, kAsciiClasses[byte]};
    const Utf8Character found = first_character(text.substr(at));
    return {found.code, found.size_bytes, find_class(found.code)};
}

/// The end of the run of characters from `at` that fulfil `is_member`.
template <typename Predicate>
std::size_t run_end(std::string_view text, std::size_t at, Predicate is_member) {
    for (;;) {
        const Character next = character_at(text, at);
        if (next.is_end() || !is_member(next)) return at;
        at += next.size_bytes;
    }
}

// For run_end.
constexpr auto kIsLetter = [](const Character& c) { return c.is_letter(); };
constexpr auto kIsNumber = [](const Character& c) { return c.is_number(); };
constexpr auto kIsPunctuation = [](const Character& c) { return c.is_punctuation(); };
constexpr auto kIsSymbol = [](const Character& c) { return c.is_symbol(); };
constexpr auto kIsNewline = [](const Character& c) { return c.is_newline(); };
constexpr auto kIsEastAsian = [](const Character& c) { return c.is_east_asian(); };

/// The end of 's|'t|'re|'ve|'m|'ll|'d at `at`, or `at`.
std::size_t contraction_end(std::string_view text, std::size_t at, bool ignores_case) {
    if (text[at] != '\'') return at;
    std::array<char, 2> next{};
    for (std::size_t i = 0; i < 2 && at + 1 + i < text.size(); ++i) {
        const char c = text[at + 1 + i];
        next[i] = ignores_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    switch (next[0]) {
        case 's':
        case 't':
        case 'm':
        case 'd':
            return at + 2;
        case 'r':
        case 'v':
            return next[1] == 'e' ? at + 3 : at;
        case 'l':
            return next[1] == 'l' ? at + 3 : at;
        case '\xC5':  // U+017F, the long s: the only other character that folds to one of these
            return ignores_case && next[1] == '\xBF' ? at + 3 : at;
        default:
            return at;
    }
}

/// \s+(?!\S)|\s+ from a space at `at`: the last space before a word is left to the word.
std::size_t spaces_end(std::string_view text, std::size_t at) {
    std::size_t last = at;
    std::size_t end = at;
    for (;;) {
        const Character next = character_at(text, end);
        if (next.is_end()) return end;
        if (!next.is_space()) return last == at ? end : last;
        last = end;
        end += next.size_bytes;
    }
}

std::size_t gpt2_end(std::string_view text, std::size_t at) {
    if (const std::size_t end = contraction_end(text, at, false); end != at) return end;
    const std::size_t start = text[at] == ' ' ? at + 1 : at;
    const Character first = character_at(text, start);
    if (first.is_letter()) return run_end(text, start, kIsLetter);
    if (first.is_number()) return run_end(text, start, kIsNumber);
    if (first.is_symbol()) return run_end(text, start, kIsSymbol);
    return spaces_end(text, at);
}

std::size_t qwen2_end(std::string_view text, std::size_t at) {
    if (const std::size_t end = contraction_end(text, at, true); end != at) return end;
    const Character first = character_at(text, at);
    if (first.is_letter()) return run_end(text, at, kIsLetter);
    if (first.is_number()) return at + first.size_bytes;
    const std::size_t second = at + first.size_bytes;
    if (!first.is_newline() && character_at(text, second).is_letter()) {
        return run_end(text, second, kIsLetter);
    }
    const std::size_t start = first.code == ' ' ? second : at;
    if (character_at(text, start).is_symbol()) {
        return run_end(text, run_end(text, start, kIsSymbol), kIsNewline);
    }
    // \s*[\r\n]+: to the last newline of the run of spaces, if it has one.
    std::size_t newline_end = at;
    run_end(text, at, [&, end = at](const Character& c) mutable {
        end += c.size_bytes;
        if (c.is_newline()) newline_end = end;
        return c.is_space();
    });
    return newline_end != at ? newline_end : spaces_end(text, at);
}

template <typename End>
void split_by(std::string_view text, std::vector<std::string_view>& pieces, End end_of) {
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = end_of(text, at);
        pieces.push_back(text.substr(at, end - at));
        at = end;
    }
}

/// Hands on the matches in `text` and what lies between them, in order. `match_end` gives the end
/// of a match that starts at a place, or that place.
template <typename MatchEnd, typename OnMatch, typename OnRest>
void for_each_part(std::string_view text, MatchEnd match_end, OnMatch on_match, OnRest on_rest) {
    std::size_t part = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = match_end(text, at);
        if (end == at) {
            at += character_at(text, at).size_bytes;
            continue;
        }
        if (part != at) on_rest(text.substr(part, at - part));
        on_match(text.substr(at, end - at));
        part = at = end;
    }
    if (part != text.size()) on_rest(text.substr(part));
}

/// The end of \s? and a run of members at `at`, or `at`.
template <typename Predicate>
std::size_t spaced_run_end(std::string_view text, std::size_t at, Predicate is_member) {
    const Character first = character_at(text, at);
    const std::size_t start = first.is_space() ? at + first.size_bytes : at;
    const std::size_t end = run_end(text, start, is_member);
    return end == start ? at : end;
}

void split_deepseek_coder(std::string_view text, std::vector<std::string_view>& pieces) {
    const auto newline = [](std::string_view part, std::size_t at) {
        return part[at] == '\r' || part[at] == '\n' ? at + 1 : at;
    };
    const auto letters = [](std::string_view part, std::size_t at) {
        return spaced_run_end(part, at, kIsLetter);
    };
    const auto punctuation = [](std::string_view part, std::size_t at) {
        return spaced_run_end(part, at, kIsPunctuation);
    };
    const auto east_asian = [](std::string_view part, std::size_t at) {
        return run_end(part, at, kIsEastAsian);
    };
    const auto number = [](std::string_view part, std::size_t at) {
        const Character first = character_at(part, at);
        return first.is_number() ? at + first.size_bytes : at;
    };
    const auto is_ascii = [](std::string_view part) {
        return std::all_of(part.begin(), part.end(), [](char c) { return c >= 0; });
    };
    const auto keep = [&pieces](std::string_view part) { pieces.push_back(part); };
    const auto by_number = [&](std::string_view part) { for_each_part(part, number, keep, keep); };
    const auto by_script = [&](std::string_view part) {
        for_each_part(part, east_asian, by_number, by_number);
    };
    // What matched as letters or punctuation holds no number, and in ASCII nothing East Asian.
    const auto by_script_only = [&](std::string_view part) {
        if (is_ascii(part)) return keep(part);
        for_each_part(part, east_asian, keep, keep);
    };
    const auto by_punctuation = [&](std::string_view part) {
        for_each_part(part, punctuation, by_script_only, by_script);
    };
    const auto by_letters = [&](std::string_view part) {
        for_each_part(part, letters, by_script_only, by_punctuation);
    };
    for_each_part(text, newline, keep, by_letters);
}

}  // namespace

std::optional<PreTokenizer> parse_pre_tokenizer(std::string_view name) {
    // Names of models whose published expressions are those of the kind. "default" is none of
    // them: files use it for splits that differ.
    constexpr std::pair<std::string_view, PreTokenizer> kNames[] = {
        {"gpt-2", PreTokenizer::gpt2},
        {"phi-2", PreTokenizer::gpt2},
        {"mellum", PreTokenizer::gpt2},
        {"qwen2", PreTokenizer::qwen2},
        {"deepseek-r1-qwen", PreTokenizer::qwen2},
        {"deepseek-coder", PreTokenizer::deepseek_coder},
    };
    for (const auto& [known, kind] : kNames) {
        if (known == name) return kind;
    }
    return std::nullopt;
}

void split(std::string_view text, PreTokenizer kind, std::vector<std::string_view>& pieces) {
    pieces.clear();
    switch (kind) {
        case PreTokenizer::gpt2:
            return split_by(text, pieces, gpt2_end);
        case PreTokenizer::qwen2:
            return split_by(text, pieces, qwen2_end);
        case PreTokenizer::deepseek_coder:
            return split_deepseek_coder(text, pieces);
    }
}

}  // namespace hearth::tokenizer

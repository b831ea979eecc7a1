// Checks: what is surely wrong with a line that a model or a copy suggests, whatever its
// probability. Pure functions over text, used for completions, fixes and explanations alike.
#pragma once

#include <cstdint>
#include <string_view>

namespace hearth::assist {

enum class Fault : std::uint8_t {
    none,
    blank,
    joins_words,         ///< it would grow together with the word right of the cursor
    repeats_itself,      ///< "the number of the number of"
    repeats_line_above,  ///< the line would stand there twice
    repeats_line_below,
    unbalanced,   ///< a bracket is closed that is not open, or left open before code that follows
    open_string,  ///< a string does not end with its line
};
inline constexpr std::size_t kFaultCount = 8;

/// As a word for reports: "repeats_itself".
std::string_view to_string(Fault fault);

/// Where a line would stand.
struct LinePlace {
    std::string_view before;      ///< the document's text up to where the line begins or goes on
    std::string_view after;       ///< from there on, the rest of the line included
    std::string_view language;    ///< LSP's id; brackets and strings are checked where it is known
    bool begins_document = true;  ///< false: `before` is a part, and what it opens is not all
};

/// The first fault of `line` (one line, without its end) at its place, in the order of the enum.
/// Looks at a few kilobytes around the place.
Fault find_fault(const LinePlace& place, std::string_view line);

/// Whether `text` says the same twice in a row, with the second time ending behind `from`. Lists
/// (", ,") are given a third turn, and one word alone is: "long long" is C.
bool repeats_itself(std::string_view text, std::size_t from = 0);

/// Whether `text` begins with words to read, not with code: "return 0;" explains nothing.
bool is_prose(std::string_view text);

}  // namespace hearth::assist

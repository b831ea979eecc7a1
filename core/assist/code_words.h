// Words of code: identifiers, keywords, comments and brackets, the same for all languages. No
// parser: rules that are right often enough to make samples and guesses by.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace hearth::assist {

/// Half-open range of bytes.
struct Span {
    std::size_t begin = 0;
    std::size_t end = 0;

    [[nodiscard]] std::size_t size() const { return end - begin; }
};

std::string_view part(std::string_view text, Span span);
/// The lines of `text` without their line ends; no empty line after a final line end.
std::vector<Span> lines_of(std::string_view text);
bool is_comment_line(std::string_view line);
bool is_identifier_letter(char letter);

/// All identifiers that are no numbers, in order, keywords among them.
std::vector<Span> identifiers_of(std::string_view text);
/// The same without those in strings and comments: line by line, by quotes that close in their
/// line.
std::vector<Span> code_identifiers_of(std::string_view text);
/// A word that is no name in at least one language, and rarely one in the others.
bool is_keyword(std::string_view word);

/// The place of the bracket that closes the one at `open`, strings and line comments skipped, if it
/// comes within `bytes_max`.
std::optional<std::size_t> matching_bracket(std::string_view text,
                                            std::size_t open,
                                            std::size_t bytes_max);

}  // namespace hearth::assist

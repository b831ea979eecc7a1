// What the sample makers need to know about source text: lines, comments, identifiers, brackets.
// No parser: rules that are right often enough, the same for all languages.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace hearth::training {

/// Half-open range of bytes.
struct Span {
    std::size_t begin = 0;
    std::size_t end = 0;

    [[nodiscard]] std::size_t size() const { return end - begin; }
};

/// The lines of `text` without their line ends; no empty line after a final line end.
std::vector<Span> lines_of(std::string_view text);

std::string_view part(std::string_view text, Span span);
std::string_view trimmed(std::string_view text);
/// The number of blanks at the start of the line.
std::size_t indentation(std::string_view line);
bool is_comment_line(std::string_view line);
bool is_identifier_letter(char letter);

/// All identifiers that are no numbers, in order, keywords among them.
std::vector<Span> identifiers_of(std::string_view text);
/// The same without those in strings and comments: line by line, by quotes that close in their
/// line.
std::vector<Span> code_identifiers_of(std::string_view text);
bool is_keyword(std::string_view word);
/// One of the eight languages that are held out, evaluated, explained and fixed.
bool is_code_language(std::string_view language);

/// The place of the bracket that closes the one at `open`, strings and line comments skipped, if it
/// comes within `bytes_max`.
std::optional<std::size_t> matching_bracket(std::string_view text,
                                            std::size_t open,
                                            std::size_t bytes_max);

/// `position` or the next one after it where a UTF-8 character starts.
std::size_t to_character_start(std::string_view text, std::size_t position);

}  // namespace hearth::training

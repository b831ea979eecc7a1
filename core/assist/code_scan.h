// CodeScan: where brackets, strings and comments begin and end, in the languages whose basics it
// knows. A scan of lines, not a parser: made to find what is surely wrong, so in doubt it sees
// nothing wrong.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hearth::assist {

/// What a language's text is made of, as far as brackets and quotes go.
struct Syntax {
    std::string_view language;  ///< LSP's id
    std::string_view line_comment;
    bool has_block_comments = false;      ///< /* */
    bool has_apostrophe_strings = false;  ///< else ' is a character, a lifetime, a separator
    bool has_backtick_strings = false;    ///< over several lines
    bool has_triple_quotes = false;       ///< over several lines
    bool has_regular_expressions = false;
    bool has_long_strings = false;  ///< "..." may go over several lines
};

/// Nothing for languages whose basics are not known.
const Syntax* find_syntax(std::string_view language);

class CodeScan {
  public:
    /// `text` begins at the start of a line, in code, and outlives the scan.
    CodeScan(const Syntax& syntax, std::string_view text) : syntax_(syntax), text_(text) {}

    /// Reads on up to `end`; what begins before it (a comment mark, an escape) is read to its end.
    void advance_to(std::size_t end);

    /// Not inside a comment or a string.
    [[nodiscard]] bool is_in_code() const { return closer_.empty(); }
    /// Inside a string that has to end with its line.
    [[nodiscard]] bool is_in_short_string() const {
        return !closer_.empty() && closer_ != "\n" && ends_with_line_;
    }
    /// The brackets that are open, outermost first.
    [[nodiscard]] const std::string& open_brackets() const { return open_; }

    /// Closing brackets so far that found another bracket open, or none.
    struct Strays {
        std::size_t mismatched = 0;
        std::size_t unopened_curly = 0;
        std::size_t unopened_other = 0;

        [[nodiscard]] std::size_t count() const {
            return mismatched + unopened_curly + unopened_other;
        }
    };
    [[nodiscard]] const Strays& strays() const { return strays_; }

  private:
    void read_code();
    void read_until_closer();
    void open_text(std::string_view closer, std::size_t mark_bytes, bool ends_with_line);
    void close_bracket(char closer);
    [[nodiscard]] bool is_character_literal() const;
    [[nodiscard]] bool is_string_mark() const;
    [[nodiscard]] bool is_regular_expression() const;

    const Syntax& syntax_;
    const std::string_view text_;
    std::size_t at_ = 0;
    std::string_view closer_;      ///< of the string or comment that is open; empty in code
    bool ends_with_line_ = false;  ///< the open one
    std::string open_;
    Strays strays_;
};

/// Brackets of `line` alone that lack their other half, strings and comments left out. Unknown
/// languages: as in C.
std::size_t count_unbalanced(std::string_view line, std::string_view language);

}  // namespace hearth::assist

#include "core/assist/code_scan.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

constexpr std::size_t kCharacterLiteralBytesMax = 12;  // '\u{10FFFF}'

constexpr Syntax c_like(std::string_view language) {
    return {.language = language, .line_comment = "//", .has_block_comments = true};
}

constexpr Syntax script_like(std::string_view language) {
    Syntax syntax = c_like(language);
    syntax.has_apostrophe_strings = true;
    syntax.has_backtick_strings = true;
    syntax.has_regular_expressions = true;
    return syntax;
}

constexpr std::array kSyntaxes = {
    c_like("c"),
    c_like("cpp"),
    c_like("csharp"),
    c_like("java"),
    script_like("javascript"),
    script_like("typescript"),
    Syntax{.language = "go",
           .line_comment = "//",
           .has_block_comments = true,
           .has_backtick_strings = true},
    Syntax{.language = "rust",
           .line_comment = "//",
           .has_block_comments = true,
           .has_long_strings = true},
    Syntax{.language = "python",
           .line_comment = "#",
           .has_apostrophe_strings = true,
           .has_triple_quotes = true},
};

char opener_of(char closer) {
    if (closer == ')') return '(';
    return closer == ']' ? '[' : '{';
}

}  // namespace

const Syntax* find_syntax(std::string_view language) {
    const auto* found = std::ranges::find(kSyntaxes, language, &Syntax::language);
    return found == kSyntaxes.end() ? nullptr : found;
}

void CodeScan::advance_to(std::size_t end) {
    end = std::min(end, text_.size());
    while (at_ < end) {
        if (closer_.empty()) {
            read_code();
        } else {
            read_until_closer();
        }
    }
}

void CodeScan::open_text(std::string_view closer, std::size_t mark_bytes, bool ends_with_line) {
    closer_ = closer;
    ends_with_line_ = ends_with_line;
    at_ += mark_bytes;
}

/// One step inside a string or a comment.
void CodeScan::read_until_closer() {
    const std::string_view rest = text_.substr(at_);
    const bool has_escapes = closer_ != "\n" && closer_ != "*/";
    if (has_escapes && rest.front() == '\\') {
        at_ += 2;
    } else if (rest.starts_with(closer_)) {
        at_ += closer_.size();
        closer_ = {};
    } else {
        if (ends_with_line_ && rest.front() == '\n') closer_ = {};
        ++at_;
    }
}

/// One step in code.
void CodeScan::read_code() {
    const std::string_view rest = text_.substr(at_);
    const char c = rest.front();
    if (rest.starts_with(syntax_.line_comment)) return open_text("\n", 1, true);
    if (syntax_.has_block_comments && rest.starts_with("/*")) return open_text("*/", 2, false);
    if (syntax_.has_triple_quotes && rest.starts_with("\"\"\"")) {
        return open_text("\"\"\"", 3, false);
    }
    if (syntax_.has_triple_quotes && rest.starts_with("'''")) return open_text("'''", 3, false);
    if (c == '"') return open_text("\"", 1, !syntax_.has_long_strings);
    if (c == '`' && syntax_.has_backtick_strings) return open_text("`", 1, false);
    if (c == '\'' && syntax_.has_apostrophe_strings && is_string_mark()) {
        return open_text("'", 1, true);
    }
    if (c == '\'' && !syntax_.has_apostrophe_strings && is_character_literal()) {
        return open_text("'", 1, true);
    }
    if (c == '/' && syntax_.has_regular_expressions && is_regular_expression()) {
        return open_text("/", 1, true);
    }
    if (c == '(' || c == '[' || c == '{') open_ += c;
    if (c == ')' || c == ']' || c == '}') close_bracket(c);
    ++at_;
}

void CodeScan::close_bracket(char closer) {
    if (open_.empty()) {
        ++(closer == '}' ? strays_.unopened_curly : strays_.unopened_other);
        return;
    }
    const std::size_t opener = open_.rfind(opener_of(closer));
    if (open_.back() != opener_of(closer)) ++strays_.mismatched;
    if (opener != std::string::npos) open_.resize(opener);
}

/// 'a' and '\n'; not the lifetime 'a, not the separator in 1'000.
bool CodeScan::is_character_literal() const {
    if (at_ > 0 && std::isdigit(static_cast<unsigned char>(text_[at_ - 1])) != 0) return false;
    const std::string_view rest = text_.substr(at_ + 1, kCharacterLiteralBytesMax);
    if (rest.starts_with('\\')) return true;
    const std::size_t end = rest.find('\'');
    // One character, of one to four bytes.
    return end != std::string_view::npos && end > 0 &&
           std::ranges::count_if(rest.substr(0, end),
                                 [](char c) { return (c & '\xC0') != '\x80'; }) == 1;
}

/// "don't" has no string in it, f'' has one.
bool CodeScan::is_string_mark() const {
    std::size_t begin = at_;
    while (begin > 0 && is_word(text_[begin - 1])) {
        --begin;
    }
    constexpr std::size_t kPrefixBytesMax = 2;
    return at_ - begin <= kPrefixBytesMax;
}

/// A slash where a value is expected does not divide.
bool CodeScan::is_regular_expression() const {
    const std::string_view before = text_.substr(0, at_);
    const std::size_t last = before.find_last_not_of(" \t");
    return last == std::string_view::npos ||
           std::string_view("(,=:[!&|?{};\n").find(before[last]) != std::string_view::npos;
}

std::size_t count_unbalanced(std::string_view line, std::string_view language) {
    static constexpr Syntax kUnknown = c_like("");
    const Syntax* syntax = find_syntax(language);
    CodeScan scan(syntax == nullptr ? kUnknown : *syntax, line);
    scan.advance_to(line.size());
    return scan.open_brackets().size() + scan.strays().count();
}

}  // namespace hearth::assist

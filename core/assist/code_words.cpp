#include "core/assist/code_words.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

// Sorted. Words that are no names in at least one of the languages and rarely names in the others.
constexpr std::array<std::string_view, 96> kKeywords = {
    "False",   "None",     "True",      "and",     "as",        "assert",   "async",
    "auto",    "await",    "bool",      "boolean", "break",     "byte",     "case",
    "catch",   "char",     "class",     "const",   "constexpr", "continue", "def",
    "default", "defer",    "del",       "delete",  "do",        "double",   "elif",
    "else",    "enum",     "except",    "export",  "extends",   "extern",   "false",
    "final",   "finally",  "float",     "fn",      "for",       "foreach",  "from",
    "func",    "function", "global",    "goto",    "if",        "impl",     "implements",
    "import",  "in",       "inline",    "int",     "interface", "is",       "lambda",
    "let",     "long",     "loop",      "match",   "mod",       "mut",      "namespace",
    "new",     "nil",      "not",       "null",    "nullptr",   "or",       "package",
    "pass",    "private",  "protected", "pub",     "public",    "raise",    "range",
    "return",  "self",     "short",     "signed",  "sizeof",    "static",   "struct",
    "super",   "switch",   "template",  "this",    "throw",     "true",     "try",
    "type",    "typename", "unsigned",  "using",   "var"};

static_assert(std::ranges::is_sorted(kKeywords));

}  // namespace

std::vector<Span> lines_of(std::string_view text) {
    std::vector<Span> lines;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        lines.push_back({begin, end});
        begin = end + 1;
    }
    return lines;
}

std::string_view part(std::string_view text, Span span) {
    return text.substr(span.begin, span.size());
}

bool is_comment_line(std::string_view line) {
    line = trim(line);
    return line.starts_with("//") || line.starts_with("#") || line.starts_with("*") ||
           line.starts_with("/*") || line.starts_with("\"\"\"") || line.starts_with("'''");
}

bool is_identifier_letter(char letter) {
    return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_';
}

std::vector<Span> identifiers_of(std::string_view text) {
    std::vector<Span> spans;
    std::size_t position = 0;
    while (position < text.size()) {
        if (!is_identifier_letter(text[position])) {
            ++position;
            continue;
        }
        const std::size_t begin = position;
        while (position < text.size() && is_identifier_letter(text[position])) {
            ++position;
        }
        if (std::isdigit(static_cast<unsigned char>(text[begin])) == 0) {
            spans.push_back({begin, position});
        }
    }
    return spans;
}

std::vector<Span> code_identifiers_of(std::string_view text) {
    std::vector<Span> spans;
    for (const Span line : lines_of(text)) {
        const std::string_view whole = part(text, line);
        if (is_comment_line(whole)) continue;
        std::size_t begin = 0;  // of the code that has not been looked at
        const auto take = [&](std::size_t end) {
            for (const Span span : identifiers_of(whole.substr(begin, end - begin))) {
                spans.push_back({line.begin + begin + span.begin, line.begin + begin + span.end});
            }
        };
        for (std::size_t i = 0; i < whole.size(); ++i) {
            const bool is_comment = whole.substr(i).starts_with("//") ||
                                    (whole[i] == '#' && i > 0 && whole[i - 1] == ' ');
            if (is_comment) {
                take(i);
                begin = whole.size();
                break;
            }
            if (whole[i] != '"' && whole[i] != '\'' && whole[i] != '`') continue;
            std::size_t close = i + 1;
            while (close < whole.size() && whole[close] != whole[i]) {
                close += whole[close] == '\\' ? 2 : 1;
            }
            if (close >= whole.size()) continue;  // a lifetime, or a string of several lines
            take(i);
            begin = close + 1;
            i = close;
        }
        take(whole.size());
    }
    return spans;
}

bool is_keyword(std::string_view word) {
    return std::ranges::binary_search(kKeywords, word);
}

std::optional<std::size_t> matching_bracket(std::string_view text,
                                            std::size_t open,
                                            std::size_t bytes_max) {
    const std::size_t end = std::min(text.size(), open + bytes_max);
    int depth = 0;
    char quote = '\0';
    for (std::size_t i = open; i < end; ++i) {
        const char letter = text[i];
        if (quote != '\0') {
            if (letter == '\\') {
                ++i;
            } else if (letter == quote || letter == '\n') {
                quote = '\0';
            }
        } else if (letter == '"' || (letter == '\'' && i + 2 < end && text[i + 2] == '\'')) {
            quote = letter;
        } else if (letter == '/' && i + 1 < end && text[i + 1] == '/') {
            i = std::min(text.find('\n', i), end);
        } else if (letter == '(' || letter == '[' || letter == '{') {
            ++depth;
        } else if (letter == ')' || letter == ']' || letter == '}') {
            if (--depth == 0) return i;
        }
    }
    return std::nullopt;
}

}  // namespace hearth::assist

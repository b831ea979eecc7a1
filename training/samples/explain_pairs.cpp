#include "training/samples/explain_pairs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "training/samples/source_text.h"

namespace hearth::training {
namespace {

constexpr std::size_t kSentenceBytesMin = 20;
constexpr std::size_t kSentenceBytesMax = 160;
constexpr std::size_t kHeadLinesMax = 8;
constexpr std::size_t kBodyBytesMax = 2400;

/// A comment line without the marks of its language.
std::string_view without_marks(std::string_view line) {
    line = trimmed(line);
    for (const std::string_view mark :
         {"\"\"\"", "'''", "r\"\"\"", "///", "//!", "//", "/**", "/*", "*/", "*"}) {
        if (line.starts_with(mark)) {
            line.remove_prefix(mark.size());
            break;
        }
    }
    for (const std::string_view mark : {"*/", "\"\"\"", "'''"}) {
        if (line.ends_with(mark)) line.remove_suffix(mark.size());
    }
    return trimmed(line);
}

/// Leaves out <tags> and the braces of {@code x}; doubled backticks become single.
std::string without_markup(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '<' && i + 1 < text.size() &&
            (std::isalpha(static_cast<unsigned char>(text[i + 1])) != 0 || text[i + 1] == '/')) {
            const std::size_t close = text.find('>', i);
            if (close != std::string_view::npos) {
                i = close;
                continue;
            }
        }
        if (text.substr(i).starts_with("{@")) {
            const std::size_t space = text.find(' ', i);
            const std::size_t close = text.find('}', i);
            if (space < close && close != std::string_view::npos) {
                plain += text.substr(space + 1, close - space - 1);
                i = close;
                continue;
            }
        }
        if (text[i] == '`' && plain.ends_with('`')) continue;
        plain += text[i];
    }
    return plain;
}

bool looks_like_explanation(std::string_view sentence) {
    static constexpr std::array<std::string_view, 9> kUnwanted = {
        "TODO", "FIXME", "XXX", "Deprecated", "Copyright", "See ", "Note", "http", "==="};
    if (sentence.size() < kSentenceBytesMin || sentence.size() > kSentenceBytesMax) return false;
    if (std::ranges::any_of(kUnwanted,
                            [&](std::string_view w) { return sentence.starts_with(w); })) {
        return false;
    }
    if (sentence.find("://") != std::string_view::npos) return false;
    const auto is_word_letter = [](char c) {
        return c == ' ' || std::isalpha(static_cast<unsigned char>(c)) != 0;
    };
    const auto words = std::ranges::count(sentence, ' ');
    const auto letters = std::ranges::count_if(sentence, is_word_letter);
    return words >= 3 && letters * 5 >= static_cast<std::ptrdiff_t>(sentence.size()) * 4 &&
           std::isalpha(static_cast<unsigned char>(sentence[0])) != 0;
}

std::string lines_text(std::string_view text,
                       const std::vector<Span>& lines,
                       std::size_t first,
                       std::size_t last) {
    return std::string(text.substr(lines[first].begin, lines[last].end - lines[first].begin)) +
           "\n";
}

bool is_unit_test_head(std::string_view head) {
    return head.find(" Test") != std::string_view::npos ||
           head.find(" test") != std::string_view::npos;
}

class PythonFinder {
  public:
    explicit PythonFinder(std::string_view text) : text_(text), lines_(lines_of(text)) {}

    [[nodiscard]] std::vector<ExplainPair> run() const {
        std::vector<ExplainPair> pairs;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            const std::string_view line = trimmed(part(text_, lines_[i]));
            if (line.starts_with("def ") || line.starts_with("async def ")) {
                if (std::optional<ExplainPair> pair = at(i)) pairs.push_back(std::move(*pair));
            }
        }
        return pairs;
    }

  private:
    [[nodiscard]] std::optional<ExplainPair> at(std::size_t head) const {
        std::size_t head_end = head;
        while (!trimmed(part(text_, lines_[head_end])).ends_with(":")) {
            if (++head_end >= std::min(lines_.size(), head + kHeadLinesMax)) return std::nullopt;
        }
        const std::size_t doc = head_end + 1;
        if (doc >= lines_.size()) return std::nullopt;
        const std::string_view opening = trimmed(part(text_, lines_[doc]));
        const std::size_t quotes = opening.find_first_of("\"'");
        if (quotes > 1 || opening.size() < quotes + 4) return std::nullopt;
        const std::string_view mark = opening.substr(quotes, 3);
        if (mark != "\"\"\"" && mark != "'''") return std::nullopt;
        const std::size_t begin =
            static_cast<std::size_t>(opening.data() - text_.data()) + quotes + 3;
        const std::size_t end = text_.find(mark, begin);
        if (end == std::string_view::npos) return std::nullopt;
        std::size_t body = doc;
        while (body < lines_.size() && lines_[body].end < end + 3) {
            ++body;
        }
        const std::size_t last = body_end(body + 1, indentation(part(text_, lines_[head])));
        const std::string sentence = first_sentence(text_.substr(begin, end - begin));
        if (last <= body || sentence.empty()) return std::nullopt;
        std::string code = lines_text(text_, lines_, head, head_end);
        if (is_unit_test_head(code)) return std::nullopt;
        code += lines_text(text_, lines_, body + 1, last);
        return ExplainPair{std::move(code), sentence};
    }

    /// The last line of the block that starts at `first`, which may be before `first`.
    [[nodiscard]] std::size_t body_end(std::size_t first, std::size_t outer) const {
        std::size_t last = first - 1;
        for (std::size_t i = first; i < lines_.size(); ++i) {
            const std::string_view line = part(text_, lines_[i]);
            if (trimmed(line).empty()) continue;
            if (indentation(line) <= outer || lines_[i].end - lines_[first].begin > kBodyBytesMax)
                break;
            last = i;
        }
        return last;
    }

    std::string_view text_;
    std::vector<Span> lines_;
};

class BraceFinder {
  public:
    explicit BraceFinder(const CorpusFile& file)
        : text_(file.text),
          lines_(lines_of(text_)),
          language_(file.language) {}

    [[nodiscard]] std::vector<ExplainPair> run() const {
        std::vector<ExplainPair> pairs;
        std::size_t i = 0;
        while (i < lines_.size()) {
            const std::size_t end = comment_end(i);
            if (end == i) {
                ++i;
                continue;
            }
            if (std::optional<ExplainPair> pair = at(i, end)) pairs.push_back(std::move(*pair));
            i = end;
        }
        return pairs;
    }

  private:
    [[nodiscard]] std::string_view line(std::size_t index) const {
        return trimmed(part(text_, lines_[index]));
    }

    /// The line after the comment that starts at line `first`; `first` if none does.
    [[nodiscard]] std::size_t comment_end(std::size_t first) const {
        std::size_t i = first;
        if (line(first).starts_with("/*")) {
            while (i < lines_.size() && line(i).find("*/") == std::string_view::npos) {
                ++i;
            }
            return std::min(i + 1, lines_.size());
        }
        const std::string_view mark = language_ == "rust" ? "///" : "//";
        while (i < lines_.size() && line(i).starts_with(mark)) {
            ++i;
        }
        return i;
    }

    [[nodiscard]] std::optional<ExplainPair> at(std::size_t comment,
                                                std::size_t comment_end) const {
        std::size_t head = comment_end;
        while (head < lines_.size() &&
               (line(head).starts_with("#[") || line(head).starts_with("@"))) {
            ++head;
        }
        if (head >= lines_.size() || line(head).empty()) return std::nullopt;
        const std::size_t open = text_.find('{', lines_[head].begin);
        if (open == std::string_view::npos) return std::nullopt;
        const std::string_view head_text =
            text_.substr(lines_[head].begin, open - lines_[head].begin);
        if (!is_function_head(head_text)) return std::nullopt;
        const std::optional<std::size_t> close = matching_bracket(text_, open, kBodyBytesMax);
        if (!close || text_.substr(open, *close - open).find('\n') == std::string_view::npos) {
            return std::nullopt;
        }
        const std::size_t comment_begin = lines_[comment].begin;
        std::string sentence = first_sentence(
            text_.substr(comment_begin, lines_[comment_end - 1].end - comment_begin));
        if (sentence.empty()) return std::nullopt;
        std::string code(text_.substr(lines_[head].begin, *close + 1 - lines_[head].begin));
        return ExplainPair{code + "\n", std::move(sentence)};
    }

    [[nodiscard]] bool is_function_head(std::string_view head) const {
        if (std::ranges::count(head, '\n') > static_cast<std::ptrdiff_t>(kHeadLinesMax))
            return false;
        if (is_unit_test_head(head)) return false;
        if (language_ == "go") return head.starts_with("func ");
        if (language_ == "rust") {
            return head.find("fn ") != std::string_view::npos &&
                   head.find(';') == std::string_view::npos;
        }
        static constexpr std::array<std::string_view, 14> kOthers = {"class",
                                                                     "interface",
                                                                     "struct",
                                                                     "enum",
                                                                     "namespace",
                                                                     "if",
                                                                     "for",
                                                                     "while",
                                                                     "switch",
                                                                     "return",
                                                                     "module",
                                                                     "describe",
                                                                     "extern",
                                                                     "it"};
        const std::string_view first = trimmed(head).substr(0, trimmed(head).find_first_of(" ("));
        return head.find('(') != std::string_view::npos &&
               head.find_first_of(";=\"") == std::string_view::npos &&
               std::ranges::find(kOthers, first) == kOthers.end() &&
               head.find(" class ") == std::string_view::npos &&
               head.find('}') == std::string_view::npos;
    }

    std::string_view text_;
    std::vector<Span> lines_;
    std::string_view language_;
};

}  // namespace

std::string first_sentence(std::string_view comment) {
    std::string joined;
    for (const Span span : lines_of(comment)) {
        const std::string_view line = without_marks(part(comment, span));
        if (line.empty() && joined.empty()) continue;
        if (line.empty() || line.starts_with("@") || line.starts_with("\\") ||
            line.starts_with(":") || line.starts_with("- ") || line.starts_with("#") ||
            line.starts_with("<p>")) {
            break;
        }
        if (!joined.empty()) joined += ' ';
        joined += line;
    }
    std::string plain = without_markup(joined);
    for (std::size_t i = 0; i + 1 < plain.size(); ++i) {
        const bool is_abbreviation = i >= 3 && (plain.compare(i - 3, 4, "e.g.") == 0 ||
                                                plain.compare(i - 3, 4, "i.e.") == 0);
        if (plain[i] == '.' && plain[i + 1] == ' ' && !is_abbreviation) {
            plain.resize(i + 1);
            break;
        }
    }
    while (!plain.empty() && (plain.back() == ' ' || plain.back() == ':' || plain.back() == ',')) {
        plain.pop_back();
    }
    if (!plain.ends_with('.')) plain += '.';
    return looks_like_explanation(plain) ? plain : std::string();
}

std::vector<ExplainPair> find_explain_pairs(const CorpusFile& file) {
    if (file.language == "python") return PythonFinder(file.text).run();
    return BraceFinder(file).run();
}

}  // namespace hearth::training

#include "core/assist/fix_candidates.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <set>
#include <span>
#include <utility>

#include "core/assist/code_words.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

struct Replacement {
    std::string_view from, to;
};

/// Both ways.
constexpr Replacement kSwaps[] = {{" < ", " <= "},
                                  {" > ", " >= "},
                                  {" < ", " > "},
                                  {" <= ", " >= "},
                                  {" == ", " != "},
                                  {" === ", " !== "},
                                  {"is ", "is not "},
                                  {" in ", " not in "},
                                  {"is_none()", "is_some()"},
                                  {" + ", " - "},
                                  {" * ", " / "},
                                  {" / ", " % "},
                                  {" += ", " -= "},
                                  {"++", "--"},
                                  {" << ", " >> "},
                                  {"true", "false"},
                                  {"True", "False"},
                                  {" && ", " || "},
                                  {" and ", " or "},
                                  {"if ", "if not "},
                                  {"while ", "while not "},
                                  {"elif ", "elif not "},
                                  {"and ", "and not "},
                                  {"or ", "or not "},
                                  {"return ", "return not "},
                                  {"if (", "if (!"},
                                  {"while (", "while (!"},
                                  {"if ", "if !"},
                                  {"while ", "while !"},
                                  {"&& ", "&& !"},
                                  {"|| ", "|| !"},
                                  {"return ", "return !"}};
constexpr Replacement kDrops[] = {{"(!", "("}};
/// Behind these a statement may begin.
constexpr std::string_view kStatementHeads[] = {") ", "{ ", "=> ", ": "};
constexpr std::string_view kClosers = ")]};";
constexpr std::size_t kNameBytesMin = 2;
constexpr std::size_t kMisspeltBytesMin = 3;
constexpr std::size_t kArgumentsMax = 4;

bool is_digit(char letter) {
    return std::isdigit(static_cast<unsigned char>(letter)) != 0;
}

/// Types, constants and variables are not taken for each other.
int style_of(std::string_view name) {
    const bool is_shouted =
        std::ranges::none_of(name, [](unsigned char letter) { return std::islower(letter) != 0; });
    return is_shouted ? 2 : int{std::isupper(static_cast<unsigned char>(name.front())) != 0};
}

/// All edits of one line.
class LineEdits {
  public:
    explicit LineEdits(const FixPlace& place) : place_(place), line_(place.marked) {}

    std::vector<std::string> all() && {
        operators();
        numbers();
        returns();
        quotes();
        brackets();
        arguments();
        names();
        return std::move(lines_);
    }

  private:
    void add(Span span, std::string_view text) {
        if (lines_.size() == kFixCandidatesMax) return;
        std::string line(line_.substr(0, span.begin));
        line.append(text).append(line_.substr(span.end));
        if (line == line_ || is_blank(line) || !seen_.insert(line).second) return;
        lines_.push_back(std::move(line));
    }
    void insert(std::size_t at, std::string_view text) { add({at, at}, text); }

    /// Inside of a word nothing is inserted, and a span of words does not end within one.
    [[nodiscard]] bool splits_word(std::size_t at) const {
        return at > 0 && at < line_.size() && is_identifier_letter(line_[at - 1]) &&
               is_identifier_letter(line_[at]);
    }
    [[nodiscard]] bool stands_alone(Span span) const {
        return !splits_word(span.begin) && !splits_word(span.end);
    }

    void replace_all(std::string_view from, std::string_view to) {
        for (std::size_t at = line_.find(from); at != std::string_view::npos;
             at = line_.find(from, at + 1)) {
            const Span span{at, at + from.size()};
            if (stands_alone(span)) add(span, to);
        }
    }

    void operators() {
        for (const auto& [from, to] : kSwaps) {
            replace_all(from, to);
            replace_all(to, from);
        }
        for (const auto& [from, to] : kDrops) {
            replace_all(from, to);
        }
    }

    void numbers() {
        for (std::size_t begin = 0; begin < line_.size(); ++begin) {
            Span span{begin, begin};
            while (span.end < line_.size() && is_digit(line_[span.end])) {
                ++span.end;
            }
            if (span.size() == 0) continue;
            begin = span.end;
            std::uint32_t number = 0;
            const std::string_view digits = part(line_, span);
            const auto [end, error] =
                std::from_chars(digits.data(), digits.data() + digits.size(), number);
            if (error != std::errc() || number == UINT32_MAX || !stands_alone(span)) continue;
            add(span, std::to_string(number + 1));
            if (number > 0) add(span, std::to_string(number - 1));
        }
    }

    void returns() {
        insert(indentation(line_).size(), "return ");
        for (const std::string_view head : kStatementHeads) {
            for (std::size_t at = line_.find(head); at != std::string_view::npos;
                 at = line_.find(head, at + 1)) {
                insert(at + head.size(), "return ");
            }
        }
    }

    /// Where one has no other half.
    void quotes() {
        for (const std::string_view quote : {"\"", "'"}) {
            if (std::ranges::count(line_, quote.front()) % 2 == 0) continue;
            for (std::size_t at = 0; at <= line_.size(); ++at) {
                if (!splits_word(at)) insert(at, quote);
            }
        }
    }

    void brackets() {
        for (std::size_t at = 0; at < line_.size(); ++at) {
            if (kClosers.find(line_[at]) != std::string_view::npos) add({at, at + 1}, {});
        }
        for (const char& closer : kClosers) {
            const std::size_t first = closer == ';' ? line_.size() : indentation(line_).size();
            for (std::size_t at = first; at <= line_.size(); ++at) {
                if (!splits_word(at)) insert(at, {&closer, 1});
            }
        }
    }

    void arguments() {
        for (std::size_t open = 1; open < line_.size(); ++open) {
            if (line_[open] != '(' || !is_identifier_letter(line_[open - 1])) continue;
            const auto close = matching_bracket(line_, open, line_.size());
            if (close) swap_arguments({open + 1, *close});
        }
    }

    /// Each two that stand side by side.
    void swap_arguments(Span list) {
        const std::vector<Span> found = arguments_of(list);
        if (found.size() > kArgumentsMax) return;
        for (std::size_t i = 0; i + 1 < found.size(); ++i) {
            const auto [left, right] = std::pair(found[i], found[i + 1]);
            std::string swapped(part(line_, right));
            swapped.append(part(line_, {left.end, right.begin})).append(part(line_, left));
            add({left.begin, right.end}, swapped);
        }
    }

    [[nodiscard]] std::vector<Span> arguments_of(Span list) const {
        std::vector<Span> found;
        int depth = 0;
        std::size_t begin = list.begin;
        for (std::size_t at = list.begin; at <= list.end; ++at) {
            if (at == list.end || (line_[at] == ',' && depth == 0)) {
                found.push_back({std::min(begin, at), at});
                begin = std::min(line_.find_first_not_of(' ', at + 1), list.end);
            } else if (std::string_view("([{").find(line_[at]) != std::string_view::npos) {
                ++depth;
            } else if (std::string_view(")]}").find(line_[at]) != std::string_view::npos) {
                --depth;
            }
        }
        return found;
    }

    void names() {
        using Names = std::set<std::string_view>;
        const auto add_names = [](std::string_view text, Names& names) {
            for (const Span span : code_identifiers_of(text)) {
                const std::string_view name = part(text, span);
                if (name.size() >= kNameBytesMin && !is_keyword(name)) names.insert(name);
            }
        };
        Names elsewhere;
        add_names(place_.before, elsewhere);
        add_names(place_.after, elsewhere);
        Names others = elsewhere;
        add_names(line_, others);
        for (const Span span : code_identifiers_of(line_)) {
            const std::string_view name = part(line_, span);
            if (is_keyword(name)) continue;
            for (const std::string_view other : others) {
                if (other != name && style_of(other) == style_of(name)) add(span, other);
            }
            if (!elsewhere.contains(name)) spellings(span);
        }
    }

    /// A letter doubled or dropped, two in the wrong order.
    void spellings(Span span) {
        const std::string_view name = part(line_, span);
        if (name.size() < kMisspeltBytesMin) return;
        for (std::size_t at = 1; at < name.size(); ++at) {
            const std::size_t place = span.begin + at;
            if (name[at] == name[at - 1]) add({place, place + 1}, {});
            insert(place, name.substr(at, 1));
            if (at + 1 == name.size()) break;
            const std::array<char, 2> swapped = {name[at + 1], name[at]};
            add({place, place + 2}, {swapped.data(), swapped.size()});
        }
    }

    const FixPlace& place_;
    const std::string_view line_;
    std::vector<std::string> lines_;
    std::set<std::string> seen_;
};

}  // namespace

std::vector<std::string> find_fix_candidates(const FixPlace& place) {
    return LineEdits(place).all();
}

}  // namespace hearth::assist

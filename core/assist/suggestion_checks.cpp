#include "core/assist/suggestion_checks.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <vector>

#include "core/assist/code_scan.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

// How far brackets are looked for before the cursor.
constexpr std::size_t kScannedBytesMax = 4096;
constexpr std::size_t kBelowBytesMax = 1024;
// The next line counts whatever it is; those below it only if they say something.
constexpr int kLinesBelow = 3;
constexpr std::size_t kTellingBytesMin = 8;
// A word made of one run twice: "sereturDsereturD". Shorter runs occur: "cplusplus".
constexpr std::size_t kRunBytesMin = 5;
// Longer lines are searched for repetition at their end alone, and are compared with no other.
constexpr std::size_t kLineBytesMax = 512;

// A sentence has words, and is made of little else.
constexpr std::ptrdiff_t kProseWordsMin = 2;
constexpr double kProseShareMin = 0.85;

bool is_letter(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0 || (c & 0x80) != 0;
}

/// A word or a mark; blanks lie between them.
std::vector<std::string_view> tokens_of(std::string_view text) {
    std::vector<std::string_view> tokens;
    for (std::size_t begin = 0; begin < text.size();) {
        std::size_t end = begin + 1;
        while (is_word(text[begin]) && end < text.size() && is_word(text[end])) {
            ++end;
        }
        if (!is_blank(text[begin])) tokens.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    return tokens;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(
        a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

/// How many turns of `phrase` in a row are too many; 0: none ever are.
std::size_t turns_max(const std::vector<std::string_view>& phrase) {
    std::size_t words = 0;
    std::int32_t depth = 0;
    bool is_list = false;
    for (const std::string_view token : phrase) {
        const bool has_letter = std::ranges::any_of(token, is_letter);
        if (has_letter && token.size() > 1) ++words;
        is_list = is_list || token == ",";
        if (std::string_view("([{").find(token.front()) != std::string_view::npos) ++depth;
        if (std::string_view(")]}").find(token.front()) != std::string_view::npos) --depth;
        if (depth < 0) return 0;  // "))" and the like
    }
    if (depth != 0 || words == 0) return 0;  // "max(max(" is code
    if (words == 1) return phrase.size() == 1 ? 3 : 0;
    return is_list ? 3 : 2;
}

/// Whether a word holds a run of letters twice in a row. "aaaaaaaa" is a ruler, 0xabcdabcd a
/// number.
bool has_run_twice(std::string_view word) {
    if (!is_letter(word.front()) && word.front() != '_') return false;
    for (std::size_t bytes = kRunBytesMin; 2 * bytes <= word.size(); ++bytes) {
        std::size_t alike = 0;
        for (std::size_t i = 0; i + bytes < word.size(); ++i) {
            alike = word[i] == word[i + bytes] ? alike + 1 : 0;
            if (alike < bytes) continue;
            const std::string_view run = word.substr(i + 1 - bytes, bytes);
            const bool has_only_letters = std::ranges::all_of(
                run, [](unsigned char letter) { return std::isalpha(letter) != 0; });
            if (has_only_letters && run.find_first_not_of(run.front()) != std::string_view::npos) {
                return true;
            }
        }
    }
    return false;
}

bool equals_a_line_below(std::string_view line, std::string_view after) {
    std::string_view below = after.substr(0, kBelowBytesMax);
    take_line(below);
    for (int seen = 0; seen < kLinesBelow && !below.empty();) {
        const std::string_view other = trim(take_line(below));
        if (other.empty()) continue;
        if (other == line && (seen == 0 || line.size() >= kTellingBytesMin)) return true;
        ++seen;
    }
    return false;
}

bool is_only_marks(std::string_view line) {
    return std::ranges::none_of(line, is_word);
}

Fault find_syntax_fault(const LinePlace& place, std::string_view line, const Syntax& syntax) {
    std::string_view before = place.before;
    const bool is_whole = place.begins_document && before.size() <= kScannedBytesMax;
    if (before.size() > kScannedBytesMax) {
        before.remove_prefix(before.size() - kScannedBytesMax);
        before.remove_prefix(std::min(before.find('\n') + 1, before.size()));
    }
    std::string_view below = place.after;
    const std::string_view right = trim_right(take_line(below));
    std::string text(before);
    text.append(line).append(right);
    CodeScan scan(syntax, text);
    scan.advance_to(before.size());
    if (!scan.is_in_code() && !scan.is_in_short_string()) return Fault::none;
    const CodeScan::Strays known = scan.strays();
    scan.advance_to(before.size() + line.size());
    const CodeScan::Strays strays = scan.strays();
    // Where the text before is broken already, nothing is known about what is open.
    if (known.mismatched == 0 && strays.mismatched > 0) return Fault::unbalanced;
    if (known.unopened_other == 0 && strays.unopened_other > 0) return Fault::unbalanced;
    if (is_whole && known.count() == 0 && strays.count() > 0) return Fault::unbalanced;
    scan.advance_to(text.size());
    if (scan.is_in_short_string() && !text.ends_with('\\')) return Fault::open_string;
    if (is_blank(right)) return Fault::none;
    const std::string head(last_line(before));
    const auto unbalanced = [&](const std::string& whole) {
        return count_unbalanced(whole, syntax.language);
    };
    const bool is_worse = unbalanced(head + std::string(line) + std::string(right)) >
                          unbalanced(head + std::string(right));
    return is_worse ? Fault::unbalanced : Fault::none;
}

}  // namespace

std::string_view to_string(Fault fault) {
    static constexpr std::array<std::string_view, kFaultCount> kNames = {"none",
                                                                         "blank",
                                                                         "joins_words",
                                                                         "repeats_itself",
                                                                         "repeats_line_above",
                                                                         "repeats_line_below",
                                                                         "unbalanced",
                                                                         "open_string"};
    return kNames[static_cast<std::size_t>(fault)];
}

bool repeats_itself(std::string_view text, std::size_t from) {
    const std::size_t skipped = text.size() - std::min(text.size(), kLineBytesMax);
    const std::vector<std::string_view> tokens = tokens_of(text.substr(skipped));
    const auto ends_behind = [&](std::string_view token) {
        return static_cast<std::size_t>(token.data() + token.size() - text.data()) > from;
    };
    for (const std::string_view token : tokens) {
        if (ends_behind(token) && has_run_twice(token)) return true;
    }
    for (std::size_t length = 1; 2 * length <= tokens.size(); ++length) {
        std::size_t alike = 0;
        for (std::size_t i = 0; i + length < tokens.size(); ++i) {
            alike = equals_ignoring_case(tokens[i], tokens[i + length]) ? alike + 1 : 0;
            if (alike < length || !ends_behind(tokens[i + length])) continue;
            const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(i + 1 - length);
            const std::size_t turns =
                turns_max({begin, begin + static_cast<std::ptrdiff_t>(length)});
            if (turns != 0 && alike >= (turns - 1) * length) return true;
        }
    }
    return false;
}

bool is_prose(std::string_view text) {
    text = trim(text);
    text = text.substr(0, text.find('\n'));
    const auto words = std::ranges::count_if(tokens_of(text), [](std::string_view token) {
        return std::ranges::any_of(token, is_letter);
    });
    const auto readable =
        std::ranges::count_if(text, [](char c) { return is_letter(c) || is_blank(c); });
    return words >= kProseWordsMin &&
           static_cast<double>(readable) >= kProseShareMin * static_cast<double>(text.size());
}

Fault find_fault(const LinePlace& place, std::string_view line) {
    if (is_blank(line)) return Fault::blank;
    const std::string_view head = last_line(place.before);
    std::string_view below = place.after;
    const std::string_view right = take_line(below);
    if (is_word(line.back()) && !right.empty() && is_word(right.front())) {
        return Fault::joins_words;
    }
    const std::string_view near = head.substr(head.size() - std::min(head.size(), kLineBytesMax));
    const std::string whole = std::string(near) + std::string(line);
    if (repeats_itself(whole, near.size())) return Fault::repeats_itself;
    if (is_blank(right) && whole.size() <= kLineBytesMax) {
        const std::string_view content = trim(whole);
        const std::size_t above_bytes =
            place.before.size() - std::min(place.before.size(), near.size() + 1);
        const std::string_view above = last_line(place.before.substr(0, above_bytes));
        if (content == trim(above) && !is_only_marks(content)) return Fault::repeats_line_above;
        if (equals_a_line_below(content, place.after)) return Fault::repeats_line_below;
    }
    const Syntax* syntax = find_syntax(place.language);
    return syntax == nullptr ? Fault::none : find_syntax_fault(place, line, *syntax);
}

}  // namespace hearth::assist

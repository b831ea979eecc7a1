#include "training/samples/fix_pairs.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "training/samples/source_text.h"

namespace hearth::training {
namespace {

constexpr std::size_t kLinesAroundMin = 4;
constexpr std::size_t kLinesAroundMax = 9;
constexpr std::size_t kLineBytesMin = 8;
constexpr std::size_t kLineBytesMax = 120;
constexpr std::size_t kWindowBytesMax = 1400;
constexpr int kTries = 12;

struct Replacement {
    std::string_view from;
    std::string_view to;
};

bool is_digit(char letter) {
    return std::isdigit(static_cast<unsigned char>(letter)) != 0;
}

std::string replaced(std::string_view line, Span span, std::string_view text) {
    return std::string(line.substr(0, span.begin)) + std::string(text) +
           std::string(line.substr(span.end));
}

/// True if `span` of the line does not touch an identifier letter on a side where it ends with one.
bool stands_alone(std::string_view line, Span span) {
    const bool starts = span.begin == 0 || !is_identifier_letter(line[span.begin]) ||
                        !is_identifier_letter(line[span.begin - 1]);
    const bool ends = span.end == line.size() || !is_identifier_letter(line[span.end - 1]) ||
                      !is_identifier_letter(line[span.end]);
    return starts && ends;
}

/// Applies one of the replacements at one of the places where it fits.
std::optional<std::string> replace_one(std::string_view line,
                                       const std::vector<Replacement>& table,
                                       Random& random) {
    std::vector<std::pair<Span, std::string_view>> places;
    for (const auto& [from, to] : table) {
        for (std::size_t at = line.find(from); at != std::string_view::npos;
             at = line.find(from, at + 1)) {
            const Span span{at, at + from.size()};
            if (stands_alone(line, span)) places.emplace_back(span, to);
        }
    }
    if (places.empty()) return std::nullopt;
    const auto& [span, to] = random.pick(places);
    return replaced(line, span, to);
}

/// The names that code uses: no keywords, nothing of strings and comments.
std::vector<Span> names_in(std::string_view line, std::size_t bytes_min) {
    std::vector<Span> spans = code_identifiers_of(line);
    std::erase_if(
        spans, [&](Span span) { return span.size() < bytes_min || is_keyword(part(line, span)); });
    return spans;
}

bool is_upper(char letter) {
    return std::isupper(static_cast<unsigned char>(letter)) != 0;
}

/// True if both are written in capitals, or both start with one, or neither: types, constants and
/// variables are not mistaken for each other.
bool looks_alike(std::string_view left, std::string_view right) {
    const auto kind = [](std::string_view name) {
        const bool is_shouted = std::ranges::none_of(
            name, [](unsigned char letter) { return std::islower(letter) != 0; });
        return is_shouted ? 2 : int{is_upper(name.front())};
    };
    return kind(left) == kind(right);
}

std::optional<std::string> other_identifier(std::string_view line,
                                            const std::vector<std::string_view>& names,
                                            Random& random) {
    const std::vector<Span> spans = names_in(line, 1);
    if (spans.empty() || names.empty()) return std::nullopt;
    const Span span = random.pick(spans);
    const std::string_view name = part(line, span);
    std::vector<std::string_view> alike;
    for (const std::string_view other : names) {
        if (other != name && looks_alike(other, name)) alike.push_back(other);
    }
    if (alike.empty()) return std::nullopt;
    return replaced(line, span, random.pick(alike));
}

std::optional<std::string> typo(std::string_view line, Random& random) {
    const std::vector<Span> spans = names_in(line, 4);
    if (spans.empty()) return std::nullopt;
    const Span span = random.pick(spans);
    std::string name(part(line, span));
    const std::size_t at = 1 + random.below(name.size() - 2);
    switch (random.below(3)) {
        case 0:
            name.erase(at, 1);
            break;
        case 1:
            name.insert(at, 1, name[at]);
            break;
        default:
            std::swap(name[at], name[at + 1]);
    }
    return replaced(line, span, name);
}

std::optional<std::string> drop_or_double(std::string_view line,
                                          std::string_view letters,
                                          bool may_double,
                                          Random& random) {
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (letters.find(line[i]) != std::string_view::npos) places.push_back(i);
    }
    if (places.empty()) return std::nullopt;
    const std::size_t at = random.pick(places);
    std::string changed(line);
    if (may_double && random.chance(0.4)) {
        changed.insert(at, 1, line[at]);
    } else {
        changed.erase(at, 1);
    }
    return changed;
}

std::optional<std::string> off_by_one(std::string_view line, Random& random) {
    std::vector<Span> numbers;
    for (std::size_t i = 0; i < line.size(); ++i) {
        std::size_t end = i;
        while (end < line.size() && is_digit(line[end])) {
            ++end;
        }
        const Span span{i, end};
        const bool is_fraction =
            (i > 0 && line[i - 1] == '.') || (end < line.size() && line[end] == '.');
        if (end > i && end - i < 10 && stands_alone(line, span) && !is_fraction)
            numbers.push_back(span);
        i = std::max(i, end);
    }
    if (numbers.empty()) return std::nullopt;
    const Span span = random.pick(numbers);
    const unsigned long number = std::stoul(std::string(part(line, span)));
    const bool goes_up = number == 0 || random.chance(0.5);
    return replaced(line, span, std::to_string(goes_up ? number + 1 : number - 1));
}

std::optional<std::string> condition(std::string_view line, Random& random) {
    static const std::vector<Replacement> dropped = {{"if not ", "if "},
                                                     {"while not ", "while "},
                                                     {"(!", "("},
                                                     {"if !", "if "},
                                                     {"&& !", "&& "}};
    static const std::vector<Replacement> added = {
        {"if (", "if (!"}, {"while (", "while (!"}, {"if ", "if not "}, {"while ", "while not "}};
    static const std::vector<Replacement> added_without_word = {{"if ", "if !"}};
    if (auto changed = replace_one(line, dropped, random)) return changed;
    const std::string_view text = trimmed(line);
    if (text.ends_with(":")) {
        return replace_one(line, {added[2], added[3]}, random);
    }
    if (line.find("if (") != std::string_view::npos ||
        line.find("while (") != std::string_view::npos) {
        return replace_one(line, {added[0], added[1]}, random);
    }
    return text.ends_with("{") ? replace_one(line, added_without_word, random) : std::nullopt;
}

std::optional<std::string> swap_arguments(std::string_view line, Random& random) {
    std::vector<std::pair<std::size_t, std::size_t>> calls;
    for (std::size_t i = 1; i < line.size(); ++i) {
        if (line[i] != '(' || !is_identifier_letter(line[i - 1])) continue;
        if (const auto close = matching_bracket(line, i, line.size()))
            calls.emplace_back(i + 1, *close);
    }
    if (calls.empty()) return std::nullopt;
    const auto [begin, end] = random.pick(calls);
    const std::string_view inside = line.substr(begin, end - begin);
    const std::size_t comma = inside.find(", ");
    if (comma == std::string_view::npos || inside.find(',', comma + 1) != std::string_view::npos ||
        inside.find_first_of("([{\"'") != std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view first = inside.substr(0, comma);
    const std::string_view second = inside.substr(comma + 2);
    if (first == second) return std::nullopt;
    return replaced(line, {begin, end}, std::string(second) + ", " + std::string(first));
}

std::optional<std::string> replace_by_table(std::string_view line,
                                            Mutation mutation,
                                            Random& random) {
    static const std::vector<Replacement> comparisons = {{" < ", " <= "},
                                                         {" <= ", " < "},
                                                         {" > ", " >= "},
                                                         {" >= ", " > "},
                                                         {" == ", " != "},
                                                         {" != ", " == "},
                                                         {" < ", " > "},
                                                         {" > ", " < "},
                                                         {" === ", " !== "},
                                                         {" !== ", " === "}};
    static const std::vector<Replacement> null_checks = {{"is not None", "is None"},
                                                         {"is None", "is not None"},
                                                         {"== null", "!= null"},
                                                         {"!= null", "== null"},
                                                         {"== nil", "!= nil"},
                                                         {"!= nil", "== nil"},
                                                         {"== NULL", "!= NULL"},
                                                         {"!= NULL", "== NULL"},
                                                         {"== nullptr", "!= nullptr"},
                                                         {"!= nullptr", "== nullptr"},
                                                         {"=== undefined", "!== undefined"},
                                                         {"!== undefined", "=== undefined"},
                                                         {"is_none()", "is_some()"},
                                                         {"is_some()", "is_none()"}};
    static const std::vector<Replacement> arithmetic = {{" + ", " - "},
                                                        {" - ", " + "},
                                                        {" * ", " / "},
                                                        {" / ", " * "},
                                                        {" += ", " -= "},
                                                        {" -= ", " += "},
                                                        {"++", "--"},
                                                        {"--", "++"},
                                                        {" % ", " / "},
                                                        {" << ", " >> "},
                                                        {" >> ", " << "}};
    static const std::vector<Replacement> booleans = {
        {"true", "false"}, {"false", "true"}, {"True", "False"}, {"False", "True"}};
    static const std::vector<Replacement> and_or = {
        {" && ", " || "}, {" || ", " && "}, {" and ", " or "}, {" or ", " and "}};
    static const std::vector<Replacement> returns = {{"return ", ""}};
    switch (mutation) {
        case Mutation::comparison:
            return replace_one(line, comparisons, random);
        case Mutation::null_check:
            return replace_one(line, null_checks, random);
        case Mutation::arithmetic:
            return replace_one(line, arithmetic, random);
        case Mutation::boolean:
            return replace_one(line, booleans, random);
        case Mutation::and_or:
            return replace_one(line, and_or, random);
        default:
            return replace_one(line, returns, random);
    }
}

bool is_code_line(std::string_view line) {
    const std::string_view text = trimmed(line);
    return text.size() >= kLineBytesMin && line.size() <= kLineBytesMax && !is_comment_line(line) &&
           std::ranges::any_of(text, is_identifier_letter);
}

}  // namespace

const char* to_string(Mutation mutation) {
    static constexpr std::array<const char*, kMutationCount + 1> kNames = {"other_identifier",
                                                                           "typo",
                                                                           "bracket",
                                                                           "quote",
                                                                           "number",
                                                                           "condition",
                                                                           "comparison",
                                                                           "dropped_return",
                                                                           "null_check",
                                                                           "swapped_arguments",
                                                                           "arithmetic",
                                                                           "boolean",
                                                                           "and_or",
                                                                           "none"};
    return kNames[static_cast<std::size_t>(mutation)];
}

std::optional<std::string> mutate(std::string_view line,
                                  Mutation mutation,
                                  const std::vector<std::string_view>& names,
                                  Random& random) {
    std::optional<std::string> changed;
    switch (mutation) {
        case Mutation::none:
            return std::string(line);
        case Mutation::other_identifier:
            changed = other_identifier(line, names, random);
            break;
        case Mutation::typo:
            changed = typo(line, random);
            break;
        case Mutation::bracket:
            changed = drop_or_double(line, ")]};", true, random);
            break;
        case Mutation::quote:
            changed = drop_or_double(line, "\"", false, random);
            break;
        case Mutation::number:
            changed = off_by_one(line, random);
            break;
        case Mutation::condition:
            changed = condition(line, random);
            break;
        case Mutation::swapped_arguments:
            changed = swap_arguments(line, random);
            break;
        default:
            changed = replace_by_table(line, mutation, random);
    }
    if (changed && (*changed == line || trimmed(*changed).empty())) changed.reset();
    return changed;
}

std::optional<FixPair> make_fix_pair(std::string_view text, Mutation mutation, Random& random) {
    const std::vector<Span> lines = lines_of(text);
    for (int i = 0; i < kTries; ++i) {
        const std::size_t index = random.below(lines.size());
        const std::string_view line = part(text, lines[index]);
        if (!is_code_line(line)) continue;
        // The line stands anywhere in its window, not always in the middle.
        const std::size_t around =
            kLinesAroundMin + random.below(kLinesAroundMax - kLinesAroundMin + 1);
        const std::size_t above = std::min(index, around / 2 + random.below(around));
        const std::size_t first = index - above;
        const std::size_t last = std::min(first + 2 * around, lines.size() - 1);
        if (last < index || lines[last].end - lines[first].begin > kWindowBytesMax) continue;
        const std::size_t end = std::min(lines[last].end + 1, text.size());
        const std::size_t after = std::min(lines[index].end + 1, end);
        const std::string_view window = text.substr(lines[first].begin, end - lines[first].begin);
        std::vector<std::string_view> names;
        for (const Span span : names_in(window, 2)) {
            names.push_back(part(window, span));
        }
        std::optional<std::string> bad_line = mutate(line, mutation, names, random);
        if (!bad_line) continue;
        return FixPair{
            .mutation = mutation,
            .before = text.substr(lines[first].begin, lines[index].begin - lines[first].begin),
            .good_line = line,
            .after = text.substr(after, end - after),
            .bad_line = std::move(*bad_line)};
    }
    return std::nullopt;
}

Mutation pick_mutation(Random& random) {
    if (random.chance(0.20)) return Mutation::none;
    return static_cast<Mutation>(random.below(kMutationCount));
}

}  // namespace hearth::training

#include "training/samples/middles.h"

#include <algorithm>

namespace hearth::training {
namespace {

constexpr std::size_t kMiddleBytesMax = 600;
constexpr std::size_t kCharactersMax = 200;
constexpr int kTries = 8;

std::optional<Span> line_tail(std::string_view text, Random& random) {
    const std::vector<Span> lines = lines_of(text);
    const Span line = random.pick(lines);
    const std::size_t first = line.begin + indentation(part(text, line));
    if (first >= line.end) return std::nullopt;
    const std::size_t cut = to_character_start(text, first + random.below(line.end - first));
    if (cut >= line.end) return std::nullopt;
    return Span{cut, line.end};
}

std::optional<Span> whole_lines(std::string_view text, Random& random) {
    const std::vector<Span> lines = lines_of(text);
    const std::size_t first = random.below(lines.size());
    const std::size_t more = random.chance(0.5) ? 0 : random.below(5);
    const std::size_t last = std::min(first + more, lines.size() - 1);
    const std::size_t blanks = indentation(part(text, lines[first]));
    if (blanks == lines[first].size()) return std::nullopt;
    // An editor has usually indented the new line already.
    const std::size_t begin = lines[first].begin + (random.chance(0.7) ? blanks : 0);
    return Span{begin, lines[last].end};
}

std::optional<Span> characters(std::string_view text, Random& random) {
    const std::size_t begin = to_character_start(text, random.below(text.size()));
    const std::size_t end = to_character_start(text, begin + 1 + random.below(kCharactersMax));
    return Span{begin, std::min(end, text.size())};
}

std::optional<Span> in_brackets(std::string_view text, Random& random) {
    const std::size_t open = text.find_first_of("([{", random.below(text.size()));
    if (open == std::string_view::npos) return std::nullopt;
    const std::optional<std::size_t> close = matching_bracket(text, open, kMiddleBytesMax);
    if (!close) return std::nullopt;
    return Span{open + 1, *close};
}

std::optional<Span> indented_block(std::string_view text, Random& random) {
    const std::vector<Span> lines = lines_of(text);
    const std::size_t head = random.below(lines.size());
    const std::string_view head_text = trimmed(part(text, lines[head]));
    if (!head_text.ends_with(":") && !head_text.ends_with("{")) return std::nullopt;
    const std::size_t outer = indentation(part(text, lines[head]));
    std::size_t last = head;
    for (std::size_t i = head + 1; i < lines.size(); ++i) {
        const std::string_view line = part(text, lines[i]);
        if (trimmed(line).empty()) continue;
        if (indentation(line) <= outer) break;
        last = i;
    }
    if (last == head) return std::nullopt;
    const Span first = lines[head + 1];
    return Span{first.begin + indentation(part(text, first)), lines[last].end};
}

std::optional<Span> try_middle(std::string_view text, MiddleKind kind, Random& random) {
    switch (kind) {
        case MiddleKind::line_tail:
            return line_tail(text, random);
        case MiddleKind::lines:
            return whole_lines(text, random);
        case MiddleKind::characters:
            return characters(text, random);
        case MiddleKind::syntactic:
            return random.chance(0.5) ? in_brackets(text, random) : indented_block(text, random);
    }
    return std::nullopt;
}

}  // namespace

MiddleKind pick_middle_kind(Random& random) {
    const std::size_t percent = random.below(100);
    if (percent < 35) return MiddleKind::line_tail;
    if (percent < 70) return MiddleKind::lines;
    if (percent < 78) return MiddleKind::characters;
    return MiddleKind::syntactic;
}

std::optional<Span> pick_middle(std::string_view text, MiddleKind kind, Random& random) {
    if (text.empty()) return std::nullopt;
    for (int i = 0; i < kTries; ++i) {
        const std::optional<Span> middle = try_middle(text, kind, random);
        if (middle && middle->begin < middle->end && middle->size() <= kMiddleBytesMax) {
            return middle;
        }
    }
    return std::nullopt;
}

}  // namespace hearth::training

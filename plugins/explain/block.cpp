#include "plugins/explain/block.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace hearth::explain {
namespace {

using sdk::Lines;

constexpr std::size_t kTabColumns = 4;

std::string_view trimmed(std::string_view line) {
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return line.substr(begin, line.find_last_not_of(" \t") - begin + 1);
}

std::size_t indent(std::string_view line) {
    std::size_t columns = 0;
    for (const char c : line) {
        if (c != ' ' && c != '\t') break;
        columns += c == '\t' ? kTabColumns : 1;
    }
    return columns;
}

/// Blank lines, comments and directives at the margin say nothing about nesting.
bool is_neutral(std::string_view line) {
    return trimmed(line).empty() || trimmed(line).front() == '#';
}

bool is_word_at(std::string_view text, std::string_view word) {
    return text.starts_with(word) &&
           (text.size() == word.size() || !sdk::is_word_byte(text[word.size()]));
}

/// A head whose block is more than one would explain at once.
bool is_container(std::string_view line) {
    constexpr std::string_view kWords[] = {"class",
                                           "struct",
                                           "namespace",
                                           "interface",
                                           "impl",
                                           "module",
                                           "trait",
                                           "extern",
                                           "public",
                                           "private",
                                           "protected",
                                           "export",
                                           "package",
                                           "enum"};
    // "public int size() {" is a method; "public:" and "public class A {" are not.
    const std::string_view text = trimmed(line);
    const bool has_parameters = text.find('(') != std::string_view::npos;
    return !has_parameters && std::ranges::any_of(kWords, [&](std::string_view word) {
        return is_word_at(text, word);
    });
}

bool is_closing(std::string_view line) {
    const std::string_view text = trimmed(line);
    return !text.empty() && (text.front() == '}' || text.front() == ')' || text.front() == ']' ||
                             is_word_at(text, "end"));
}

bool is_opening_alone(std::string_view line) {
    return trimmed(line) == "{";
}

/// The nearest line above `line` that is indented less than `columns`.
std::optional<std::size_t> head_above(const Lines& lines, std::size_t line, std::size_t columns) {
    for (std::size_t i = line; i-- > 0;) {
        if (!is_neutral(lines[i]) && indent(lines[i]) < columns) return i;
    }
    return std::nullopt;
}

/// From a head to the line after its end.
Block block_of(const Lines& lines, std::size_t head) {
    const std::size_t columns = indent(lines[head]);
    Block block{.first = head, .last = head + 1};
    // A bracket on a line of its own belongs to the text above it.
    while (is_opening_alone(lines[block.first]) && block.first > 0 &&
           !sdk::is_blank(lines[block.first - 1])) {
        --block.first;
    }
    for (std::size_t i = head + 1; i < lines.count(); ++i) {
        if (is_neutral(lines[i])) continue;
        const bool is_inside = indent(lines[i]) > columns;
        const bool is_edge =
            indent(lines[i]) == columns && (is_closing(lines[i]) || is_opening_alone(lines[i]));
        if (!is_inside && !is_edge) break;
        block.last = i + 1;
    }
    return block;
}

bool is_head(const Lines& lines, std::size_t line) {
    for (std::size_t i = line + 1; i < lines.count(); ++i) {
        if (is_neutral(lines[i])) continue;
        return indent(lines[i]) > indent(lines[line]) || is_opening_alone(lines[i]);
    }
    return false;
}

}  // namespace

Block enclosing_block(const Lines& lines, std::size_t line, std::size_t lines_max) {
    while (line > 0 && sdk::is_blank(lines[line])) {
        --line;
    }
    std::optional<std::size_t> head = line;
    if (!is_head(lines, line)) {
        head = head_above(lines, line, indent(lines[line]) + (is_closing(lines[line]) ? 1 : 0));
    }
    std::optional<Block> best;
    while (head && !is_container(lines[*head])) {
        const Block block = block_of(lines, *head);
        if (block.last - block.first > lines_max || is_container(lines[block.first])) break;
        best = block;
        head = head_above(lines, *head, indent(lines[*head]));
    }
    if (best) return *best;
    const std::size_t first = line - std::min(line, lines_max / 2);
    return {.first = first, .last = std::min(lines.count(), first + lines_max)};
}

}  // namespace hearth::explain

#include "training/samples/eval_cases.h"

#include <algorithm>
#include <cctype>
#include <ostream>
#include <utility>

#include "training/samples/explain_pairs.h"
#include "training/samples/fix_pairs.h"
#include "training/samples/source_text.h"

namespace hearth::training {
namespace {

constexpr std::size_t kLineBytesMin = 10;
constexpr std::size_t kLineBytesMax = 100;
constexpr std::size_t kContextBytesMax = 8000;
constexpr std::size_t kTriesPerCase = 20;

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

void write_json_text(std::ostream& stream, std::string_view text) {
    static constexpr std::string_view kHex = "0123456789abcdef";
    stream << '"';
    for (const char letter : text) {
        const auto code = static_cast<unsigned char>(letter);
        if (letter == '"' || letter == '\\') {
            stream << '\\' << letter;
        } else if (letter == '\n') {
            stream << "\\n";
        } else if (code < 0x20 || code == 0x7F) {
            stream << "\\u00" << kHex[code >> 4U] << kHex[code & 0xFU];
        } else {
            stream << letter;
        }
    }
    stream << '"';
}

void write_case(std::ostream& stream, const CorpusFile& file, const Fields& fields) {
    stream << "{\"language\": ";
    write_json_text(stream, file.language);
    stream << ", \"path\": ";
    write_json_text(stream, file.path);
    for (const auto& [name, value] : fields) {
        stream << ", ";
        write_json_text(stream, name);
        stream << ": ";
        write_json_text(stream, value);
    }
    stream << "}\n";
}

/// The last bytes of the text, from a line start on.
std::string_view last_lines(std::string_view text) {
    if (text.size() <= kContextBytesMax) return text;
    text.remove_prefix(text.size() - kContextBytesMax);
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    return text;
}

std::string_view first_lines(std::string_view text) {
    if (text.size() <= kContextBytesMax) return text;
    return text.substr(0, text.rfind('\n', kContextBytesMax) + 1);
}

/// Where a case may start: the line's text without its indentation, or nothing.
std::optional<Span> case_line(std::string_view text,
                              const std::vector<Span>& lines,
                              Random& random) {
    const Span line = random.pick(lines);
    const std::string_view content = trimmed(part(text, line));
    const bool has_letter = std::ranges::any_of(
        content, [](unsigned char letter) { return std::isalpha(letter) != 0; });
    if (content.size() < kLineBytesMin || content.size() > kLineBytesMax || !has_letter ||
        is_comment_line(content)) {
        return std::nullopt;
    }
    return Span{line.begin + indentation(part(text, line)), line.end};
}

}  // namespace

void write_line_cases(const std::vector<const CorpusFile*>& files,
                      std::size_t count,
                      Random& random,
                      std::ostream& stream) {
    for (const bool is_whole_line : {true, false}) {
        std::size_t written = 0;
        for (std::size_t i = 0; i < count * kTriesPerCase && written < count; ++i) {
            const CorpusFile& file = *random.pick(files);
            const std::string_view text = file.text;
            const std::optional<Span> line = case_line(text, lines_of(text), random);
            if (!line) continue;
            std::size_t begin = line->begin;
            if (!is_whole_line) {
                begin = to_character_start(text, begin + 1 + random.below(line->size() - 3));
                if (trimmed(text.substr(begin, line->end - begin)).empty()) continue;
            }
            write_case(stream,
                       file,
                       {{"kind", is_whole_line ? "whole_line" : "line_tail"},
                        {"prefix", last_lines(text.substr(0, begin))},
                        {"suffix", first_lines(text.substr(line->end))},
                        {"target", text.substr(begin, line->end - begin)}});
            ++written;
        }
    }
}

void write_explain_cases(const std::vector<const CorpusFile*>& files,
                         std::size_t count,
                         Random& random,
                         std::ostream& stream) {
    std::vector<std::pair<const CorpusFile*, ExplainPair>> pairs;
    for (const CorpusFile* file : files) {
        for (ExplainPair& pair : find_explain_pairs(*file)) {
            pairs.emplace_back(file, std::move(pair));
        }
    }
    random.shuffle(pairs);
    pairs.resize(std::min(pairs.size(), count));
    for (const auto& [file, pair] : pairs) {
        write_case(stream, *file, {{"code", pair.code}, {"sentence", pair.sentence}});
    }
}

void write_fix_cases(const std::vector<const CorpusFile*>& files,
                     std::size_t count,
                     Random& random,
                     std::ostream& stream) {
    std::size_t written = 0;
    for (std::size_t i = 0; i < count * kTriesPerCase && written < count; ++i) {
        const CorpusFile& file = *random.pick(files);
        const auto pair = make_fix_pair(file.text, pick_mutation(random), random);
        if (!pair) continue;
        write_case(stream,
                   file,
                   {{"kind", to_string(pair->mutation)},
                    {"before", pair->before},
                    {"bad_line", pair->bad_line},
                    {"after", pair->after},
                    {"target", pair->good_line}});
        ++written;
    }
}

}  // namespace hearth::training

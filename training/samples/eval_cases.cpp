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
constexpr std::size_t kTriesPerCase = 60;
constexpr std::size_t kTriesPerFix = 200;

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
    if (file.is_heldout) {
        stream << ", \"split\": ";
        write_json_text(stream, split_of(file));
    }
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

bool is_case_line(std::string_view line) {
    const std::string_view content = trimmed(line);
    const bool has_letter = std::ranges::any_of(
        content, [](unsigned char letter) { return std::isalpha(letter) != 0; });
    return content.size() >= kLineBytesMin && content.size() <= kLineBytesMax && has_letter &&
           !is_comment_line(content);
}

// The targets of the four kinds, in or from line `index` on; nothing if there is none.

std::optional<Span> whole_line(std::string_view text,
                               const std::vector<Span>& lines,
                               std::size_t index,
                               Random& /*random*/) {
    const Span line = lines[index];
    return Span{line.begin + indentation(part(text, line)), line.end};
}

std::optional<Span> line_tail(std::string_view text,
                              const std::vector<Span>& lines,
                              std::size_t index,
                              Random& random) {
    const Span line = *whole_line(text, lines, index, random);
    return Span{to_character_start(text, line.begin + 1 + random.below(line.size() - 3)), line.end};
}

std::optional<Span> argument_list(std::string_view text,
                                  const std::vector<Span>& lines,
                                  std::size_t index,
                                  Random& random) {
    const Span line = lines[index];
    std::vector<Span> calls;
    for (std::size_t i = line.begin + 1; i < line.end; ++i) {
        if (text[i] != '(' || !is_identifier_letter(text[i - 1])) continue;
        const auto close = matching_bracket(text, i, line.end - i);
        if (close && *close > i + 1) calls.push_back({i + 1, *close});
    }
    if (calls.empty()) return std::nullopt;
    return random.pick(calls);
}

/// Lines of one indentation or deeper, none of them empty.
std::optional<Span> block(std::string_view text,
                          const std::vector<Span>& lines,
                          std::size_t index,
                          Random& random) {
    const std::size_t last = index + 1 + random.below(4);
    if (last >= lines.size()) return std::nullopt;
    const std::size_t outer = indentation(part(text, lines[index]));
    for (std::size_t i = index; i <= last; ++i) {
        const std::string_view line = part(text, lines[i]);
        if (trimmed(line).empty() || indentation(line) < outer || line.size() > kLineBytesMax) {
            return std::nullopt;
        }
    }
    return Span{lines[index].begin + outer, lines[last].end};
}

}  // namespace

std::string_view split_of(const CorpusFile& file) {
    std::uint64_t hash = 0xCBF29CE484222325U;  // FNV-1a: the same on every machine
    for (const char letter : file.path) {
        hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
    }
    return Random(hash).chance(0.5) ? "tuning" : "report";
}

void write_line_cases(const std::vector<const CorpusFile*>& files,
                      std::size_t count,
                      Random& random,
                      std::ostream& stream) {
    struct Kind {
        const char* name;
        std::optional<Span> (*pick)(std::string_view,
                                    const std::vector<Span>&,
                                    std::size_t,
                                    Random&);
    };
    for (const Kind& kind : {Kind{"whole_line", whole_line},
                             Kind{"line_tail", line_tail},
                             Kind{"argument_list", argument_list},
                             Kind{"block", block}}) {
        std::size_t written = 0;
        for (std::size_t i = 0; i < count * kTriesPerCase && written < count; ++i) {
            const CorpusFile& file = *random.pick(files);
            const std::string_view text = file.text;
            const std::vector<Span> lines = lines_of(text);
            const std::size_t index = random.below(lines.size());
            if (!is_case_line(part(text, lines[index]))) continue;
            const std::optional<Span> target = kind.pick(text, lines, index, random);
            if (!target || trimmed(part(text, *target)).empty()) continue;
            write_case(stream,
                       file,
                       {{"kind", kind.name},
                        {"prefix", last_lines(text.substr(0, target->begin))},
                        {"suffix", first_lines(text.substr(target->end))},
                        {"target", part(text, *target)}});
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
    const std::size_t of_each = (count + kMutationCount - 1) / kMutationCount;
    for (std::size_t kind = 0; kind <= kMutationCount; ++kind) {
        const auto mutation = static_cast<Mutation>(kind);
        const std::size_t wanted = mutation == Mutation::none ? of_each * kMutationCount : of_each;
        std::size_t written = 0;
        for (std::size_t i = 0; i < wanted * kTriesPerFix && written < wanted; ++i) {
            const CorpusFile& file = *random.pick(files);
            const auto pair = make_fix_pair(file.text, mutation, random);
            if (!pair) continue;
            write_case(stream,
                       file,
                       {{"kind", to_string(mutation)},
                        {"before", pair->before},
                        {"bad_line", pair->bad_line},
                        {"after", pair->after},
                        {"target", pair->good_line}});
            ++written;
        }
    }
}

}  // namespace hearth::training

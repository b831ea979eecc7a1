#include "training/samples/neighbours.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "training/samples/source_text.h"

namespace hearth::training {
namespace {

constexpr std::size_t kLinesBefore = 40;  // around the cursor
constexpr std::size_t kLinesAfter = 20;
constexpr std::size_t kRowLines = 12;  // a window is two rows
constexpr std::size_t kFilesMax = 8;   // that are open beside the one that is edited
constexpr std::size_t kNameBytesMin = 3;

std::string folder_key(const CorpusFile& file) {
    const std::size_t slash = file.path.rfind('/');
    return file.package + "\t" + file.language + "\t" +
           (slash == std::string::npos ? "" : file.path.substr(0, slash));
}

/// "parser" of "src/parser.h": what a file that uses it is likely to name.
std::string_view stem_of(std::string_view path) {
    path.remove_prefix(path.rfind('/') + 1);
    return path.substr(0, path.find('.'));
}

std::uint32_t hash_of(std::string_view name) {
    std::uint32_t hash = 2166136261U;  // FNV-1a
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    }
    return hash;
}

/// The last `count` lines of a text, of which the last one, up to the cursor, is left out.
std::string_view lines_before(std::string_view text, std::size_t count) {
    text = text.substr(0, text.rfind('\n') + 1);
    std::size_t begin = text.size();
    for (; count > 0 && begin > 0; --count) {
        begin = begin < 2 ? 0 : text.rfind('\n', begin - 2) + 1;
    }
    return text.substr(begin);
}

/// The first `count` lines of a text behind the rest of the cursor's.
std::string_view lines_after(std::string_view text, std::size_t count) {
    const std::size_t line_end = text.find('\n');
    if (line_end == std::string_view::npos) return {};
    text.remove_prefix(line_end + 1);
    std::size_t end = 0;
    for (; count > 0 && end < text.size(); --count) {
        end = std::min(text.find('\n', end), text.size() - 1) + 1;
    }
    return text.substr(0, end);
}

}  // namespace

Neighbours::Neighbours(const std::vector<CorpusFile>& files) : files_(&files), rows_(files.size()) {
    for (std::uint32_t i = 0; i < files.size(); ++i) {
        if (!files[i].is_heldout) files_of_folder_[folder_key(files[i])].push_back(i);
    }
}

Neighbours::Names Neighbours::names_of(std::string_view text) {
    Names names;
    for (const Span span : identifiers_of(text)) {
        if (span.size() >= kNameBytesMin) names.push_back(hash_of(part(text, span)));
    }
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

/// Shared names over all names.
double Neighbours::similarity(const Names& a, const Names& b) {
    Names shared;
    std::ranges::set_intersection(a, b, std::back_inserter(shared));
    const std::size_t all = a.size() + b.size() - shared.size();
    return all == 0 ? 0.0 : static_cast<double>(shared.size()) / static_cast<double>(all);
}

const std::vector<Neighbours::Row>& Neighbours::rows_of(std::uint32_t file_index) {
    std::vector<Row>& rows = rows_[file_index];
    if (!rows.empty()) return rows;
    const std::string_view text = (*files_)[file_index].text;
    const std::vector<Span> lines = lines_of(text);
    for (std::size_t first = 0; first < lines.size(); first += kRowLines) {
        const Span last = lines[std::min(first + kRowLines, lines.size()) - 1];
        const Span row{lines[first].begin, last.end};
        rows.push_back({row.begin, names_of(part(text, row))});
    }
    return rows;
}

std::vector<std::uint32_t> Neighbours::pick_files(std::uint32_t file_index,
                                                  const Names& names,
                                                  Random& random) const {
    const auto found = files_of_folder_.find(folder_key((*files_)[file_index]));
    if (found == files_of_folder_.end()) return {};
    std::vector<std::uint32_t> others = found->second;
    std::erase(others, file_index);
    random.shuffle(others);
    std::stable_partition(others.begin(), others.end(), [&](std::uint32_t other) {
        return std::ranges::binary_search(names, hash_of(stem_of((*files_)[other].path)));
    });
    others.resize(std::min(others.size(), 1 + random.below(kFilesMax)));
    return others;
}

std::vector<Snippet> Neighbours::like(std::uint32_t file_index,
                                      const CursorPlace& place,
                                      Random& random) {
    const Names all = names_of(std::string(place.before) + std::string(place.after));
    const Names wanted = names_of(std::string(lines_before(place.before, kLinesBefore)) +
                                  std::string(lines_after(place.after, kLinesAfter)));
    std::vector<std::pair<double, Snippet>> found;
    for (const std::uint32_t other : pick_files(file_index, all, random)) {
        const std::string_view text = (*files_)[other].text;
        const std::vector<Row>& rows = rows_of(other);
        std::pair<double, Snippet> best;
        Names window;
        for (std::size_t row = 0; row < rows.size(); ++row) {
            window = rows[row].names;
            if (row + 1 < rows.size()) {
                window.clear();
                std::ranges::set_union(
                    rows[row].names, rows[row + 1].names, std::back_inserter(window));
            }
            const double score = similarity(wanted, window);
            if (score <= best.first) continue;
            const std::size_t end = row + 2 < rows.size() ? rows[row + 2].begin : text.size();
            best = {score, {other, text.substr(rows[row].begin, end - rows[row].begin)}};
        }
        if (best.first > 0) found.push_back(best);
    }
    std::ranges::stable_sort(found, std::ranges::greater{}, &std::pair<double, Snippet>::first);
    std::vector<Snippet> snippets;
    snippets.reserve(found.size());
    for (const auto& [score, snippet] : found) {
        snippets.push_back(snippet);
    }
    return snippets;
}

}  // namespace hearth::training

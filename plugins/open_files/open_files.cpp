// Context from the user's other open files: from each, the window of lines that shares the most
// identifiers with the lines around the cursor. What it gives must not change with every key, or
// the model could not keep its prompt: the line being typed does not count, windows lie on a grid,
// and scores are coarse.
#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "plugins/sdk/hearth_sdk.h"
#include "plugins/sdk/lines.h"

namespace {

using hearth::sdk::Document;
using hearth::sdk::Job;
using hearth::sdk::Lines;
using hearth::sdk::Status;

constexpr std::size_t kLinesBefore = 40;  // around the cursor
constexpr std::size_t kLinesAfter = 20;
constexpr std::size_t kRowLines = 12;  // a window is two rows of the grid
constexpr std::size_t kFilesMax = 8;
constexpr std::size_t kScannedBytesMax = 64 << 10;  // of each file, around where the user was
constexpr std::uint32_t kScoreSteps = 16;           // a score of 0 is not worth its place
constexpr std::size_t kWordBytesMin = 3;

/// Identifiers as a sorted set of hashes.
using Words = std::vector<std::uint32_t>;

constexpr std::array<bool, 256> kIsWordByte = [] {
    std::array<bool, 256> table{};
    for (std::size_t i = 0; i < table.size(); ++i) {
        table[i] = hearth::sdk::is_word_byte(static_cast<char>(i));
    }
    return table;
}();

Words words_of(std::string_view text) {
    Words words;
    const auto is_word = [&](std::size_t i) {
        return kIsWordByte[static_cast<unsigned char>(text[i])];
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        const std::size_t begin = i;
        std::uint32_t hash = 2166136261U;  // FNV-1a
        for (; i < text.size() && is_word(i); ++i) {
            hash = (hash ^ static_cast<unsigned char>(text[i])) * 16777619U;
        }
        if (i - begin < kWordBytesMin) continue;
        const bool is_number = text[begin] >= '0' && text[begin] <= '9';
        if (!is_number) words.push_back(hash);
    }
    std::ranges::sort(words);
    words.erase(std::unique(words.begin(), words.end()), words.end());
    return words;
}

Words both(const Words& a, const Words& b) {
    Words words;
    words.reserve(a.size() + b.size());
    std::ranges::set_union(a, b, std::back_inserter(words));
    return words;
}

/// Shared words over all words, in coarse steps.
std::uint32_t similarity(const Words& a, const Words& b) {
    const std::size_t all = both(a, b).size();
    const std::size_t shared = a.size() + b.size() - all;
    return all == 0 ? 0 : static_cast<std::uint32_t>(shared * kScoreSteps / all);
}

struct Window {
    std::string_view uri;
    std::string_view text;
    bool is_same_language = false;
    std::uint32_t score = 0;
};

/// The part of a long file that is looked at: whole lines around `cursor_byte`.
std::string_view scanned_part(std::string_view text, std::uint64_t cursor_byte) {
    if (text.size() <= kScannedBytesMax) return text;
    const std::size_t wanted =
        cursor_byte - std::min<std::size_t>(cursor_byte, kScannedBytesMax / 2);
    const std::size_t line_end = wanted == 0 ? std::string_view::npos : text.find('\n', wanted);
    const std::size_t begin = line_end == std::string_view::npos ? 0 : line_end + 1;
    const std::string_view part = text.substr(begin, kScannedBytesMax);
    return part.substr(0, part.rfind('\n') + 1);
}

/// The most similar window of a file; the first of equals.
Window best_window(const Document& document, const Words& wanted, const Job& job) {
    Window best;
    best.uri = document.uri();
    const Lines lines(scanned_part(document.text(), document.cursor_byte()));
    Words row = words_of(lines.slice(0, kRowLines));
    for (std::size_t first = 0; first < lines.count() && !job.is_cancelled(); first += kRowLines) {
        const std::size_t middle = first + kRowLines;
        Words next = words_of(lines.slice(middle, middle + kRowLines));
        const std::uint32_t score = similarity(wanted, both(row, next));
        if (score > best.score) {
            best.score = score;
            best.text = lines.slice(first, middle + kRowLines);
        }
        row = std::move(next);
    }
    return best;
}

class OpenFiles final : public hearth::sdk::Plugin, public hearth::sdk::ContextProvider {
  public:
    using Plugin::Plugin;

    Status gather(const Document& document, std::uint64_t budget_bytes, const Job& job) override {
        const auto documents = host().documents(job);
        if (!documents) return Status::unsupported;
        const Lines lines(document.text());
        const std::size_t here = lines.line_at(document.cursor_byte());
        const std::string around =
            std::string(lines.slice(here - std::min(here, kLinesBefore), here)) +
            std::string(lines.slice(here + 1, here + 1 + kLinesAfter));
        const Words wanted = words_of(around);

        std::vector<Document> others(documents->begin(), documents->end());
        const auto is_other_language = [&](const Document& other) {
            return other.language() != document.language();
        };
        std::ranges::stable_sort(others, {}, is_other_language);
        if (others.size() > kFilesMax) others.erase(others.begin() + kFilesMax, others.end());

        std::vector<Window> windows;
        for (const Document& other : others) {
            Window window = best_window(other, wanted, job);
            window.is_same_language = !is_other_language(other);
            if (window.score > 0) windows.push_back(window);
        }
        std::ranges::stable_sort(windows, [](const Window& a, const Window& b) {
            return std::pair(a.is_same_language, a.score) > std::pair(b.is_same_language, b.score);
        });
        return emit_all(windows, budget_bytes, job);
    }

  private:
    static Status emit_all(const std::vector<Window>& windows,
                           std::uint64_t budget_bytes,
                           const Job& job) {
        std::uint32_t item = 0;
        for (const Window& window : windows) {
            const std::string piece = std::string(window.uri) + "\n" + std::string(window.text);
            if (piece.size() > budget_bytes) continue;  // a shorter one may still fit
            if (job.is_cancelled() || !job.emit(piece, item++)) return Status::cancelled;
            budget_bytes -= piece.size();
        }
        return job.is_cancelled() ? Status::cancelled : Status::ok;
    }
};

}  // namespace

HEARTH_PLUGIN(OpenFiles, "hearth.open_files", "Context from open files", "0.1.0");

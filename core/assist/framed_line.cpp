#include "core/assist/framed_line.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <unordered_map>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

// Lines that are compared; blank ones do not count.
constexpr std::size_t kBelowMax = 4;
constexpr std::size_t kAboveMax = 3;
constexpr std::size_t kFrameMax = kBelowMax + kAboveMax;
constexpr std::size_t kHitsMax = 4096;     // of the line below, for a millisecond or two
constexpr std::size_t kHitsPerCheck = 64;  // whether to go on

/// The next line that is not blank, without blanks at its end; empty at the end of `rest`.
std::string_view take_full_line(std::string_view& rest) {
    while (!rest.empty()) {
        const std::string_view line = trim_right(take_line(rest));
        if (!line.empty()) return line;
    }
    return {};
}

/// The last line that is not blank, likewise.
std::string_view take_last_line(std::string_view& text) {
    text = trim_right(text);
    const std::string_view line = last_line(text);
    text.remove_suffix(line.size());
    return line;
}

/// Whether nothing but blanks stands between there and the begin of the line, or its end: a long
/// line is not walked through for each of its places.
bool begins_line(std::string_view before) {
    const std::size_t last = before.find_last_not_of(" \t");
    return last == std::string_view::npos || before[last] == '\n';
}
bool ends_line(std::string_view rest) {
    const std::size_t first = rest.find_first_not_of(" \t\r");
    return first == std::string_view::npos || rest[first] == '\n';
}

bool is_alike(std::string_view a, std::string_view b) {
    return trim_left(a) == trim_left(b);
}

/// What stands around the cursor. Lines keep their indentation.
struct Frame {
    explicit Frame(const CopySource& source) {
        std::string_view rest = source.after;
        if (!is_blank(take_line(rest))) return;
        for (std::string_view& line : below) {
            line = take_full_line(rest);
        }
        head = last_line(source.before);
        std::string_view text = source.before.substr(0, source.before.size() - head.size());
        for (std::string_view& line : above) {
            line = take_last_line(text);
        }
    }

    std::string_view head;  ///< of the cursor's line
    std::array<std::string_view, kBelowMax> below;
    std::array<std::string_view, kAboveMax> above;  ///< the nearest first
};

/// How many places have so many lines alike.
using PlaceCounts = std::array<std::int32_t, kFrameMax + 1>;

std::int32_t count_from(const PlaceCounts& counts, std::size_t lines) {
    return std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(lines), counts.end(), 0);
}

struct Framed {
    std::string_view text;
    std::size_t lines = 0;  ///< alike, at its best place
    PlaceCounts places = {};
};

class FrameSearch {
  public:
    FrameSearch(const Frame& frame, const CopyLimits& limits, const CancelToken& cancel)
        : frame_(frame),
          limits_(limits),
          cancel_(cancel),
          searchable_bytes_(limits.searched_bytes_max),
          content_(trim_left(frame.below[0])),
          below_(content_.begin(), content_.end()) {}

    /// Its last lines, where it is too long.
    void search_end(std::string_view text) {
        if (text.size() > searchable_bytes_) {
            text.remove_prefix(text.size() - searchable_bytes_);
            take_line(text);
        }
        search(text);
    }
    void search(std::string_view text) {
        text = text.substr(0, searchable_bytes_);
        searchable_bytes_ -= text.size();
        for (auto from = text.begin(); !is_over();) {
            const auto [begin, end] = below_(from, text.end());
            if (begin == text.end()) return;
            from = end;
            if (++hit_count_ % kHitsPerCheck == 0) is_cancelled_ = cancel_.is_cancelled();
            const std::string_view before(text.begin(), begin);
            const std::string_view rest(end, text.end());
            if (begins_line(before) && ends_line(rest)) look_at(before, rest);
        }
    }

    std::vector<CopyCandidate> take() {
        if (is_cancelled_) return {};
        std::ranges::stable_sort(framed_, [](const Framed& a, const Framed& b) {
            const auto worth = [](const Framed& framed) {
                return std::pair(framed.lines, count_from(framed.places, 0));
            };
            return worth(a) > worth(b);
        });
        framed_.resize(std::min(framed_.size(), limits_.candidates_max));
        std::vector<CopyCandidate> candidates;
        for (const Framed& framed : framed_) {
            const std::size_t lines_min = (framed.lines + 1) / 2;
            const std::int32_t agreeing = count_from(framed.places, lines_min);
            candidates.push_back(
                {.text = std::string(framed.text),
                 .frame = {.lines = static_cast<std::int32_t>(framed.lines),
                           .agreeing = agreeing,
                           .disagreeing = count_from(places_, lines_min) - agreeing}});
        }
        return candidates;
    }

  private:
    [[nodiscard]] bool is_over() const { return is_cancelled_ || hit_count_ == kHitsMax; }

    /// Between `before` and `rest` stands the cursor's line below, but for its indentation.
    void look_at(std::string_view before, std::string_view rest) {
        take_line(rest);
        const std::string_view below_indentation = last_line(before);
        before.remove_suffix(below_indentation.size());
        const std::string_view text = rest_of_line(take_last_line(before), below_indentation);
        if (text.empty() || text.size() > limits_.line_bytes_max) return;
        std::size_t lines = 1;
        for (std::size_t i = 1; i < kBelowMax && !frame_.below[i].empty(); ++i) {
            if (!is_alike(take_full_line(rest), frame_.below[i])) break;
            ++lines;
        }
        for (const std::string_view above : frame_.above) {
            if (above.empty() || !is_alike(take_last_line(before), above)) break;
            ++lines;
        }
        const auto [known, is_new] = known_.try_emplace(text, framed_.size());
        if (is_new) framed_.push_back({.text = text});
        Framed& framed = framed_[known->second];
        framed.lines = std::max(framed.lines, lines);
        ++framed.places[lines];
        ++places_[lines];
    }

    /// What `line` has behind the cursor's head; it stands above a line of `below_indentation`.
    [[nodiscard]] std::string_view rest_of_line(std::string_view line,
                                                std::string_view below_indentation) const {
        // Where it is as deep as here, it says how deep the cursor's line is, too.
        const bool is_as_deep = below_indentation == indentation(frame_.below[0]);
        if (is_as_deep && line.starts_with(frame_.head)) return line.substr(frame_.head.size());
        if (frame_.head.empty()) return {};
        const std::string_view head = trim_left(frame_.head);
        const std::string_view content = trim_left(line);
        return content.starts_with(head) ? content.substr(head.size()) : std::string_view();
    }

    const Frame& frame_;
    const CopyLimits& limits_;
    const CancelToken& cancel_;
    std::size_t searchable_bytes_;
    const std::string_view content_;  ///< of the line below the cursor
    const std::boyer_moore_horspool_searcher<std::string_view::const_iterator> below_;
    std::size_t hit_count_ = 0;
    bool is_cancelled_ = false;
    std::vector<Framed> framed_;
    std::unordered_map<std::string_view, std::size_t> known_;  ///< text -> index
    PlaceCounts places_ = {};
};

}  // namespace

std::vector<CopyCandidate> find_framed_lines(const CopySource& source,
                                             const CopyLimits& limits,
                                             const CancelToken& cancel) {
    const Frame frame(source);
    if (frame.below[0].empty()) return {};
    FrameSearch search(frame, limits, cancel);
    search.search_end(source.before.substr(0, source.before.size() - frame.head.size()));
    std::string_view below = source.after;
    take_line(below);
    search.search(below);
    for (const std::string_view other : source.others) {
        search.search(other);
    }
    return search.take();
}

}  // namespace hearth::assist

#include "core/assist/copy_candidate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "core/assist/text_lines.h"

namespace hearth::assist {
namespace {

// Less in common than this says nothing.
constexpr std::size_t kMatchBytesMin = 3;
constexpr std::size_t kWordBytes = sizeof(std::uint64_t);
constexpr std::size_t kBytesPerCheck = 16U << 10;  // whether to go on
// What is looked at behind a match: the rest of its line and the line below.
constexpr std::size_t kRestBytesMax = 4096;

static_assert(std::endian::native == std::endian::little);

/// The eight bytes that end at `end`; zeros where the text begins later.
std::uint64_t word_before(std::string_view text, std::size_t end) {
    std::uint64_t word = 0;
    if (end >= kWordBytes) {
        std::memcpy(&word, text.data() + end - kWordBytes, kWordBytes);
    } else if (end > 0) {
        std::memcpy(reinterpret_cast<char*>(&word) + kWordBytes - end, text.data(), end);
    }
    return word;
}

/// How many of the last bytes two words have in common.
std::size_t common_tail(std::uint64_t difference) {
    return static_cast<std::size_t>(std::countl_zero(difference)) / 8;
}

/// Where the text before the cursor stands elsewhere.
struct Place {
    std::string_view rest;  ///< of its text, behind the match
    std::size_t match_bytes;
    std::size_t order;  ///< as found; the nearest first
};

bool is_better(const Place& a, const Place& b) {
    return a.match_bytes != b.match_bytes ? a.match_bytes > b.match_bytes : a.order < b.order;
}

class CopySearch {
  public:
    /// `before` has at least kMatchBytesMin bytes.
    CopySearch(std::string_view before, const CopyLimits& limits, const CancelToken& cancel)
        : before_(before),
          key_(word_before(before, before.size())),
          last_{before.end()[-3], before.end()[-2], before.end()[-1]},
          limits_(limits),
          cancel_(cancel),
          searchable_bytes_(limits.searched_bytes_max),
          comparable_bytes_(limits.compared_bytes_max) {}

    /// From the end of `text` to its start.
    void search_backward(std::string_view text) {
        text.remove_prefix(text.size() - std::min(text.size(), searchable_bytes_));
        searchable_bytes_ -= text.size();
        for (std::size_t end = text.size(); end > 0 && goes_on();) {
            const std::size_t stop = end - std::min(end, kBytesPerCheck);
            for (; end > stop; --end) {
                if (ends_alike(text, end)) look_at(text, end);
            }
        }
    }
    void search_forward(std::string_view text) {
        text = text.substr(0, searchable_bytes_);
        searchable_bytes_ -= text.size();
        for (std::size_t end = 1; end <= text.size() && goes_on();) {
            const std::size_t stop = std::min(text.size() + 1, end + kBytesPerCheck);
            for (; end < stop; ++end) {
                if (ends_alike(text, end)) look_at(text, end);
            }
        }
    }

    /// The longest matches, best first; none when cancelled.
    std::vector<Place> take_places() {
        if (is_cancelled_) return {};
        keep_best();
        std::ranges::sort(places_, is_better);
        return std::move(places_);
    }

  private:
    bool goes_on() {
        is_cancelled_ = is_cancelled_ || cancel_.is_cancelled();
        return !is_cancelled_ && match_count_ < limits_.matches_max;
    }

    /// The question that is asked at every byte.
    [[nodiscard]] bool ends_alike(std::string_view text, std::size_t end) const {
        return end >= kMatchBytesMin && text[end - 1] == last_[2] && text[end - 2] == last_[1] &&
               text[end - 3] == last_[0];
    }

    void look_at(std::string_view text, std::size_t end) {
        ++match_count_;
        if (end == text.size() || text[end] == '\n' || text[end] == '\r') return;
        const std::uint64_t difference = word_before(text, end) ^ key_;
        std::size_t length = difference == 0 ? extend(text, end) : common_tail(difference);
        length = std::min({length, end, before_.size()});
        if (length <= floor_bytes_) return;
        places_.push_back({text.substr(end, kRestBytesMax), length, order_++});
        if (places_.size() >= 2 * limits_.places_max) keep_best();
    }

    /// The length of a match of at least a word.
    std::size_t extend(std::string_view text, std::size_t end) {
        const std::size_t longest = std::min(
            {end, before_.size(), limits_.match_bytes_max, kWordBytes + comparable_bytes_});
        std::size_t length = kWordBytes;
        while (length + kWordBytes <= longest) {
            const std::uint64_t difference =
                word_before(text, end - length) ^ word_before(before_, before_.size() - length);
            length += difference == 0 ? kWordBytes : common_tail(difference);
            comparable_bytes_ -= kWordBytes;
            if (difference != 0) return length;
        }
        while (length < longest && text[end - length - 1] == before_[before_.size() - length - 1]) {
            ++length;
            --comparable_bytes_;
        }
        return length;
    }

    void keep_best() {
        if (places_.size() <= limits_.places_max) return;
        const auto last = places_.begin() + static_cast<std::ptrdiff_t>(limits_.places_max) - 1;
        std::ranges::nth_element(places_, last, is_better);
        places_.erase(last + 1, places_.end());
        floor_bytes_ = places_.back().match_bytes;  // an equal one that comes later is no better
    }

    const std::string_view before_;
    const std::uint64_t key_;
    const std::array<char, kMatchBytesMin> last_;
    const CopyLimits& limits_;
    const CancelToken& cancel_;
    std::size_t searchable_bytes_;
    std::size_t comparable_bytes_;
    std::size_t floor_bytes_ = 0;
    std::size_t match_count_ = 0;
    std::size_t order_ = 0;
    bool is_cancelled_ = false;
    std::vector<Place> places_;
};

std::int32_t count_characters(std::string_view text) {
    return static_cast<std::int32_t>(
        std::ranges::count_if(text, [](char c) { return (c & '\xC0') != '\x80'; }));
}

/// The first line of `text` that is not blank, without blanks at its end.
std::string_view first_full_line(std::string_view text) {
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (!is_blank(line)) return trim_right(line);
    }
    return {};
}

/// The rest of a place's line, up to what stands right of the cursor already.
std::string_view continuation_of(std::string_view rest, std::string_view line_after) {
    std::string_view line = trim_right(take_line(rest));
    if (line.ends_with(line_after)) line.remove_suffix(line_after.size());
    return line;
}

}  // namespace

std::vector<CopyCandidate> find_copies(const CopySource& source,
                                       const CopyLimits& limits,
                                       const CancelToken& cancel) {
    if (source.before.size() < kMatchBytesMin || limits.places_max == 0) return {};
    std::string_view below = source.after;
    const std::string_view line_after = trim(take_line(below));
    // The line at the cursor is not finished: it says nothing about how lines go on.
    CopySearch search(source.before, limits, cancel);
    search.search_backward(source.before.substr(0, source.before.rfind('\n') + 1));
    search.search_forward(below);
    for (const std::string_view other : source.others) {
        search.search_forward(other);
    }
    const std::vector<Place> places = search.take_places();

    const std::string_view line_below = first_full_line(below.substr(0, kRestBytesMax));
    std::vector<std::string_view> continuations;
    std::unordered_map<std::string_view, std::size_t> known;  // text -> index of its candidate
    std::vector<CopyCandidate> candidates;
    std::vector<std::size_t> longest_bytes;  // by candidate
    for (const Place& place : places) {
        const std::string_view continuation =
            continuations.emplace_back(continuation_of(place.rest, line_after));
        if (is_blank(continuation) || continuation.size() > limits.line_bytes_max) {
            continue;
        }
        const auto [found, is_new] = known.try_emplace(continuation, candidates.size());
        if (is_new) {
            const std::string_view match =
                source.before.substr(source.before.size() - place.match_bytes);
            longest_bytes.push_back(place.match_bytes);
            candidates.push_back(
                {.text = std::string(continuation), .match_characters = count_characters(match)});
        }
        CopyCandidate& candidate = candidates[found->second];
        std::string_view place_below = place.rest;
        take_line(place_below);
        candidate.fits_line_below |=
            !line_below.empty() && first_full_line(place_below) == line_below;
    }
    candidates.resize(std::min(candidates.size(), limits.candidates_max));
    for (std::size_t c = 0; c < candidates.size(); ++c) {
        CopyCandidate& candidate = candidates[c];
        for (std::size_t i = 0; i < places.size(); ++i) {
            if (2 * places[i].match_bytes < longest_bytes[c]) break;
            if (is_blank(continuations[i])) continue;
            ++(continuations[i] == candidate.text ? candidate.agreeing : candidate.disagreeing);
        }
    }
    return candidates;
}

}  // namespace hearth::assist

// Copies: how the line at the cursor would go on if it went on as it did elsewhere, in the same
// document or in an open one. Pure functions over text; no model, no syntax. The longest run of
// text that stands both before the cursor and elsewhere decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/cancel_token.h"

namespace hearth::assist {

struct CopySource {
    std::string_view before;                   ///< the document up to the cursor
    std::string_view after;                    ///< and from there on
    std::span<const std::string_view> others;  ///< open documents, most recently used first
};

/// What bounds the work, whatever the text.
struct CopyLimits {
    std::size_t searched_bytes_max = 4U << 20;  ///< nearest to the cursor first, then `others`
    std::size_t match_bytes_max = 512;          ///< longer matches tell no more
    std::size_t compared_bytes_max = 1U << 20;  ///< beyond the first eight bytes of all matches
    std::size_t matches_max = 1U << 16;         ///< after so many, of any length, the search ends
    std::size_t places_max = 64;       ///< the longest matches, which are looked at closely
    std::size_t line_bytes_max = 240;  ///< longer lines are not offered
    std::size_t candidates_max = 4;
};

/// Where a line was found by what stands around it (framed_line.h).
struct LineFrame {
    std::int32_t lines = 0;  ///< alike at its best place, below and above it; 0: not found so
    /// Of the places where at least half as many are alike: how many have this line, and how many
    /// another.
    std::int32_t agreeing = 0;
    std::int32_t disagreeing = 0;
};

struct CopyCandidate {
    /// The rest of the line, without blanks at its end and without what stands right of the cursor
    /// already; never blank.
    std::string text;
    std::int32_t match_characters = 0;  ///< at its best place; 0: not found so
    /// Of the places whose match is at least half as long: how many go on alike, and how many do
    /// not.
    std::int32_t agreeing = 0;
    std::int32_t disagreeing = 0;
    /// At one of its places the line below is the document's own line below.
    bool fits_line_below = false;
    LineFrame frame = {};
};

/// Best first: the longest match, of equal ones the nearest before the cursor, then the nearest
/// after it, then the others in their order. Empty when cancelled.
std::vector<CopyCandidate> find_copies(const CopySource& source,
                                       const CopyLimits& limits,
                                       const CancelToken& cancel);

}  // namespace hearth::assist

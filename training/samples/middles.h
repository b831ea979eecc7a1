// Where a fill-in-the-middle sample is cut: the four kinds of middle that an editor asks for.
#pragma once

#include <optional>
#include <string_view>

#include "training/samples/random.h"
#include "training/samples/source_text.h"

namespace hearth::training {

enum class MiddleKind {
    line_tail,   ///< from a character in a line to the line's end
    lines,       ///< one to five whole lines, mostly one
    characters,  ///< any run of characters
    syntactic,   ///< what is in a pair of brackets, or an indented block
};

/// Line tails 35 %, lines 35 %, characters 8 %, syntactic 22 %.
MiddleKind pick_middle_kind(Random& random);

/// A middle of that kind, never empty, at most 600 bytes, between characters; nothing if a few
/// tries found no place for it in `text`.
std::optional<Span> pick_middle(std::string_view text, MiddleKind kind, Random& random);

}  // namespace hearth::training

// Small bugs made on purpose: one line of a window is changed the way people err.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "training/samples/random.h"

namespace hearth::training {

enum class Mutation {
    other_identifier,   ///< another name that is in scope
    typo,               ///< a letter of a name dropped, doubled or swapped
    bracket,            ///< one of ) ] } ; dropped or doubled
    quote,              ///< a quote dropped
    number,             ///< a number one too high or too low
    condition,          ///< a condition negated, or its negation dropped
    comparison,         ///< another comparison operator
    dropped_return,     ///< a return that is gone
    null_check,         ///< compared with null the wrong way round
    swapped_arguments,  ///< the arguments of a call in the wrong order
    arithmetic,         ///< another arithmetic operator
    boolean,            ///< true for false
    and_or,             ///< and for or
    none,               ///< nothing is wrong
};

constexpr std::size_t kMutationCount = 13;  // without `none`

const char* to_string(Mutation mutation);

/// The line with one such bug in it, or nothing if the line has no place for it. `names` are the
/// other identifiers around.
std::optional<std::string> mutate(std::string_view line,
                                  Mutation mutation,
                                  const std::vector<std::string_view>& names,
                                  Random& random);

struct FixPair {
    Mutation mutation = Mutation::none;
    std::string_view before, good_line, after;  ///< views into the text
    std::string bad_line;
};

/// A window of 9 to 19 lines of `text` with that bug in one of them; nothing if a few tries found
/// no place.
std::optional<FixPair> make_fix_pair(std::string_view text, Mutation mutation, Random& random);

/// 20 % none, the others equally often.
Mutation pick_mutation(Random& random);

}  // namespace hearth::training

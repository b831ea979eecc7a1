// FixCandidates: the lines that are one small edit away from one that may be wrong. The edits are
// the ways people err, backwards: another name, a bracket or quote too many or too few, the next
// operator, a number off by one, a missing return. Pure functions over text, the same for all
// languages; which of them is right is for the model to say.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::assist {

/// A line without its end, and what stands around it.
struct FixPlace {
    std::string_view before, marked, after;
};

/// More are not looked at; edits of names, which are the most, come last.
inline constexpr std::size_t kFixCandidatesMax = 512;

/// Each once, the marked line not among them, in no order of worth.
std::vector<std::string> find_fix_candidates(const FixPlace& place);

}  // namespace hearth::assist

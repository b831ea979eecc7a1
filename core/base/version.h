// What was built: the release and the exact build. Programs of one build refuse parts of another by
// this id.
#pragma once

#include <string_view>

namespace hearth {

/// The release, as `major.minor.patch`.
std::string_view version();

/// The release, the commit and a hash of uncommitted changes: equal in all programs of one build.
std::string_view build_id();

}  // namespace hearth

// The memory of the machine.
#pragma once

#include <optional>
#include <string>

#include "core/compute/backend.h"

namespace hearth::compute {

/// What the system says it could give this process without swapping, within the limits of its
/// control groups (v1 and v2): cached files count as free. Empty where it does not say.
/// `root`: of /proc and /sys, for tests.   Thread: any.
std::optional<DeviceMemory> host_memory(const std::string& root = "");

}  // namespace hearth::compute

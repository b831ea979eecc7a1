// The memory of the machine.
#pragma once

#include <optional>

#include "core/compute/backend.h"

namespace hearth::compute {

/// What the system says it could give without swapping: cached files count as free. Empty where it
/// does not say.   Thread: any.
std::optional<DeviceMemory> host_memory();

}  // namespace hearth::compute

// Which device serves, and what it is in words.
#pragma once

#include <optional>
#include <string>

#include "core/base/result.h"

namespace hearth::cuda {

struct Device {
    int index = 0;
    bool can_overlap_kernels = false;  ///< where the code is for compute capability 9.0 or newer
    bool has_bf16 = false;             ///< tensor cores for it: for 8.0 or newer
    std::string
        description;  ///< "NVIDIA H100, 80 GiB, compute capability 9.0, driver for CUDA 13.0"
};

/// Takes device `wanted`, or of all that can serve the one with the most memory, for this process.
/// Errors: unavailable, in one sentence.
Result<Device> choose_device(std::optional<int> wanted);

/// The compute capability, 10 * major + minor, that the code was compiled for which serves the
/// device that was chosen; 0: this build holds none. Older than the device where the driver
/// translates it: a kernel does what its code was compiled for.
int code_capability();

}  // namespace hearth::cuda

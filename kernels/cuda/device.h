// Which device serves, and what it is in words.
#pragma once

#include <optional>
#include <string>

#include "core/base/result.h"

namespace hearth::cuda {

struct Device {
    int index = 0;
    /// "NVIDIA H100, 80 GiB, compute capability 9.0, driver for CUDA 13.0"
    std::string description;
    // Known once the device was chosen.
    bool can_overlap_kernels = false;  ///< where the code is for compute capability 9.0 or newer
    bool has_bf16 = false;             ///< tensor cores for it: for 8.0 or newer
};

/// Device `wanted`, or of all that can serve the one with the most memory. Only asks the driver:
/// sets nothing up.
/// Errors: unavailable, in one sentence.
Result<Device> find_device(std::optional<int> wanted);

/// Takes the device that find_device finds for the calling thread.
/// Errors: also unavailable where this build has no code for it.
Result<Device> choose_device(std::optional<int> wanted);

/// The compute capability, 10 * major + minor, that the code was compiled for which serves the
/// device that was chosen; 0: this build holds none. Older than the device where the driver
/// translates it: a kernel does what its code was compiled for.
int code_capability();

}  // namespace hearth::cuda

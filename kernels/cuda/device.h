// Which device serves, and what it is in words.
#pragma once

#include <optional>
#include <string>

#include "core/base/result.h"

namespace hearth::cuda {

struct Device {
    int index = 0;
    bool can_overlap_kernels = false;  ///< from compute capability 9.0 on
    bool has_bf16 = false;             ///< tensor cores for it: from compute capability 8.0 on
    std::string
        description;  ///< "NVIDIA H100, 80 GiB, compute capability 9.0, driver for CUDA 13.0"
};

/// Takes device `wanted`, or of all that can serve the one with the most memory, for this process.
/// Errors: unavailable, in one sentence.
Result<Device> choose_device(std::optional<int> wanted);

/// Whether this build holds code for the device that was chosen.
bool has_code_for_device();

}  // namespace hearth::cuda

// Which device serves, and what it is in words.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace hearth::cuda {

struct Device {
    int index = 0;
    /// "NVIDIA H100 (GPU 1 of 4, counted from 0), 80 GiB, compute capability 9.0, driver 580.159.04
    /// for CUDA 13.0"
    std::string description;
    // Known once the device was chosen.
    bool can_overlap_kernels = false;  ///< where the code is for compute capability 9.0 or newer
    bool has_bf16 = false;             ///< tensor cores for it: for 8.0 or newer
};

/// What this build was compiled for, in CMake's words: "80-real,90a-real,89-virtual".
std::string_view compiled_code();

/// Whether such code runs on a device of compute capability `major`.`minor`: machine code of the
/// same major and at most its minor, "90a" only on 9.0, "120f" on its family; what the driver
/// translates ("virtual") on all from it on.
bool has_code_for(std::string_view code, int major, int minor);

/// The version in /proc/driver/nvidia/version; empty where there is none.
std::string driver_version_of(std::string_view text);

/// Device `wanted`, or of all that `code` can serve the one with the most memory. Only asks the
/// driver: sets nothing up.
/// Errors: unavailable, in one sentence: what was found, what to do.
Result<Device> find_device(std::optional<int> wanted, std::string_view code = compiled_code());

/// Takes the device that find_device finds for the calling thread.
/// Errors: also unavailable where the device does not take this build's code.
Result<Device> choose_device(std::optional<int> wanted);

/// The compute capability, 10 * major + minor, that the code was compiled for which serves the
/// device that was chosen; 0: this build holds none. Older than the device where the driver
/// translates it: a kernel does what its code was compiled for.
int code_capability();

}  // namespace hearth::cuda

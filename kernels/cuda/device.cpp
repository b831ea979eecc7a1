#include "kernels/cuda/device.h"

#include <cuda_runtime.h>

#include "kernels/cuda/check.h"

namespace hearth::cuda {
namespace {

/// Turing: the oldest that CUDA 13 compiles for.
constexpr int kMajorMin = 7;
constexpr int kMinorMin = 5;
/// Hopper: the oldest whose kernels may start before their predecessor has ended.
constexpr int kCapabilityOverlap = 90;
/// Ampere: the oldest whose tensor cores multiply BF16.
constexpr int kCapabilityBf16 = 80;

Failure unavailable(const std::string& why) {
    return fail(ErrorCode::unavailable, why, "cuda");
}

std::string version_text(int version) {
    constexpr int kMajor = 1000;
    constexpr int kMinor = 10;
    return std::to_string(version / kMajor) + "." + std::to_string(version % kMajor / kMinor);
}

std::string capability_text(const cudaDeviceProp& properties) {
    return std::to_string(properties.major) + "." + std::to_string(properties.minor);
}

bool is_new_enough(const cudaDeviceProp& properties) {
    return properties.major > kMajorMin ||
           (properties.major == kMajorMin && properties.minor >= kMinorMin);
}

Result<int> count_devices() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    static_cast<void>(cudaGetLastError());
    if (error == cudaErrorInsufficientDriver) {
        int driver = 0;
        static_cast<void>(cudaDriverGetVersion(&driver));
        if (driver == 0) return unavailable("no NVIDIA driver is installed");
        return unavailable("the NVIDIA driver is too old (for CUDA " + version_text(driver) +
                           "); update it");
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
        return unavailable("no NVIDIA GPU was found");
    }
    if (error != cudaSuccess) {
        return unavailable(std::string("the NVIDIA driver does not answer: ") +
                           cudaGetErrorString(error));
    }
    return count;
}

}  // namespace

Result<Device> find_device(std::optional<int> wanted) {
    HEARTH_TRY(const int count, count_devices());
    if (wanted && (*wanted < 0 || *wanted >= count)) {
        return unavailable("there is no GPU " + std::to_string(*wanted) + ", only 0 to " +
                           std::to_string(count - 1));
    }
    std::string too_old;
    int best = -1;
    cudaDeviceProp best_properties{};
    for (int i = wanted.value_or(0); i < (wanted ? *wanted + 1 : count); ++i) {
        cudaDeviceProp properties{};
        HEARTH_CUDA(cudaGetDeviceProperties(&properties, i));
        if (!is_new_enough(properties)) {
            too_old = std::string(properties.name) + " has compute capability " +
                      capability_text(properties) + ", 7.5 (Turing) is the oldest that can serve";
        } else if (best < 0 || properties.totalGlobalMem > best_properties.totalGlobalMem) {
            best = i;
            best_properties = properties;
        }
    }
    if (best < 0) return unavailable(too_old);
    int driver = 0;
    HEARTH_CUDA(cudaDriverGetVersion(&driver));
    constexpr std::size_t kGibibyte = std::size_t{1} << 30;
    const std::size_t gibibytes = (best_properties.totalGlobalMem + kGibibyte / 2) / kGibibyte;
    return Device{.index = best,
                  .description = std::string(best_properties.name) + ", " +
                                 std::to_string(gibibytes) + " GiB, compute capability " +
                                 capability_text(best_properties) + ", driver for CUDA " +
                                 version_text(driver)};
}

Result<Device> choose_device(std::optional<int> wanted) {
    HEARTH_TRY(Device device, find_device(wanted));
    HEARTH_CUDA(cudaSetDevice(device.index));
    const int capability = code_capability();
    if (capability == 0) {
        return unavailable("this build has no code for it: " + device.description);
    }
    device.can_overlap_kernels = capability >= kCapabilityOverlap;
    device.has_bf16 = capability >= kCapabilityBf16;
    return device;
}

}  // namespace hearth::cuda

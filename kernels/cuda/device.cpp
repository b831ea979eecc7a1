#include "kernels/cuda/device.h"

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

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

/// The driver's own version with a space before it, or nothing.
std::string driver_text() {
    std::ifstream file("/proc/driver/nvidia/version");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const std::string version = driver_version_of(text);
    return version.empty() ? version : " " + version;
}

/// "80, 90a, 89-virtual"
std::string code_text(std::string_view code) {
    std::string text;
    std::istringstream words{std::string(code)};
    for (std::string word; std::getline(words, word, ',');) {
        text += (text.empty() ? "" : ", ") + word.substr(0, word.find("-real"));
    }
    return text;
}

std::string missing_gpu_text() {
    std::string text = "the NVIDIA driver" + driver_text() + " found no GPU";
    if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
        return text + "; CUDA_VISIBLE_DEVICES is \"" + visible + "\", which may hide it";
    }
    return text + "; see whether nvidia-smi lists one, and whether this container may use it";
}

Result<int> count_devices() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    static_cast<void>(cudaGetLastError());
    if (error == cudaErrorInsufficientDriver) {
        const std::string wanted = version_text(CUDART_VERSION);
        int driver = 0;
        static_cast<void>(cudaDriverGetVersion(&driver));
        if (driver == 0) {
            return unavailable("no NVIDIA driver is installed; a GPU needs one for CUDA " + wanted +
                               " or newer");
        }
        return unavailable("the NVIDIA driver" + driver_text() + " is too old: it is for CUDA " +
                           version_text(driver) + ", this build wants " + wanted + "; update it");
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
        return unavailable(missing_gpu_text());
    }
    if (error != cudaSuccess) {
        return unavailable("the NVIDIA driver" + driver_text() +
                           " does not answer: " + cudaGetErrorString(error) +
                           "; see what nvidia-smi says, restart the machine after an update");
    }
    return count;
}

/// Why a device cannot serve; empty: it can.
std::string fault_of(const cudaDeviceProp& properties, std::string_view code) {
    const std::string found = std::string(properties.name) + " has compute capability " +
                              capability_text(properties) + ", ";
    if (!is_new_enough(properties)) return found + "7.5 (Turing) is the oldest that can serve";
    if (has_code_for(code, properties.major, properties.minor)) return {};
    const std::string name = std::to_string(properties.major) + std::to_string(properties.minor);
    return found + "and this build has code for " + code_text(code) +
           "; take a release, or build with -DHEARTH_CUDA_ARCHITECTURES=" + name;
}

Result<std::string> describe(const cudaDeviceProp& properties, int index, int count) {
    int driver = 0;
    HEARTH_CUDA(cudaDriverGetVersion(&driver));
    constexpr std::size_t kGibibyte = std::size_t{1} << 30;
    const std::size_t gibibytes = (properties.totalGlobalMem + kGibibyte / 2) / kGibibyte;
    std::string text = properties.name;
    if (count > 1) {
        text +=
            " (GPU " + std::to_string(index) + " of " + std::to_string(count) + ", counted from 0)";
    }
    return text + ", " + std::to_string(gibibytes) + " GiB, compute capability " +
           capability_text(properties) + ", driver" + driver_text() + " for CUDA " +
           version_text(driver);
}

}  // namespace

std::string_view compiled_code() {
    return HEARTH_CUDA_CODE;
}

bool has_code_for(std::string_view code, int major, int minor) {
    std::istringstream words{std::string(code)};
    for (std::string word; std::getline(words, word, ',');) {
        int number = 0;
        const char* end = word.data() + word.size();
        const auto [rest_begin, error] = std::from_chars(word.data(), end, number);
        // "native" and the like: whatever the machine that built it has.
        if (error != std::errc()) return true;
        const std::string_view rest(rest_begin, end);
        const int wanted = 10 * major + minor;
        const bool is_same_major = number / 10 == major;
        if (rest.starts_with('a') ? number == wanted
            : rest == "-virtual"  ? number <= wanted
                                  : is_same_major && number <= wanted) {
            return true;
        }
    }
    return false;
}

std::string driver_version_of(std::string_view text) {
    // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Tue Nov ..."
    const std::string line(text.substr(0, text.find('\n')));
    std::istringstream words(line);
    for (std::string word; words >> word;) {
        const bool is_version = word.find('.') != std::string::npos &&
                                word.find_first_not_of("0123456789.") == std::string::npos &&
                                std::isdigit(static_cast<unsigned char>(word.front())) != 0;
        if (is_version) return word;
    }
    return {};
}

Result<Device> find_device(std::optional<int> wanted, std::string_view code) {
    HEARTH_TRY(const int count, count_devices());
    if (wanted && (*wanted < 0 || *wanted >= count)) {
        return unavailable("there is no GPU " + std::to_string(*wanted) + ", only 0 to " +
                           std::to_string(count - 1) + "; see HEARTH_CUDA_DEVICE");
    }
    std::string faults;
    int best = -1;
    cudaDeviceProp best_properties{};
    for (int i = wanted.value_or(0); i < (wanted ? *wanted + 1 : count); ++i) {
        cudaDeviceProp properties{};
        HEARTH_CUDA(cudaGetDeviceProperties(&properties, i));
        const std::string fault = fault_of(properties, code);
        if (!fault.empty()) {
            // Alike devices have one.
            if (faults.find(fault) == std::string::npos)
                faults += (faults.empty() ? "" : "; ") + fault;
        } else if (best < 0 || properties.totalGlobalMem > best_properties.totalGlobalMem) {
            best = i;
            best_properties = properties;
        }
    }
    if (best < 0) return unavailable(faults);
    HEARTH_TRY(std::string description, describe(best_properties, best, count));
    return Device{.index = best, .description = std::move(description)};
}

Result<Device> choose_device(std::optional<int> wanted) {
    HEARTH_TRY(Device device, find_device(wanted));
    HEARTH_CUDA(cudaSetDevice(device.index));
    const int capability = code_capability();
    if (capability == 0) {
        return unavailable("this build's code, for " + code_text(compiled_code()) +
                           ", does not run on " + device.description + "; update the driver");
    }
    device.can_overlap_kernels = capability >= kCapabilityOverlap;
    device.has_bf16 = capability >= kCapabilityBf16;
    return device;
}

}  // namespace hearth::cuda

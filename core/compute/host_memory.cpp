#include "core/compute/host_memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace hearth::compute {

std::optional<DeviceMemory> host_memory() {
    constexpr std::int64_t kKibibyte = 1024;
    std::ifstream file("/proc/meminfo");
    DeviceMemory memory{.is_host = true};
    std::string label;
    std::int64_t kibibytes = 0;
    while (file >> label >> kibibytes) {
        if (label == "MemTotal:") memory.total_bytes = kibibytes * kKibibyte;
        if (label == "MemAvailable:") memory.free_bytes = kibibytes * kKibibyte;
        file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
    if (memory.free_bytes == 0) return std::nullopt;
    return memory;
}

}  // namespace hearth::compute

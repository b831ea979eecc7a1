#include "core/compute/host_memory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>

namespace hearth::compute {
namespace {

/// What a hierarchy of control groups says of memory, and where.
struct GroupFiles {
    const char* folder;  ///< of the topmost group
    const char* limit;
    const char* used;
    const char* stat_prefix;  ///< of the counts that include the groups below
};
constexpr GroupFiles kVersion1{
    "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"};
constexpr GroupFiles kVersion2{"/sys/fs/cgroup", "memory.max", "memory.current", ""};

/// Empty where there is no number: v2 writes "max" for none.
std::optional<std::int64_t> read_number(const std::string& path) {
    std::ifstream file(path);
    std::int64_t number = 0;
    if (file >> number) return number;
    return std::nullopt;
}

std::int64_t cached_bytes(const std::string& path, const std::string& prefix) {
    std::ifstream file(path);
    std::string label;
    std::int64_t bytes = 0;
    std::int64_t cached = 0;
    while (file >> label >> bytes) {
        const bool is_cached = label == prefix + "active_file" || label == prefix + "inactive_file";
        if (is_cached) cached += bytes;
    }
    return cached;
}

/// Cuts `memory` to the limits of a group and of all above it. A container may see the name that
/// its group has outside: then the folders of that name are missing, and the topmost is its own.
void keep_within(DeviceMemory& memory,
                 const std::string& top,
                 std::string group,
                 GroupFiles files) {
    while (true) {
        const std::string folder = top + group + "/";
        const auto limit = read_number(folder + files.limit);
        const auto used = read_number(folder + files.used);
        if (limit && used) {
            const std::int64_t cached = cached_bytes(folder + "memory.stat", files.stat_prefix);
            const std::int64_t kept = std::max<std::int64_t>(0, *used - cached);
            memory.total_bytes = std::min(memory.total_bytes, *limit);
            memory.free_bytes = std::clamp<std::int64_t>(
                *limit - kept, 0, std::max<std::int64_t>(0, memory.free_bytes));
        }
        if (group.empty()) return;
        group.resize(group.rfind('/'));
    }
}

/// Lines of "number:controllers:/group".
void keep_within_groups(DeviceMemory& memory, const std::string& root) {
    std::ifstream file(root + "/proc/self/cgroup");
    std::string line;
    while (std::getline(file, line)) {
        const std::size_t group = line.find(":/");
        if (group == std::string::npos) continue;
        const std::string controllers = line.substr(0, group);
        const bool is_version_2 = controllers == "0:";
        if (!is_version_2 && !controllers.ends_with(":memory")) continue;
        const GroupFiles& files = is_version_2 ? kVersion2 : kVersion1;
        keep_within(memory, root + files.folder, line.substr(group + 1), files);
    }
}

}  // namespace

std::optional<DeviceMemory> host_memory(const std::string& root) {
    constexpr std::int64_t kKibibyte = 1024;
    std::ifstream file(root + "/proc/meminfo");
    DeviceMemory memory{.is_host = true};
    std::string label;
    std::int64_t kibibytes = 0;
    while (file >> label >> kibibytes) {
        if (label == "MemTotal:") memory.total_bytes = kibibytes * kKibibyte;
        if (label == "MemAvailable:") memory.free_bytes = kibibytes * kKibibyte;
        file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
    if (memory.free_bytes == 0) return std::nullopt;
    keep_within_groups(memory, root);
    return memory;
}

}  // namespace hearth::compute

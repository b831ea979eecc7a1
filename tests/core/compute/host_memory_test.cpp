#include "core/compute/host_memory.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"

namespace hearth::compute {
namespace {

constexpr std::int64_t kMib = 1 << 20;

/// The files of a machine with 1000 MiB, of which 800 are free.
struct Machine {
    Machine() {
        write("proc/meminfo", "MemTotal: 1024000 kB\nMemAvailable: 819200 kB\nHugePages: 0\n");
    }

    void write(const std::string& name, const std::string& text) const {
        const std::filesystem::path path = folder.path() / name;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }
    void write_mib(const std::string& name, std::int64_t mib) const {
        write(name, std::to_string(mib * kMib) + "\n");
    }
    void check(std::int64_t free_mib, std::int64_t total_mib) const {
        const auto memory = host_memory(folder.path().string());
        REQUIRE(memory);
        CHECK(memory->is_host);
        CHECK(memory->free_bytes == free_mib * kMib);
        CHECK(memory->total_bytes == total_mib * kMib);
    }

    test::TemporaryFolder folder;
};

TEST_CASE("the machine's memory is what the system says", "[compute][host_memory]") {
    const Machine machine;
    machine.check(800, 1000);
    // This one, in whatever group the test runs.
    const auto memory = host_memory();
    REQUIRE(memory);
    CHECK(memory->free_bytes <= memory->total_bytes);
    const test::TemporaryFolder nothing;
    CHECK_FALSE(host_memory(nothing.path().string()));
}

TEST_CASE("a control group's limit counts, and its cached files are free",
          "[compute][host_memory]") {
    const Machine machine;
    machine.write("proc/self/cgroup", "0::/user/hearth\n");
    const std::string group = "sys/fs/cgroup/user/hearth/";
    machine.write(group + "memory.max", "max\n");
    machine.write_mib(group + "memory.current", 300);
    machine.check(800, 1000);
    machine.write_mib(group + "memory.max", 500);
    machine.check(200, 500);
    machine.write(group + "memory.stat",
                  "anon 1\nactive_file " + std::to_string(60 * kMib) + "\ninactive_file " +
                      std::to_string(40 * kMib) + "\n");
    machine.check(300, 500);
    // Of the group above it as well.
    machine.write_mib("sys/fs/cgroup/user/memory.max", 400);
    machine.write_mib("sys/fs/cgroup/user/memory.current", 350);
    machine.check(50, 400);
    machine.write_mib("sys/fs/cgroup/user/memory.current", 450);
    machine.check(0, 400);
}

TEST_CASE("so does the limit of a group of the first version, under a name from outside",
          "[compute][host_memory]") {
    const Machine machine;
    machine.write("proc/self/cgroup", "9:cpu:/\n4:memory:/docker/1234\n0::/\n");
    const std::string group = "sys/fs/cgroup/memory/";
    machine.write(group + "memory.limit_in_bytes", "9223372036854771712\n");
    machine.write_mib(group + "memory.usage_in_bytes", 300);
    machine.check(800, 1000);
    machine.write_mib(group + "memory.limit_in_bytes", 600);
    machine.write(group + "memory.stat",
                  "active_file 0\ntotal_active_file " + std::to_string(100 * kMib) + "\n");
    machine.check(400, 600);
}

}  // namespace
}  // namespace hearth::compute

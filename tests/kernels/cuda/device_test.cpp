// Which device serves, what it is called, and why none does.
#include "kernels/cuda/device.h"

#include <cstdlib>

#include <catch2/catch.hpp>

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/cuda/emulated/cuda_runtime.h"
#include "tests/kernels/cuda/emulated/other_device.h"

namespace hearth::cuda {
namespace {

constexpr const char* kHopperOnly = "90a-real";

std::string fault(std::string_view code = compiled_code()) {
    const auto device = find_device(std::nullopt, code);
    REQUIRE_FALSE(device);
    CHECK(device.error().code == ErrorCode::unavailable);
    CHECK(device.error().text.find('\n') == std::string::npos);
    return device.error().text;
}

TEST_CASE("a device is named", "[cuda][device]") {
    const auto backend = make_cuda_backend({});
    REQUIRE(backend);
    CHECK((*backend)->name() == "cuda");
    // Between the two words the driver's own version, where there is one.
    CHECK_THAT((*backend)->description(),
               Catch::StartsWith("emulated, 1 GiB, compute capability 9.0, driver") &&
                   Catch::EndsWith(" for CUDA 13.0"));
}

TEST_CASE("without a device that can serve one sentence says why and what to do",
          "[cuda][device]") {
    const OtherDevice restore;
    unsetenv("CUDA_VISIBLE_DEVICES");
    SECTION("no driver") {
        simt::device.driver_version = 0;
        CHECK(fault() == "no NVIDIA driver is installed; a GPU needs one for CUDA 13.0 or newer");
    }
    SECTION("too old a driver") {
        simt::device.driver_version = 12040;
        CHECK_THAT(fault(),
                   Catch::StartsWith("the NVIDIA driver") &&
                       Catch::EndsWith(" is too old: it is for CUDA 12.4, this build wants 13.0; "
                                       "update it"));
    }
    SECTION("no device") {
        simt::device.is_there = false;
        CHECK_THAT(fault(), Catch::Contains(" found no GPU; see whether nvidia-smi lists one"));
        setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
        CHECK_THAT(
            fault(),
            Catch::Contains(" found no GPU; CUDA_VISIBLE_DEVICES is \"-1\", which may hide"));
        unsetenv("CUDA_VISIBLE_DEVICES");
    }
    SECTION("too old a device") {
        simt::device.major = 7;
        CHECK(fault() ==
              "emulated has compute capability 7.0, 7.5 (Turing) is the oldest that can serve");
    }
    SECTION("no code for the device") {
        simt::device.major = 8;
        simt::device.minor = 6;
        CHECK(fault(kHopperOnly) ==
              "emulated has compute capability 8.6, and this build has code for 90a; take a "
              "release, or build with -DHEARTH_CUDA_ARCHITECTURES=86");
    }
    SECTION("the number of none") {
        CHECK_THAT(find_device(3).error().text,
                   Catch::StartsWith("there is no GPU 3, only 0 to 0"));
    }
}

TEST_CASE("of several devices one with code for it serves, with most memory", "[cuda][device]") {
    const OtherDevice restore;
    simt::device.others = {{"large", 8, 0, std::size_t{80} << 30},
                           {"old", 6, 1, std::size_t{96} << 30},
                           {"larger", 9, 0, std::size_t{8} << 30}};
    const auto found = [](std::string_view code, std::optional<int> wanted = std::nullopt) {
        const auto device = find_device(wanted, code);
        if (!device) return device.error().text;
        CHECK_THAT(
            device->description,
            Catch::Contains("(GPU " + std::to_string(device->index) + " of 4, counted from 0)"));
        return device->description.substr(0, device->description.find(' '));
    };
    CHECK(found(compiled_code()) == "large");
    CHECK(found(kHopperOnly) == "larger");
    CHECK(found(kHopperOnly, 0) == "emulated");
    CHECK_THAT(found(kHopperOnly, 1), Catch::StartsWith("large has compute capability 8.0, and"));
    // Each that cannot serve is named, alike ones once.
    simt::device.others.push_back(simt::device.others[1]);
    simt::device.others.erase(simt::device.others.begin() + 2);
    simt::device.major = 8;
    CHECK_THAT(
        found(kHopperOnly),
        Catch::StartsWith("emulated has compute capability 8.0, ") &&
            Catch::Contains("; large has ") &&
            Catch::EndsWith("old has compute capability 6.1, 7.5 (Turing) is the oldest that "
                            "can serve"));
}

TEST_CASE("code runs on devices of its own kind, what is translated on all newer ones",
          "[cuda][device]") {
    struct Case {
        const char* code;
        int major, minor;
        bool is_served;
    };
    for (const auto& [code, major, minor, is_served] : {Case{"90a-real", 9, 0, true},
                                                        {"90a-real", 10, 0, false},
                                                        {"90a-real", 8, 9, false},
                                                        {"80-real", 8, 0, true},
                                                        {"80-real", 8, 9, true},
                                                        {"80-real", 9, 0, false},
                                                        {"86-real", 8, 0, false},
                                                        {"120f-real", 12, 1, true},
                                                        {"120-real", 12, 1, true},
                                                        {"89-virtual", 8, 6, false},
                                                        {"89-virtual", 8, 9, true},
                                                        {"89-virtual", 12, 0, true},
                                                        {"75-real,89-virtual", 10, 3, true},
                                                        {"75-real,89-virtual", 8, 0, false},
                                                        {"native", 8, 6, true},
                                                        {"", 9, 0, false}}) {
        INFO(code << " on " << major << "." << minor);
        CHECK(has_code_for(code, major, minor) == is_served);
    }
}

TEST_CASE("the driver's own version is read from its file", "[cuda][device]") {
    CHECK(driver_version_of("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12"
                            "\nGCC version:  gcc version 12.3.0") == "535.183.01");
    CHECK(driver_version_of("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  "
                            "Release Build  (root@host)") == "580.159.04");
    CHECK(driver_version_of("NVRM version: none\nGCC version: 12.3.0").empty());
    CHECK(driver_version_of("").empty());
}

}  // namespace
}  // namespace hearth::cuda

#include "core/compute/backend_registry.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"

namespace hearth::compute {
namespace {

BackendRegistry::Factory fails(const std::string& why) {
    return [why](const BackendOptions&) -> Result<std::unique_ptr<Backend>> {
        return fail(ErrorCode::unavailable, why);
    };
}

TEST_CASE("the best backend comes first, whatever the order of adding", "[compute][registry]") {
    BackendRegistry registry;
    registry.add("slow", 1, fails("slow"));
    registry.add("fast", 9, fails("fast"));
    registry.add("middling", 5, fails("middling"));
    CHECK(registry.names() == std::vector<std::string>{"fast", "middling", "slow"});
}

TEST_CASE("a backend for those who name it is no candidate", "[compute][registry]") {
    BackendRegistry registry;
    registry.add("reference", BackendRegistry::kNamedOnly, fails("asked for"));
    registry.add("cpu", 5, fails("broken"));
    CHECK(registry.names() == std::vector<std::string>{"cpu", "reference"});
    CHECK(registry.candidates() == std::vector<std::string>{"cpu"});
    CHECK(registry.make("reference", {}).error().text == "asked for");
    CHECK_THAT(registry.make("", {}).error().text,
               Catch::Contains("broken") && !Catch::Contains("asked for"));
}

TEST_CASE("an unknown backend is refused with the known names", "[compute][registry]") {
    BackendRegistry registry;
    registry.add("cpu", 5, fails("unused"));
    registry.add("reference", 1, fails("unused"));
    const auto backend = registry.make("gpu", {});
    REQUIRE_FALSE(backend);
    CHECK(backend.error().code == ErrorCode::not_found);
    CHECK_THAT(backend.error().text,
               Catch::Contains("\"gpu\"") && Catch::Contains("cpu, reference"));
}

TEST_CASE("a backend asked for by name does not give way to another", "[compute][registry]") {
    BackendRegistry registry;
    registry.add("cuda", 9, fails("the device is busy"));
    registry.load_accelerators(FAKE_ACCELERATORS);
    CHECK(registry.make("cuda", {}).error().text == "the device is busy");
    const auto best = registry.make("", {});
    REQUIRE(best);
    CHECK((*best)->name() == "fake");
}

TEST_CASE("when none can serve, each says why", "[compute][registry]") {
    BackendRegistry registry;
    registry.add("a", 2, fails("no device"));
    registry.add("b", 1, fails("no memory"));
    CHECK_THAT(registry.make("", {}).error().text,
               Catch::Contains("a: no device") && Catch::Contains("b: no memory"));
}

TEST_CASE("accelerators that cannot serve are left out with a sentence each",
          "[compute][registry]") {
    const test::TemporaryFolder folder;
    for (const char* name : {"good", "absent", "other_build", "silent"}) {
        std::filesystem::copy(std::string(FAKE_ACCELERATORS) + "/" + name + ".so", folder.path());
    }
    std::ofstream(folder.path() / "text.so") << "not a library";
    std::ofstream(folder.path() / "readme.txt") << "not even a name";
    BackendRegistry registry;
    const auto left_out = registry.load_accelerators(folder.path().string());
    CHECK(registry.names() == std::vector<std::string>{"fake"});
    REQUIRE(left_out.size() == 4);
    CHECK_THAT(left_out[0], Catch::Contains("absent.so") && Catch::Contains("no fake device"));
    CHECK_THAT(left_out[1],
               Catch::Contains("other_build.so") && Catch::Contains("of build 0.0.0-x"));
    CHECK_THAT(left_out[2],
               Catch::Contains("silent.so") && Catch::Contains("hearth_backend_entry"));
    CHECK_THAT(left_out[3], Catch::Contains("text.so"));
    CHECK(registry.device_of("fake") == "a fake device in its box");
    const auto backend = registry.make("fake", {});
    REQUIRE(backend);
    CHECK((*backend)->description() == "a fake device");
}

TEST_CASE("who names an accelerator that was left out hears why", "[compute][registry]") {
    const test::TemporaryFolder folder;
    const auto copy = [&](const char* kind, const char* name) {
        std::filesystem::copy(std::string(FAKE_ACCELERATORS) + "/" + kind + ".so",
                              folder.path() / name);
    };
    // By the name that it gives itself, or by its file's where it cannot be asked.
    copy("absent", "libhearth_x.so");
    copy("other_build", "libhearth_cuda.so");
    BackendRegistry registry;
    registry.add("cpu", 5, fails("unused"));
    registry.load_accelerators(folder.path().string());
    CHECK(registry.make("fake", {}).error().code == ErrorCode::unavailable);
    CHECK_THAT(registry.make("fake", {}).error().text,
               Catch::Contains("libhearth_x.so is left out: no fake device is plugged in"));
    CHECK_THAT(registry.make("cuda", {}).error().text,
               Catch::Contains("libhearth_cuda.so is left out: it is of build 0.0.0-x"));
    CHECK_THAT(
        registry.make("y", {}).error().text,
        Catch::StartsWith("no backend is called \"y\"; known here: cpu; its library would be ") &&
            Catch::EndsWith("/libhearth_y.so, which is not there"));
}

TEST_CASE("a missing folder of accelerators is no error", "[compute][registry]") {
    BackendRegistry registry;
    CHECK(registry.load_accelerators("/nonexistent/backends").empty());
    CHECK(registry.names().empty());
}

}  // namespace
}  // namespace hearth::compute

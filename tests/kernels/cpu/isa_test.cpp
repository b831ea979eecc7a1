#include "kernels/cpu/isa.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace hearth;
using cpu::Isa;

namespace {

/// What Linux says that the first processor has; empty where it does not.
std::set<std::string> processor_flags() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("flags", 0) != 0) continue;
        std::istringstream words(line);
        std::set<std::string> flags;
        for (std::string word; words >> word;) {
            flags.insert(word);
        }
        return flags;
    }
    return {};
}

}  // namespace

TEST_CASE("what the system says that the processor has is found", "[cpu][isa]") {
    const std::set<std::string> flags = processor_flags();
    const auto check = [&](Isa isa, const std::vector<std::string>& needed) {
        INFO(cpu::to_string(isa));
        // The other way round other tests find out: by an instruction that is none.
        if (std::ranges::all_of(needed, [&](const auto& flag) { return flags.contains(flag); })) {
            CHECK(cpu::is_supported(isa));
        }
    };
    check(Isa::avx2, {"avx2", "fma", "f16c"});
    check(Isa::avxvnni, {"avx2", "fma", "f16c", "avx_vnni"});
    check(Isa::avx512, {"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"});
    check(Isa::amx,
          {"avx2",
           "avx512f",
           "avx512bw",
           "avx512dq",
           "avx512vl",
           "avx512_vnni",
           "amx_tile",
           "amx_int8",
           "amx_bf16"});
}

TEST_CASE("the widest supported instruction set is taken when none is forced", "[cpu][isa]") {
    const auto chosen = cpu::choose_isa(nullptr);
    REQUIRE(chosen);
    REQUIRE(cpu::is_supported(*chosen));
    for (const Isa wider : {Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::amx}) {
        if (wider > *chosen) CHECK_FALSE(cpu::is_supported(wider));
    }
    CHECK(*cpu::choose_isa("") == *chosen);
}

TEST_CASE("a forced instruction set is taken or refused by name", "[cpu][isa]") {
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::amx}) {
        const std::string name(cpu::to_string(isa));
        const auto chosen = cpu::choose_isa(name.c_str());
        CAPTURE(name);
        REQUIRE(chosen.has_value() == cpu::is_supported(isa));
        if (chosen) {
            CHECK(*chosen == isa);
            CHECK(cpu::kernels_of(isa).name == name);
        } else {
            CHECK(chosen.error().code == ErrorCode::unsupported);
            CHECK(chosen.error().text.find(name) != std::string::npos);
        }
    }
    const auto unknown = cpu::choose_isa("sse9");
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().code == ErrorCode::invalid_argument);
}

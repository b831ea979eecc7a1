#include "kernels/cpu/isa.h"

#include <catch2/catch.hpp>

using namespace hearth;
using cpu::Isa;

TEST_CASE("the widest supported instruction set is taken when none is forced", "[cpu][isa]") {
    const auto chosen = cpu::choose_isa(nullptr);
    REQUIRE(chosen);
    REQUIRE(cpu::is_supported(*chosen));
    for (const Isa wider : {Isa::avx2, Isa::avx512}) {
        if (wider > *chosen) CHECK_FALSE(cpu::is_supported(wider));
    }
    CHECK(*cpu::choose_isa("") == *chosen);
}

TEST_CASE("a forced instruction set is taken or refused by name", "[cpu][isa]") {
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
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

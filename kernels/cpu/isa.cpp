#include "kernels/cpu/isa.h"

#include <array>

namespace hearth::cpu {
namespace {

constexpr std::array<Isa, 5> kWidestFirst = {
    Isa::amx, Isa::avx512, Isa::avxvnni, Isa::avx2, Isa::scalar};

std::string supported_names() {
    std::string names;
    for (const Isa isa : kWidestFirst) {
        if (!is_supported(isa)) continue;
        if (!names.empty()) names += ", ";
        names += to_string(isa);
    }
    return names;
}

}  // namespace

std::string_view to_string(Isa isa) {
    switch (isa) {
        case Isa::scalar:
            return "scalar";
        case Isa::avx2:
            return "avx2";
        case Isa::avxvnni:
            return "avxvnni";
        case Isa::avx512:
            return "avx512";
        case Isa::amx:
            return "amx";
    }
    return "unknown";
}

Result<Isa> choose_isa(const char* forced) {
    const std::string_view wanted = forced == nullptr ? std::string_view() : forced;
    for (const Isa isa : kWidestFirst) {
        if (wanted.empty() && is_supported(isa)) return isa;
        if (wanted != to_string(isa)) continue;
        if (is_supported(isa)) return isa;
        return fail(ErrorCode::unsupported,
                    "HEARTH_CPU_ISA asks for " + std::string(wanted) +
                        ", which this machine lacks; it has " + supported_names(),
                    "cpu");
    }
    return fail(ErrorCode::invalid_argument,
                "HEARTH_CPU_ISA is \"" + std::string(wanted) +
                    "\"; use scalar, avx2, avxvnni, avx512 or amx, or leave it unset",
                "cpu");
}

}  // namespace hearth::cpu

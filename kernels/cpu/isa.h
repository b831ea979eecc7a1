// Which instruction set the kernels use: the widest that the machine has, or the one that
// HEARTH_CPU_ISA names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "kernels/cpu/kernels.h"

namespace hearth::cpu {

enum class Isa : std::uint8_t {
    scalar,   ///< whatever the compiler's baseline is
    avx2,     ///< AVX2, FMA, F16C
    avxvnni,  ///< AVX2 and AVX-VNNI
    avx512,   ///< AVX-512 F, BW, DQ, VL and VNNI
    amx,      ///< AVX-512 and AMX with int8 and bfloat16
};

std::string_view to_string(Isa isa);

/// Whether this machine and its operating system run `isa`. For amx this asks the system to let
/// this process use the tile unit, as it must be asked once before.
bool is_supported(Isa isa);

/// `forced` is the value of HEARTH_CPU_ISA; null or empty: the widest supported.
/// Errors: invalid_argument for an unknown name, unsupported for one that the machine lacks.
Result<Isa> choose_isa(const char* forced);

const Kernels& kernels_of(Isa isa);

}  // namespace hearth::cpu

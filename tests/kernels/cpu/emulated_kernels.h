// The kernel tables that are compiled from their own source against emulated intrinsics, so that
// machines without the instructions check them too.
#pragma once

#include "kernels/cpu/kernels.h"

namespace hearth::cpu {

/// AVX-512 by SIMDe: runs on any x86-64 machine.
extern const Kernels kEmulatedAvx512Kernels;
/// The two instructions of AVX-VNNI by SIMDe, all else as it is: needs AVX2.
extern const Kernels kEmulatedAvxVnniKernels;
/// The tile unit in plain loops over the emulated AVX-512: any x86-64 machine.
Kernels emulated_amx_kernels();

}  // namespace hearth::cpu

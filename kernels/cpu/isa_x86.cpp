// What an x86-64 machine can run, asked of CPUID (and XGETBV, by the compiler's runtime).
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/cpu/isa.h"

namespace hearth::cpu {
namespace {

/// Clang 14 has no name for this one in __builtin_cpu_supports.
bool has_f16c() {
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/// Clang 14 has no name for this one either.
bool has_avx_vnni() {
    constexpr unsigned kFeatures = 7;
    constexpr unsigned kAvxVnni = 1U << 4;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid_count(kFeatures, 0, &eax, &ebx, &ecx, &edx) == 0 || eax < 1) return false;
    __cpuid_count(kFeatures, 1, eax, ebx, ecx, edx);
    return (eax & kAvxVnni) != 0;
}

/// Tiles, and their products of int8 and of bfloat16.
bool has_amx() {
    constexpr unsigned kFeatures = 7;
    constexpr unsigned kBfloat = 1U << 22;
    constexpr unsigned kTile = 1U << 24;
    constexpr unsigned kInt8 = 1U << 25;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid_count(kFeatures, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
    return (edx & kBfloat) != 0 && (edx & kTile) != 0 && (edx & kInt8) != 0;
}

/// Linux hands out the registers of the tile unit to processes that ask, for all their threads; an
/// older one, or one that forbids the call, says no.
bool request_tiles() {
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

const Kernels& amx_kernels() {
    static const Kernels kernels = make_amx_kernels();
    return kernels;
}

}  // namespace

bool is_supported(Isa isa) {
    switch (isa) {
        case Isa::scalar:
            return true;
        case Isa::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
        case Isa::avxvnni:  // has no state of its own that a system would have to keep
            return is_supported(Isa::avx2) && has_avx_vnni();
        case Isa::avx512:
            return is_supported(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
        case Isa::amx:
            return is_supported(Isa::avx512) && has_amx() && request_tiles();
    }
    return false;
}

const Kernels& kernels_of(Isa isa) {
    switch (isa) {
        case Isa::amx:
            return amx_kernels();
        case Isa::avx512:
            return kAvx512Kernels;
        case Isa::avxvnni:
            return kAvxVnniKernels;
        case Isa::avx2:
            return kAvx2Kernels;
        case Isa::scalar:
            break;
    }
    return kScalarKernels;
}

}  // namespace hearth::cpu

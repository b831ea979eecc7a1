// What an x86-64 machine can run, asked of CPUID (and XGETBV, by the compiler's runtime).
#include "kernels/cpu/isa.h"

namespace hearth::cpu {

bool is_supported(Isa isa) {
    switch (isa) {
        case Isa::scalar:
            return true;
        case Isa::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                   __builtin_cpu_supports("f16c");
        case Isa::avx512:
            return false;
    }
    return false;
}

const Kernels& kernels_of(Isa isa) {
    switch (isa) {
        case Isa::avx2:
            return kAvx2Kernels;
        case Isa::avx512:
        case Isa::scalar:
            break;
    }
    return kScalarKernels;
}

}  // namespace hearth::cpu

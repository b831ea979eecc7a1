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
            return is_supported(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    }
    return false;
}

const Kernels& kernels_of(Isa isa) {
    switch (isa) {
        case Isa::avx512:
            return kAvx512Kernels;
        case Isa::avx2:
            return kAvx2Kernels;
        case Isa::scalar:
            break;
    }
    return kScalarKernels;
}

}  // namespace hearth::cpu

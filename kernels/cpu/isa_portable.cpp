// Machines other than x86-64: the portable kernels only.
#include "kernels/cpu/isa.h"

namespace hearth::cpu {

bool is_supported(Isa isa) {
    return isa == Isa::scalar;
}

const Kernels& kernels_of(Isa) {
    return kScalarKernels;
}

}  // namespace hearth::cpu

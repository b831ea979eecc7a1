// Products on the processor's AMX tiles. Nothing else is in this file: all of it is compiled for
// processors that have them.
#include <immintrin.h>

#include "training/trainer/math_amx_unit.h"
#include "training/trainer/math_bfloat_rounding.h"

namespace hearth::trainer {

void amx_gemm(const Gemm<float>& product, GemmWorkspace& workspace) {
    BfloatDriver<AmxUnit<cpu::ProcessorTiles>, ProcessorRounding>::run(product, workspace);
}

}  // namespace hearth::trainer

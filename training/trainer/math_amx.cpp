// Products on the processor's AMX tiles. Nothing else is in this file: all of it is compiled for
// processors that have them.
#include "training/trainer/math_amx_unit.h"

namespace hearth::trainer {

void amx_gemm(const Gemm<float>& product, GemmWorkspace& workspace) {
    BfloatDriver<AmxUnit<cpu::ProcessorTiles>>::run(product, workspace);
}

}  // namespace hearth::trainer

// Products on the processor's AMX tiles. Nothing else is in this file: all of it is compiled for
// processors that have them.
#include "kernels/cpu/simd/tile_unit.h"
#include "training/trainer/math_amx_driver.h"

namespace hearth::trainer {

void amx_gemm(const Gemm<float>& product, GemmWorkspace& workspace) {
    AmxDriver<cpu::ProcessorTiles>::run(product, workspace);
}

}  // namespace hearth::trainer

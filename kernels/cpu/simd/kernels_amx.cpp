// The kernels for AMX: those for AVX-512 but for quantised weights and many tokens, and for latent
// attention. Compiled with the flags of both, so it may include intrinsics and plain structs only,
// as kernels_avx512.cpp.
#include "kernels/cpu/simd/tile_table.h"

namespace hearth::cpu {

Kernels make_amx_kernels() {
    return with_tiles<ProcessorTiles, kAvx512Kernels>("amx");
}

}  // namespace hearth::cpu

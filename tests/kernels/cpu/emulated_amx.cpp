// The AMX kernels from their own source: AVX-512 by emulated/, the tile unit by EmulatedTiles.
#include "kernels/cpu/simd/tile_table.h"
#include "tests/kernels/cpu/emulated_kernels.h"
#include "tests/support/emulated_tiles.h"

namespace hearth::cpu {

Kernels emulated_amx_kernels() {
    return with_tiles<hearth::test::EmulatedTiles, kEmulatedAvx512Kernels>("amx (emulated)");
}

}  // namespace hearth::cpu

// The AVX-512 tile from its own source, over an emulation of the intrinsics.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>

#include "training/trainer/math_avx512_tile.h"

namespace hearth::trainer {
namespace {

constexpr Math<float> kMath = make_math<Avx512Tile>("avx512 emulated");

}  // namespace

const Math<float>& emulated_avx512_math() {
    return kMath;
}

}  // namespace hearth::trainer

// The Math table for AVX-512.
#include <immintrin.h>

#include "training/trainer/math_avx512_tile.h"

namespace hearth::trainer {
namespace {

constexpr Math<float> kMath = make_math<Avx512Tile>("avx512");

}  // namespace

const Math<float>& avx512_math() {
    return kMath;
}

}  // namespace hearth::trainer

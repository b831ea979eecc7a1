// Products of pairs of bfloat16 in AVX-512. Nothing else is in this file: all of it is compiled for
// processors that have them.
#include <immintrin.h>

#include "training/trainer/math_bfloat_rounding.h"
#include "training/trainer/math_bfloat_tile.h"

namespace hearth::trainer {
namespace {

struct ProcessorPairs {
    static __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
        return _mm512_dpbf16_ps(
            sum, __builtin_bit_cast(__m512bh, a), __builtin_bit_cast(__m512bh, b));
    }
};

}  // namespace

void avx512_bfloat_gemm(const Gemm<float>& product, GemmWorkspace& workspace) {
    BfloatDriver<Avx512BfloatTile<ProcessorPairs>, ProcessorRounding>::run(product, workspace);
}

}  // namespace hearth::trainer

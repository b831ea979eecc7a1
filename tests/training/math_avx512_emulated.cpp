// The AVX-512 tiles from their own source, over an emulation of the intrinsics.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>

#include "training/trainer/math_bfloat_tile.h"

namespace hearth::trainer {
namespace {

/// A bfloat16 is the upper half of a float.
struct EmulatedPairs {
    static __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
        const auto low = [](__m512i pairs) {
            return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        };
        const auto high = [](__m512i pairs) {
            return _mm512_castsi512_ps(
                _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U))));
        };
        return _mm512_fmadd_ps(low(a), low(b), _mm512_fmadd_ps(high(a), high(b), sum));
    }
};

constexpr Math<float> kMath = make_math<Avx512Tile>("avx512 emulated");

}  // namespace

const Math<float>& emulated_avx512_math() {
    return kMath;
}

void emulated_bfloat_gemm(const Gemm<float>& product, GemmWorkspace& workspace) {
    BfloatDriver<Avx512BfloatTile<EmulatedPairs>, PortableRounding>::run(product, workspace);
}

}  // namespace hearth::trainer

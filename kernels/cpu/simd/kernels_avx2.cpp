// The kernels for AVX2, FMA and F16C. Compiled with those flags, so it may include intrinsics and
// plain structs only: no templates of the standard library, no inline functions of other rooms.
#include "kernels/cpu/simd/lanes_avx2.h"
#include "kernels/cpu/simd/rows_256.h"
#include "kernels/cpu/simd/vec_avx2.h"
#include "kernels/cpu/simd/vector_table.h"

namespace hearth::cpu {

extern constinit const Kernels kAvx2Kernels = make_kernels<Ints>("avx2");

}  // namespace hearth::cpu

// The kernels for AVX2, FMA, F16C and AVX-VNNI: those for AVX2 but for the multiply-adds of 8-bit
// numbers. Compiled with those flags, so it may include intrinsics and plain structs only, as
// kernels_avx2.cpp.
#include "kernels/cpu/simd/lanes_avxvnni.h"
#include "kernels/cpu/simd/lanes_vnni.h"
#include "kernels/cpu/simd/rows_256.h"
#include "kernels/cpu/simd/vec_avx2.h"
#include "kernels/cpu/simd/vector_table.h"

namespace hearth::cpu {

extern constinit const Kernels kAvxVnniKernels = make_kernels<Ints>("avxvnni");

}  // namespace hearth::cpu

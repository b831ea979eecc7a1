// The AVX-512 kernels from their own source: <immintrin.h> is the one in emulated/. The table gets
// a name of its own.
#define kAvx512Kernels kEmulatedAvx512Kernels
#include "kernels/cpu/simd/kernels_avx512.cpp"

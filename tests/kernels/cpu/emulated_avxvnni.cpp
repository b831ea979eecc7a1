// The AVX-VNNI kernels from their own source, compiled for AVX2, with the two instructions that
// AVX2 lacks emulated. The table gets a name of its own.
#include <immintrin.h>
#include <simde/x86/avx512/dpbusd.h>
#include <simde/x86/avx512/dpwssd.h>

#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#define _mm256_dpwssd_avx_epi32 simde_mm256_dpwssd_epi32
#define kAvxVnniKernels kEmulatedAvxVnniKernels
#include "kernels/cpu/simd/kernels_avxvnni.cpp"

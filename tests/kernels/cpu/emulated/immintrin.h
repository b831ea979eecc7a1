// Stands in for the compiler's <immintrin.h> where the AVX-512 kernels are compiled for a machine
// without AVX-512: SIMDe's functions under the native names, and the few that SIMDe 0.7.4 lacks,
// put together from their 256-bit halves. Multiply-adds are fused here as they are in the machine.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstring>

// Names that come without aliases.
using __mmask16 = simde__mmask16;
using __mmask64 = simde__mmask64;
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
#ifndef _MM_FROUND_TO_NEAREST_INT
#define _MM_FROUND_TO_NEAREST_INT SIMDE_MM_FROUND_TO_NEAREST_INT
#endif

namespace hearth_emulated {

template <typename To, typename From>
To bits_as(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <typename Half>
struct Halves {
    Half low, high;
};

inline simde__m512 mm512_cvtph_ps(simde__m256i a) {
    const auto in = bits_as<Halves<simde__m128i>>(a);
    return bits_as<simde__m512>(
        Halves<simde__m256>{simde_mm256_cvtph_ps(in.low), simde_mm256_cvtph_ps(in.high)});
}
inline simde__m256i mm512_cvtps_ph(simde__m512 a) {
    const auto in = bits_as<Halves<simde__m256>>(a);
    return bits_as<simde__m256i>(
        Halves<simde__m128i>{simde_mm256_cvtps_ph(in.low, 0), simde_mm256_cvtps_ph(in.high, 0)});
}
inline simde__m512i mm512_cvtps_epi32(simde__m512 a) {
    const auto in = bits_as<Halves<simde__m256>>(a);
    return bits_as<simde__m512i>(
        Halves<simde__m256i>{simde_mm256_cvtps_epi32(in.low), simde_mm256_cvtps_epi32(in.high)});
}
inline simde__m512i mm512_cvtepu16_epi32(simde__m256i a) {
    const auto in = bits_as<Halves<simde__m128i>>(a);
    return bits_as<simde__m512i>(Halves<simde__m256i>{simde_mm256_cvtepu16_epi32(in.low),
                                                      simde_mm256_cvtepu16_epi32(in.high)});
}
inline simde__m512i mm512_cvtepi8_epi32(simde__m128i a) {
    return bits_as<simde__m512i>(Halves<simde__m256i>{
        simde_mm256_cvtepi8_epi32(a), simde_mm256_cvtepi8_epi32(simde_mm_srli_si128(a, 8))});
}
inline simde__m512 mm512_cvtepi32_ps(simde__m512i a) {
    const auto in = bits_as<Halves<simde__m256i>>(a);
    return bits_as<simde__m512>(
        Halves<simde__m256>{simde_mm256_cvtepi32_ps(in.low), simde_mm256_cvtepi32_ps(in.high)});
}

template <int kBits>
simde__m512i mm512_srai_epi32(simde__m512i a) {
    const auto in = bits_as<Halves<simde__m256i>>(a);
    return bits_as<simde__m512i>(Halves<simde__m256i>{simde_mm256_srai_epi32(in.low, kBits),
                                                      simde_mm256_srai_epi32(in.high, kBits)});
}

/// sign * a * b + c in each lane, rounded once.
template <typename Vector>
Vector fused(float sign, const Vector& a, const Vector& b, const Vector& c) {
    constexpr std::size_t kLanes = sizeof(Vector) / sizeof(float);
    struct Lanes {
        float at[kLanes];
    };
    const auto x = bits_as<Lanes>(a);
    const auto y = bits_as<Lanes>(b);
    auto z = bits_as<Lanes>(c);
    for (std::size_t i = 0; i < kLanes; ++i) {
        z.at[i] = std::fma(sign * x.at[i], y.at[i], z.at[i]);
    }
    return bits_as<Vector>(z);
}

}  // namespace hearth_emulated

#define _mm512_cvtph_ps(a) hearth_emulated::mm512_cvtph_ps(a)
// The kernels round to nearest only.
#define _mm512_cvtps_ph(a, rounding) hearth_emulated::mm512_cvtps_ph(a)
#define _mm512_cvtps_epi32(a) hearth_emulated::mm512_cvtps_epi32(a)
#define _mm512_cvtepi8_epi32(a) hearth_emulated::mm512_cvtepi8_epi32(a)
#define _mm512_cvtepi32_ps(a) hearth_emulated::mm512_cvtepi32_ps(a)
#define _mm512_cvtepu16_epi32(a) hearth_emulated::mm512_cvtepu16_epi32(a)

#define _mm512_srai_epi32(a, bits) hearth_emulated::mm512_srai_epi32<bits>(a)

#undef _mm_fmadd_ps
#undef _mm256_fmadd_ps
#undef _mm256_fnmadd_ps
#undef _mm512_fmadd_ps
#undef _mm512_fnmadd_ps
#define _mm_fmadd_ps(a, b, c) hearth_emulated::fused<simde__m128>(1.0F, a, b, c)
#define _mm256_fmadd_ps(a, b, c) hearth_emulated::fused<simde__m256>(1.0F, a, b, c)
#define _mm256_fnmadd_ps(a, b, c) hearth_emulated::fused<simde__m256>(-1.0F, a, b, c)
#define _mm512_fmadd_ps(a, b, c) hearth_emulated::fused<simde__m512>(1.0F, a, b, c)
#define _mm512_fnmadd_ps(a, b, c) hearth_emulated::fused<simde__m512>(-1.0F, a, b, c)

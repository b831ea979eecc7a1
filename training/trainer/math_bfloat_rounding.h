// Floats rounded by the processor's own conversion to bfloat16: to nearest, ties to even; what is
// too small for a normal number becomes zero. Whoever includes this has the intrinsics and is
// compiled for AVX-512 BF16, which every processor with AMX has too.
#pragma once

#include "training/trainer/math_impl.h"

namespace hearth::trainer {
namespace {

struct ProcessorRounding {
    static constexpr Index kLanes = 16;

    /// out[p] = the pair (in[2p], in[2p + 1]).
    static void pair_neighbours(const float* in, Index pairs, std::uint32_t* out) {
        Index p = 0;
        for (; p + kLanes <= pairs; p += kLanes) {
            const __m512 first = _mm512_loadu_ps(in + 2 * p);
            _mm512_storeu_si512(out + p, round(first, _mm512_loadu_ps(in + 2 * p + kLanes)));
        }
        if (p == pairs) return;
        const Index left = 2 * (pairs - p);
        const __m512 first = _mm512_maskz_loadu_ps(lanes_of(left), in + 2 * p);
        const __mmask16 rest = lanes_of(left > kLanes ? left - kLanes : 0);
        const __m512 second = _mm512_maskz_loadu_ps(rest, in + 2 * p + kLanes);
        _mm512_mask_storeu_epi32(out + p, lanes_of(pairs - p), round(first, second));
    }

    /// out[i] = the pair (low[i], high[i]).
    static void pair_rows(const float* low, const float* high, Index count, std::uint32_t* out) {
        const __m512i order = interleaved();
        Index i = 0;
        for (; i + kLanes <= count; i += kLanes) {
            const __m512i both = round(_mm512_loadu_ps(low + i), _mm512_loadu_ps(high + i));
            _mm512_storeu_si512(out + i, _mm512_permutexvar_epi16(order, both));
        }
        if (i == count) return;
        const __mmask16 lanes = lanes_of(count - i);
        const __m512i both =
            round(_mm512_maskz_loadu_ps(lanes, low + i), _mm512_maskz_loadu_ps(lanes, high + i));
        _mm512_mask_storeu_epi32(out + i, lanes, _mm512_permutexvar_epi16(order, both));
    }

  private:
    static __mmask16 lanes_of(Index count) {
        return static_cast<__mmask16>(count >= kLanes ? 0xFFFFU : (1U << count) - 1U);
    }
    /// Sixteen of each.
    static __m512i round(__m512 first, __m512 second) {
        return __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(second, first));
    }
    /// Words 0, 16, 1, 17 and so on.
    static __m512i interleaved() {
        const __m512i pair = _mm512_set1_epi32(0x00100000);
        const __m512i step = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        return _mm512_add_epi32(pair, _mm512_mullo_epi32(step, _mm512_set1_epi32(0x00010001)));
    }
};

}  // namespace
}  // namespace hearth::trainer

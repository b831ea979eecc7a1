// The table of an instruction set that has vectors: all but `Ints` is in the headers that this one
// includes. Included last, by each kernels_avx*.cpp; internal linkage.
#pragma once

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd/panel.h"
#include "kernels/cpu/simd/quantise_256.h"
#include "kernels/cpu/simd/vector_attention.h"
#include "kernels/cpu/simd/vector_kernels.h"
#include "kernels/cpu/simd/vector_mix.h"
#include "kernels/cpu/simd/vector_rounded_mix.h"

namespace hearth::cpu {
namespace {

template <typename Ints>
constexpr Kernels make_kernels(const char* name) {
    return {
        name,
        kPanelTokensMax,
        {dot_float<F32Row>,
         dot_float<F16Row>,
         dot_float<Bf16Row>,
         dot_32<Ints, Q80>,
         dot_32<Ints, Q40>,
         dot_32<Ints, Q50>,
         dot_32<Ints, Q51>,
         dot_32<Ints, Mxfp4>,
         dot_256<Ints, BlockQ4K>,
         dot_256<Ints, BlockQ5K>,
         dot_256<Ints, BlockQ6K>},
        {nullptr, quantise_q8, quantise_q8_k},
        rms_norm,
        swiglu,
        combine,
        {store_f16, store_q8_0, store_f32},
        {attend<F16Columns>, attend<Q80Columns>, attend<FloatColumns>},
        {decode_rows<F16Columns>, decode_rows<Q80Columns>, decode_rows<FloatColumns>},
        mix,
        mix_rounded,
        round_queries,
        store_rounded,
    };
}

}  // namespace
}  // namespace hearth::cpu

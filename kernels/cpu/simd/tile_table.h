// The table of kernels on a tile unit: `Tiles` is the unit, and `kOthers`, of AVX-512, does what is
// not done there. Included by kernels_amx.cpp; internal linkage.
#pragma once

#include "kernels/cpu/simd/lanes_avx512.h"
#include "kernels/cpu/simd/lanes_vnni.h"
#include "kernels/cpu/simd/tile_dot.h"
#include "kernels/cpu/simd/tile_rounded_mix.h"

namespace hearth::cpu {
namespace {

template <typename Tiles, const Kernels& kOthers>
Kernels with_tiles(const char* name) {
    Kernels kernels = kOthers;
    kernels.name = name;
    const auto set_32 = [&]<typename Type, WeightType kType>() {
        kernels.dot[static_cast<std::size_t>(kType)] =
            dot_with_tiles<Tiles, TileDot32<Tiles, Type>, kType, kOthers>;
    };
    const auto set_k = [&]<typename Type, WeightType kType>() {
        kernels.dot[static_cast<std::size_t>(kType)] =
            dot_with_tiles<Tiles, TileDotK<Tiles, Type>, kType, kOthers>;
    };
    set_32.template operator()<Q80, WeightType::q8_0>();
    set_32.template operator()<Q40, WeightType::q4_0>();
    set_32.template operator()<Q50, WeightType::q5_0>();
    set_32.template operator()<Q51, WeightType::q5_1>();
    set_32.template operator()<Mxfp4, WeightType::mxfp4>();
    set_k.template operator()<BlockQ4K, WeightType::q4_k>();
    set_k.template operator()<BlockQ5K, WeightType::q5_k>();
    set_k.template operator()<BlockQ6K, WeightType::q6_k>();
    kernels.mix_rounded = mix_rounded_with_tiles<Tiles, kOthers>;
    return kernels;
}

}  // namespace
}  // namespace hearth::cpu

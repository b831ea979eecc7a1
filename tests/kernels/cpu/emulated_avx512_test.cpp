// The AVX-512 kernels, compiled from their own source against emulated intrinsics, so that machines
// without AVX-512 check them too. Names: the table gets one of its own here.
#define kAvx512Kernels kEmulatedAvx512Kernels
#include "kernels/cpu/simd/kernels_avx512.cpp"
#undef kAvx512Kernels

#include <cstring>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/kernels/cpu/dot_check.h"
#include "tests/kernels/cpu/float_check.h"
#include "tests/kernels/cpu/mix_check.h"

namespace hearth::cpu {
namespace {

TEST_CASE("emulated AVX-512 dot products agree with dequantised weights", "[cpu][dot][avx512]") {
    for (const compute::Dtype dtype : test::kWeightDtypes) {
        test::check_dot(kEmulatedAvx512Kernels, dtype);
        test::check_extremes(kEmulatedAvx512Kernels, dtype);
        test::check_batch_invariance(kEmulatedAvx512Kernels, dtype);
    }
}

TEST_CASE("emulated AVX-512 rounds activations like the others", "[cpu][quantise][avx512]") {
    test::check_quantise(kEmulatedAvx512Kernels);
}

TEST_CASE("emulated AVX-512 float kernels agree with plain loops", "[cpu][avx512]") {
    test::check_rms_norm(kEmulatedAvx512Kernels);
    test::check_swiglu(kEmulatedAvx512Kernels);
    test::check_add_scaled(kEmulatedAvx512Kernels);
    test::check_store_f16(kEmulatedAvx512Kernels);
    test::check_store_q8_0(kEmulatedAvx512Kernels);
    test::check_attend(kEmulatedAvx512Kernels);
    test::check_mix(kEmulatedAvx512Kernels);
    test::check_decode_rows(kEmulatedAvx512Kernels);
}

TEST_CASE("AVX2 and AVX-512 give the same bits for quantised weights", "[cpu][dot][avx512]") {
    if (!is_supported(Isa::avx2)) return;
    std::mt19937 random(31);
    for (const compute::Dtype dtype : test::kWeightDtypes) {
        if (!compute::traits(dtype).is_quantised) continue;
        const test::DotCase c = test::make_case(kAvx2Kernels, dtype, 35, 1280, 22, random);
        const auto avx2 = test::run_dot(kAvx2Kernels, c, c.rows);
        const auto avx512 = test::run_dot(kEmulatedAvx512Kernels, c, c.rows);
        INFO(compute::traits(dtype).name);
        CHECK(std::memcmp(avx2.data(), avx512.data(), avx2.size() * sizeof(float)) == 0);
    }
}

TEST_CASE("AVX2 and AVX-512 give the same bits for latent attention", "[cpu][attention][avx512]") {
    if (!is_supported(Isa::avx2)) return;
    std::mt19937 random(33);
    for (const test::MixCase& c : test::kMixCases) {
        const test::MixInputs in = test::mix_inputs(c, random);
        const auto avx2 = test::run_mix(kAvx2Kernels, c, in, 0, c.rows);
        const auto avx512 = test::run_mix(kEmulatedAvx512Kernels, c, in, 0, c.rows);
        INFO("rows " << c.rows << " key_dim " << c.key_dim);
        CHECK(test::is_same_mix(avx2, avx512.data()));
    }
}

}  // namespace
}  // namespace hearth::cpu

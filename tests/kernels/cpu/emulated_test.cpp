// The kernels for machines that are not at hand: the same checks as for those that are, and the
// same bits as AVX2 where that is promised.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/isa.h"
#include "tests/kernels/cpu/dot_check.h"
#include "tests/kernels/cpu/emulated_kernels.h"
#include "tests/kernels/cpu/float_check.h"
#include "tests/kernels/cpu/mix_check.h"
#include "tests/kernels/cpu/rounded_mix_check.h"
#include "tests/support/emulated_tiles.h"

namespace hearth::cpu {
namespace {

const Kernels& emulated_amx() {
    static const Kernels amx = emulated_amx_kernels();
    return amx;
}

std::vector<const Kernels*> emulated_kernels() {
    const Kernels& amx = emulated_amx();
    if (is_supported(Isa::avx2)) return {&amx, &kEmulatedAvx512Kernels, &kEmulatedAvxVnniKernels};
    WARN("AVX-VNNI is not checked: its kernels need AVX2 beside what is emulated");
    return {&amx, &kEmulatedAvx512Kernels};
}

TEST_CASE("emulated dot products agree with dequantised weights", "[cpu][dot][emulated]") {
    for (const Kernels* kernels : emulated_kernels()) {
        for (const compute::Dtype dtype : test::kWeightDtypes) {
            test::check_dot(*kernels, dtype);
            test::check_extremes(*kernels, dtype);
            test::check_batch_invariance(*kernels, dtype);
            test::check_row_invariance(*kernels, dtype);
        }
    }
}

TEST_CASE("emulated kernels round activations like the others", "[cpu][quantise][emulated]") {
    for (const Kernels* kernels : emulated_kernels()) {
        test::check_quantise(*kernels);
    }
}

TEST_CASE("emulated float kernels agree with plain loops", "[cpu][emulated]") {
    for (const Kernels* kernels : emulated_kernels()) {
        test::check_rms_norm(*kernels);
        test::check_swiglu(*kernels);
        test::check_combine(*kernels);
        test::check_store_f16(*kernels);
        test::check_store_q8_0(*kernels);
        test::check_attend(*kernels);
        test::check_mix(*kernels);
        test::check_rounded_mix(*kernels);
        test::check_uneven_rounded_mix(*kernels);
        test::check_decode_rows(*kernels);
    }
}

TEST_CASE("AVX2 and what is emulated give the same bits for quantised weights",
          "[cpu][dot][emulated]") {
    if (!is_supported(Isa::avx2)) return;
    std::mt19937 random(31);
    for (const compute::Dtype dtype : test::kWeightDtypes) {
        if (!compute::traits(dtype).is_quantised) continue;
        // Row by row, and sixteen rows at a time with a rest.
        for (const std::int64_t tokens : {1, 3, 22, 140}) {
            const test::DotCase c = test::make_case(kAvx2Kernels, dtype, 35, 1280, tokens, random);
            const auto avx2 = test::run_dot(kAvx2Kernels, c, c.rows);
            for (const Kernels* kernels : emulated_kernels()) {
                const auto emulated = test::run_dot(*kernels, c, c.rows);
                INFO(kernels->name << " " << compute::traits(dtype).name << " tokens " << tokens);
                CHECK(std::memcmp(avx2.data(), emulated.data(), avx2.size() * sizeof(float)) == 0);
            }
        }
    }
}

TEST_CASE("quantised weights and many tokens go to the tile unit", "[cpu][dot][emulated]") {
    using hearth::test::EmulatedTiles;
    const Kernels& amx = emulated_amx();
    std::mt19937 random(35);
    for (const compute::Dtype dtype : test::kWeightDtypes) {
        if (!compute::traits(dtype).is_quantised) continue;
        INFO(compute::traits(dtype).name);
        const auto products = [&](std::int64_t rows, std::int64_t tokens) {
            const test::DotCase c = test::make_case(amx, dtype, rows, 512, tokens, random);
            const std::int64_t before = EmulatedTiles::product_count;
            test::run_dot(amx, c, c.rows);
            CHECK_FALSE(EmulatedTiles::is_configured);
            return EmulatedTiles::product_count - before;
        };
        CHECK(products(32, kPanelTokensMin) > 0);
        CHECK(products(32, kPanelTokensMin - 1) == 0);
        CHECK(products(15, 40) == 0);
        // Two panels, and three tiles of tokens: 256 columns take eight blocks' products, or four
        // steps of two.
        CHECK(products(32, 40) == 2 * 3 * 2 * 8);
    }
}

TEST_CASE("tokens of the tile unit may lie anywhere", "[cpu][dot][emulated]") {
    std::mt19937 random(36);
    for (const compute::Dtype dtype : {compute::Dtype::q5_1, compute::Dtype::q4_k}) {
        const test::DotCase c = test::make_case(emulated_amx(), dtype, 32, 512, 40, random);
        const auto expected = test::run_dot(emulated_amx(), c, c.rows);
        std::vector<std::size_t> order(c.activation_rows.size());
        std::iota(order.rbegin(), order.rend(), 0U);  // evenly spaced, from the last to the first
        for (int round = 0; round < 2; ++round) {
            test::DotCase moved = c;
            for (std::size_t t = 0; t < order.size(); ++t) {
                moved.activation_rows[t] = c.activation_rows[order[t]];
            }
            const auto found = test::run_dot(emulated_amx(), moved, c.rows);
            const auto rows = static_cast<std::size_t>(c.rows);
            for (std::size_t t = 0; t < order.size(); ++t) {
                CHECK(std::memcmp(found.data() + t * rows,
                                  expected.data() + order[t] * rows,
                                  rows * sizeof(float)) == 0);
            }
            std::shuffle(order.begin(), order.end(), random);
        }
    }
}

TEST_CASE("rounded latent attention of many rows goes to the tile unit", "[cpu][emulated]") {
    using hearth::test::EmulatedTiles;
    std::mt19937 random(37);
    const auto products = [&](std::int64_t rows) {
        const test::MixCase c{rows, 160, 128, 40};
        const std::int64_t before = EmulatedTiles::product_count;
        test::run_rounded_mix(emulated_amx(), c, test::rounded_mix_inputs(c, random), 0, rows);
        CHECK_FALSE(EmulatedTiles::is_configured);
        return EmulatedTiles::product_count - before;
    };
    CHECK(products(16) == 0);
    // Two calls; two tiles of rows with two of tokens times three of columns, and with eight of
    // values.
    CHECK(products(17) == 2 * 2 * (2 * 3 + 8));
}

TEST_CASE("AVX2 and what is emulated give the same bits for latent attention",
          "[cpu][attention][emulated]") {
    if (!is_supported(Isa::avx2)) return;
    std::mt19937 random(33);
    for (const test::MixCase& c : test::kMixCases) {
        const test::MixInputs in = test::mix_inputs(c, random);
        const auto avx2 = test::run_mix(kAvx2Kernels, c, in, 0, c.rows);
        for (const Kernels* kernels : emulated_kernels()) {
            const auto emulated = test::run_mix(*kernels, c, in, 0, c.rows);
            INFO(kernels->name << " rows " << c.rows << " key_dim " << c.key_dim);
            CHECK(test::is_same_mix(avx2, emulated.data()));
        }
        if (c.value_dim > c.key_dim) continue;
        const test::RoundedMixInputs rounded = test::rounded_mix_inputs(c, random);
        const auto rounded_avx2 = test::run_rounded_mix(kAvx2Kernels, c, rounded, 0, c.rows);
        for (const Kernels* kernels : emulated_kernels()) {
            const auto emulated = test::run_rounded_mix(*kernels, c, rounded, 0, c.rows);
            INFO(kernels->name << " rows " << c.rows << " key_dim " << c.key_dim);
            CHECK(test::is_same_mix(rounded_avx2, emulated.data()));
        }
    }
}

}  // namespace
}  // namespace hearth::cpu

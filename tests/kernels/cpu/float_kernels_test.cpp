#include <catch2/catch.hpp>

#include "tests/kernels/cpu/float_check.h"
#include "tests/kernels/cpu/mix_check.h"
#include "tests/kernels/cpu/rounded_mix_check.h"

using namespace hearth::cpu;

TEST_CASE("rms_norm agrees with a plain loop", "[cpu][norm]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_rms_norm(*kernels);
    }
}

TEST_CASE("swiglu agrees with a plain loop", "[cpu][swiglu]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_swiglu(*kernels);
    }
}

TEST_CASE("combine agrees with a plain loop", "[cpu]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_combine(*kernels);
    }
}

TEST_CASE("cache rows are rounded to halves, or to blocks", "[cpu][kv_store]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_store_f16(*kernels);
        test::check_store_q8_0(*kernels);
    }
}

TEST_CASE("attention agrees with a plain softmax", "[cpu][attention]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_attend(*kernels);
    }
}

TEST_CASE("attention over floats agrees with a plain softmax", "[cpu][attention]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_mix(*kernels);
        test::check_rounded_mix(*kernels);
        test::check_uneven_rounded_mix(*kernels);
        test::check_decode_rows(*kernels);
    }
}

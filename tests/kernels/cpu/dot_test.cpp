// Every dot kernel of every instruction set that runs here, against dequantised weights with the
// same rounding of activations, summed in double.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/activation.h"
#include "kernels/reference/dequantize.h"
#include "kernels/reference/quantize.h"
#include "tests/kernels/cpu/dot_check.h"
#include "tests/kernels/cpu/kernel_tables.h"

using namespace hearth;
using namespace hearth::cpu;
using compute::Dtype;

TEST_CASE("dot products agree with dequantised weights", "[cpu][dot]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        for (const Dtype dtype : test::kWeightDtypes) {
            test::check_dot(*kernels, dtype);
        }
    }
}

TEST_CASE("extreme quants do not overflow", "[cpu][dot]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        for (const Dtype dtype : test::kWeightDtypes) {
            test::check_extremes(*kernels, dtype);
        }
    }
}

TEST_CASE("a dot product is the same alone and in any tile", "[cpu][dot]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        for (const Dtype dtype : test::kWeightDtypes) {
            test::check_batch_invariance(*kernels, dtype);
        }
    }
}

TEST_CASE("a dot product is the same whatever rows lie beside its own", "[cpu][dot]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        for (const Dtype dtype : test::kWeightDtypes) {
            test::check_row_invariance(*kernels, dtype);
        }
    }
}

TEST_CASE("activations are rounded alike by every instruction set", "[cpu][quantise]") {
    for (const Kernels* kernels : test::runnable_kernels()) {
        test::check_quantise(*kernels);
    }
}

// The tensor cores' product of 16-bit floats; who holds what: kernels/cuda/mma_float.cuh. Products
// are summed in double and rounded once: the device's order of them is its own.
#pragma once

#include <array>
#include <stdexcept>

#include "core/compute/half.h"
#include "tests/kernels/cuda/emulated/simt.h"

namespace hearth::simt {

inline void mma_halves(float (&c)[4],
                       const unsigned (&a)[4],
                       const unsigned (&b)[2],
                       bool is_bf16,
                       std::source_location place = std::source_location::current()) {
    if (is_bf16 && (device.major < 8 || (device.code != 0 && device.code < 80))) {
        throw std::runtime_error("BF16 tensor cores before Ampere");
    }
    const OperandsOfWarp<unsigned> operands(a, b, place);
    const auto value = [is_bf16](unsigned word, unsigned k) -> double {
        const auto bits = static_cast<std::uint16_t>(word >> (16 * (k % 2)));
        return is_bf16 ? compute::bf16_to_float(bits) : compute::half_to_float(bits);
    };
    const unsigned lane = ::threadIdx.x % kWarpLanes;
    double sums[4] = {c[0], c[1], c[2], c[3]};
    for (unsigned t = 0; t < 4; ++t) {  // each holds columns 2 t, 2 t + 1, 8 + 2 t and 9 + 2 t
        const auto left = operands.of(lane / 4 * 4 + t);
        const std::array right{operands.of(8 * (lane % 4) + t),
                               operands.of(8 * (lane % 4) + 4 + t)};
        for (unsigned i = 0; i < 4; ++i) {
            for (unsigned k = 0; k < 4; ++k) {
                sums[i] += value(left.a[i / 2 + 2 * (k / 2)], k) * value(right[i % 2].b[k / 2], k);
            }
        }
    }
    for (unsigned i = 0; i < 4; ++i) {
        c[i] = static_cast<float>(sums[i]);
    }
}

}  // namespace hearth::simt

// The tensor cores of the emulated machine.
#include "tests/kernels/cuda/emulated/simt.h"

namespace hearth::simt {

void mma_s8(int (&c)[4], const int (&a)[4], const int (&b)[2], std::source_location place) {
    const OperandsOfWarp<int> operands(a, b, place);
    const unsigned lane = ::threadIdx.x % kWarpLanes;
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = lane / 4 + 8 * (i / 2);
        const unsigned column = 2 * (lane % 4) + i % 2;
        for (unsigned k = 0; k < 32; ++k) {
            const auto left = operands.of(4 * (row % 8) + k % 16 / 4);
            const auto right = operands.of(4 * column + k % 16 / 4);
            const auto byte = [k](int word) {
                return static_cast<int>(
                    static_cast<std::int8_t>(static_cast<unsigned>(word) >> (8 * (k % 4))));
            };
            c[i] += byte(left.a[row / 8 + 2 * (k / 16)]) * byte(right.b[k / 16]);
        }
    }
}

void load_matrices(unsigned (&out)[4],
                   const std::uint16_t* row,
                   bool is_transposed,
                   std::source_location place) {
    check_aligned(row);
    const std::byte* all = exchange(&row, sizeof(row), place);
    const unsigned lane = ::threadIdx.x % kWarpLanes;
    for (unsigned i = 0; i < 4; ++i) {
        out[i] = 0;
        for (unsigned k = 0; k < 2; ++k) {
            const unsigned from = is_transposed ? 2 * (lane % 4) + k : lane / 4;
            const unsigned column = is_transposed ? lane / 4 : 2 * (lane % 4) + k;
            const std::uint16_t* values = nullptr;
            std::memcpy(&values, all + (8 * i + from) * kLaneBytes, sizeof(values));
            out[i] |= static_cast<unsigned>(values[column]) << (16 * k);
        }
    }
}

}  // namespace hearth::simt

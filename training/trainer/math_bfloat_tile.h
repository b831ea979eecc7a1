// Blocks of a bfloat16 product in AVX-512 registers. `Pairs` adds products of pairs: the
// processor's own instruction, or an emulation in a test. Whoever includes this has the intrinsics.
#pragma once

#include "training/trainer/math_avx512_tile.h"
#include "training/trainer/math_bfloat_driver.h"

namespace hearth::trainer {
namespace {

/// 12 x 32 of C, as Avx512Tile has it.
template <typename Pairs>
struct Avx512BfloatTile {
    static constexpr Index kRows = Avx512Tile::kRows;
    static_assert(kBfloatColumns == Avx512Tile::kColumns);

    static void configure() {}
    static void release() {}

    static void multiply(Index width,
                         const std::uint16_t* strip,
                         const std::uint32_t* panel,
                         float* c,
                         Index c_row,
                         Index rows,
                         Index columns,
                         bool accumulate) {
        const auto* values = reinterpret_cast<const std::int32_t*>(strip);
        const Index pairs = width / 2;
        __m512 sums[kRows][2];
#pragma GCC unroll 12
        for (Index i = 0; i < kRows; ++i) {
            sums[i][0] = sums[i][1] = _mm512_setzero_ps();
        }
        for (Index p = 0; p < pairs; ++p) {
            const __m512i b0 = _mm512_loadu_si512(panel + p * kBfloatColumns);
            const __m512i b1 = _mm512_loadu_si512(panel + p * kBfloatColumns + 16);
#pragma GCC unroll 12
            for (Index i = 0; i < kRows; ++i) {
                const __m512i a = _mm512_set1_epi32(values[i * pairs + p]);
                sums[i][0] = Pairs::multiply_add(sums[i][0], a, b0);
                sums[i][1] = Pairs::multiply_add(sums[i][1], a, b1);
            }
        }
        Avx512Tile::store(sums, c, c_row, rows, columns, accumulate);
    }
};

}  // namespace
}  // namespace hearth::trainer

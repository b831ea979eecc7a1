// Matrix products in bfloat16 with sums in float, on tiles of 16 rows of 64 bytes. `Tiles` is the
// unit: the processor's own, or an emulation in a test.
#pragma once

#include "kernels/cpu/simd/tile_unit.h"
#include "training/trainer/math_impl.h"

namespace hearth::trainer {
namespace {

/// Rounds to the nearest bfloat16, ties to even. A NaN stays one: its quiet bit is set.
inline std::uint16_t to_bfloat(float value) {
    const auto bits = __builtin_bit_cast(std::uint32_t, value);
    const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    const std::uint32_t rounded = bits + 0x7FFFU + ((bits >> 16) & 1U);
    return static_cast<std::uint16_t>((is_nan ? (bits | 0x400000U) : rounded) >> 16);
}

/// C in blocks of 32 x 32: four tiles of sums, two of A, two of B. A is packed to rows of bfloat16,
/// B to rows of pairs (k, k + 1) side by side, as the unit wants it; k is padded with zeros to 32.
template <typename Tiles>
struct AmxDriver {
    static constexpr Index kBlock = 32;  // rows or columns of C, and k per tile
    static constexpr Index kPairs = kBlock / 2;

    static Index least(Index a, Index b) { return a < b ? a : b; }
    static Index padded(Index k) { return (k + kBlock - 1) / kBlock * kBlock; }

    static void run(const Gemm<float>& g, GemmWorkspace& workspace) {
        auto* panels = reinterpret_cast<std::uint32_t*>(workspace.b);
        auto* strips = reinterpret_cast<std::uint16_t*>(workspace.a);
        if (g.k == 0) return clear(g);
        Tiles::configure(cpu::TileConfig());
        for (Index column = 0; column < g.n; column += GemmWorkspace::kColumns) {
            const Index columns = least(GemmWorkspace::kColumns, g.n - column);
            for (Index first = 0; first < g.k; first += GemmWorkspace::kDepth) {
                const Index k = least(GemmWorkspace::kDepth, g.k - first);
                for (Index j = 0; j < columns; j += kBlock) {
                    pack_b(g,
                           column + j,
                           least(kBlock, columns - j),
                           first,
                           k,
                           panels + j * padded(k) / 2);
                }
                for (Index row = 0; row < g.m; row += GemmWorkspace::kRows) {
                    multiply_rows(g, row, column, columns, first, k, strips, panels);
                }
            }
        }
        Tiles::release();
    }

    static void clear(const Gemm<float>& g) {
        if (g.accumulate) return;
        for (Index i = 0; i < g.m; ++i) {
            for (Index j = 0; j < g.n; ++j) {
                g.c[i * g.c_row + j] = 0;
            }
        }
    }

    /// One panel of 32 columns: row p holds the pairs (2p, 2p + 1) of every column.
    static void pack_b(const Gemm<float>& g,
                       Index column,
                       Index columns,
                       Index first,
                       Index k,
                       std::uint32_t* panel) {
        const float* b = g.b + first * g.b_row + column * g.b_column;
        const Index pairs = padded(k) / 2;
        for (Index p = 0; p < pairs; ++p) {
            const Index low = 2 * p;
            for (Index j = 0; j < kBlock; ++j) {
                const float* at = b + j * g.b_column + low * g.b_row;
                const bool has_low = j < columns && low < k;
                const bool has_high = j < columns && low + 1 < k;
                const std::uint32_t a = has_low ? to_bfloat(at[0]) : 0U;
                const std::uint32_t c = has_high ? to_bfloat(at[g.b_row]) : 0U;
                panel[p * kBlock + j] = a | (c << 16);
            }
        }
    }

    /// `rows` rows of A, padded(k) values each; rows up to the next multiple of 32 are zero.
    static void pack_a(
        const Gemm<float>& g, Index row, Index rows, Index first, Index k, std::uint16_t* strip) {
        const Index width = padded(k);
        const Index rows_padded = padded(rows);
        const float* a = g.a + row * g.a_row + first * g.a_column;
        for (Index i = 0; i < rows_padded; ++i) {
            for (Index p = 0; p < width; ++p) {
                const bool is_in = i < rows && p < k;
                strip[i * width + p] =
                    is_in ? to_bfloat(a[i * g.a_row + p * g.a_column]) : std::uint16_t{0};
            }
        }
    }

    static void multiply_rows(const Gemm<float>& g,
                              Index row,
                              Index column,
                              Index columns,
                              Index first,
                              Index k,
                              std::uint16_t* strips,
                              const std::uint32_t* panels) {
        const Index rows = least(GemmWorkspace::kRows, g.m - row);
        const Index width = padded(k);
        pack_a(g, row, rows, first, k, strips);
        const bool accumulate = g.accumulate || first != 0;
        for (Index j = 0; j < columns; j += kBlock) {
            for (Index i = 0; i < rows; i += kBlock) {
                alignas(64) float block[kBlock * kBlock];
                multiply(width, strips + i * width, panels + j * width / 2, block);
                float* c = g.c + (row + i) * g.c_row + column + j;
                add(block,
                    least(kBlock, rows - i),
                    least(kBlock, columns - j),
                    c,
                    g.c_row,
                    accumulate);
            }
        }
    }

    /// block (32, 32) = strip (32, width) times panel.
    static void multiply(Index width,
                         const std::uint16_t* strip,
                         const std::uint32_t* panel,
                         float* block) {
        const Index strip_row = width * sizeof(std::uint16_t);
        const Index panel_row = kBlock * sizeof(std::uint32_t);
        Tiles::template zero<0>();
        Tiles::template zero<1>();
        Tiles::template zero<2>();
        Tiles::template zero<3>();
        for (Index p = 0; p < width; p += kBlock) {
            const std::uint32_t* pairs = panel + p / 2 * kBlock;
            Tiles::template load<4>(strip + p, strip_row);
            Tiles::template load<6>(pairs, panel_row);
            Tiles::template load<7>(pairs + kPairs, panel_row);
            Tiles::template multiply_bfloat<0, 4, 6>();
            Tiles::template multiply_bfloat<1, 4, 7>();
            Tiles::template load<5>(strip + kPairs * width + p, strip_row);
            Tiles::template multiply_bfloat<2, 5, 6>();
            Tiles::template multiply_bfloat<3, 5, 7>();
        }
        const Index block_row = kBlock * sizeof(float);
        Tiles::template store<0>(block, block_row);
        Tiles::template store<1>(block + kPairs, block_row);
        Tiles::template store<2>(block + kPairs * kBlock, block_row);
        Tiles::template store<3>(block + kPairs * kBlock + kPairs, block_row);
    }

    static void add(
        const float* block, Index rows, Index columns, float* c, Index c_row, bool accumulate) {
        for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < columns; ++j) {
                // The tiles were stored there, which the analyzer does not see.
                // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign)
                const float value = block[i * kBlock + j];
                c[i * c_row + j] = accumulate ? c[i * c_row + j] + value : value;
            }
        }
    }
};

}  // namespace
}  // namespace hearth::trainer

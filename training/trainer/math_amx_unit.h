// Blocks of a bfloat16 product on tiles of 16 rows of 64 bytes. `Tiles` is the tile unit: the
// processor's own, or an emulation in a test.
#pragma once

#include "kernels/cpu/simd/tile_unit.h"
#include "training/trainer/math_bfloat_driver.h"

namespace hearth::trainer {
namespace {

/// 32 x 32 of C: four tiles of sums, two of A, two of B.
template <typename Tiles>
struct AmxUnit {
    static constexpr Index kRows = 32;
    static constexpr Index kTileRows = 16;

    static void configure() { Tiles::configure(cpu::TileConfig()); }
    static void release() { Tiles::release(); }

    static void multiply(Index width,
                         const std::uint16_t* strip,
                         const std::uint32_t* panel,
                         float* c,
                         Index c_row,
                         Index rows,
                         Index columns,
                         bool accumulate) {
        const auto stride = static_cast<std::int64_t>(c_row);
        const bool is_whole = rows == kRows && columns == kBfloatColumns;
        if (is_whole) ask_ahead(c + kRows * c_row, c_row);
        if (is_whole && accumulate) {
            Sums::load(c, stride);
        } else {
            Sums::clear();
        }
        add_products(width, strip, panel);
        if (is_whole) return Sums::store(c, stride);
        alignas(64) float block[kRows * kBfloatColumns];
        Sums::store(block, kBfloatColumns);
        for (Index i = 0; i < rows; ++i) {
            write_row(block + i * kBfloatColumns, columns, c + i * c_row, accumulate);
        }
    }

  private:
    using Sums = cpu::SquareSums<Tiles>;

    /// The block below comes to the first-level cache while this one is multiplied.
    static void ask_ahead(const float* c, Index c_row) {
        for (Index i = 0; i < kRows; ++i, c += c_row) {
            __builtin_prefetch(c, 1);
            __builtin_prefetch(c + kTileRows, 1);
        }
    }

    static void add_products(Index width, const std::uint16_t* strip, const std::uint32_t* panel) {
        const Index strip_row = width * sizeof(std::uint16_t);
        const Index panel_row = kBfloatColumns * sizeof(std::uint32_t);
        for (Index p = 0; p < width; p += kBfloatDepth) {
            const std::uint32_t* pairs = panel + p / 2 * kBfloatColumns;
            Tiles::template load<4>(strip + p, strip_row);
            Tiles::template load<6>(pairs, panel_row);
            Tiles::template load<7>(pairs + kTileRows, panel_row);
            Tiles::template multiply_bfloat<0, 4, 6>();
            Tiles::template multiply_bfloat<1, 4, 7>();
            Tiles::template load<5>(strip + kTileRows * width + p, strip_row);
            Tiles::template multiply_bfloat<2, 5, 6>();
            Tiles::template multiply_bfloat<3, 5, 7>();
        }
    }

    static void write_row(const float* block, Index columns, float* c, bool accumulate) {
        const float keep = accumulate ? 1.0F : 0.0F;
        for (Index j = 0; !accumulate && j < columns; ++j) {
            c[j] = 0;
        }
#pragma omp simd
        for (Index j = 0; j < columns; ++j) {
            // The tiles were stored there, which the analyzer does not see.
            // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult)
            c[j] = keep * c[j] + block[j];
        }
    }
};

}  // namespace
}  // namespace hearth::trainer

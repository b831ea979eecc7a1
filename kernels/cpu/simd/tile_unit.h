// The tile unit of a processor with AMX: eight registers of at most 16 rows of 64 bytes, and
// products of two of them that are added to a third. What multiplies with it takes it as a template
// argument, so that a test can put an emulation in its place. Included by files that are compiled
// for such processors, here and in the trainer; internal linkage.
#pragma once

#include <cstdint>

namespace hearth::cpu {
namespace {

/// The shapes of the registers, as the unit reads them; all are of 16 rows of 64 bytes unless told.
struct alignas(64) TileConfig {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

/// Own asm throughout: the compiler's _tile_loadconfig (g++ 12) declares 8 bytes of the 64, its
/// loads do not say that they read memory, and its tile numbers cannot be template arguments.
struct ProcessorTiles {
    /// Every use of a tile lies between the two. What is left configured would be saved and
    /// restored with the thread's other registers.
    static void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config)); }
    static void release() { asm volatile("tilerelease"); }

    template <int kTile>
    static void zero() {
        asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
    }
    template <int kTile>
    static void load(const void* from, std::int64_t row_bytes) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(kTile)
                     : "memory");
    }
    template <int kTile>
    static void store(void* to, std::int64_t row_bytes) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(kTile)
                     : "memory");
    }
    /// sum += a * b of int8; four rows of b side by side in each of its rows. Exact.
    template <int kSum, int kA, int kB>
    static void multiply_int8() {
        asm volatile("tdpbssd %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(kB), "i"(kA), "i"(kSum));
    }
    /// The same, where those of b are unsigned.
    template <int kSum, int kA, int kB>
    static void multiply_int8_unsigned() {
        asm volatile("tdpbsud %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(kB), "i"(kA), "i"(kSum));
    }
    /// The same, where those of a are.
    template <int kSum, int kA, int kB>
    static void multiply_unsigned_int8() {
        asm volatile("tdpbusd %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(kB), "i"(kA), "i"(kSum));
    }
    /// sum += a * b of bfloat16; two rows of b side by side in each of its rows.
    template <int kSum, int kA, int kB>
    static void multiply_bfloat() {
        asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(kB), "i"(kA), "i"(kSum));
    }
};

/// Tiles 0 to 3 as a square of two by two, 32 rows of 32 numbers of 32 bits.
template <typename Tiles>
struct SquareSums {
    static constexpr std::int64_t kSide = 16;  ///< of a tile

    static void clear() {
        Tiles::template zero<0>();
        Tiles::template zero<1>();
        Tiles::template zero<2>();
        Tiles::template zero<3>();
    }
    /// Rows lie `stride` numbers apart.
    template <typename Number>
    static void load(const Number* from, std::int64_t stride) {
        static_assert(sizeof(Number) == 4);
        const std::int64_t row_bytes = stride * 4;
        const Number* below = from + kSide * stride;
        Tiles::template load<0>(from, row_bytes);
        Tiles::template load<1>(from + kSide, row_bytes);
        Tiles::template load<2>(below, row_bytes);
        Tiles::template load<3>(below + kSide, row_bytes);
    }
    template <typename Number>
    static void store(Number* to, std::int64_t stride) {
        static_assert(sizeof(Number) == 4);
        const std::int64_t row_bytes = stride * 4;
        Number* below = to + kSide * stride;
        Tiles::template store<0>(to, row_bytes);
        Tiles::template store<1>(to + kSide, row_bytes);
        Tiles::template store<2>(below, row_bytes);
        Tiles::template store<3>(below + kSide, row_bytes);
    }
};

}  // namespace
}  // namespace hearth::cpu

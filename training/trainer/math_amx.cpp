// Products on the processor's AMX tiles. Nothing else is in this file: all of it is compiled for
// processors that have them.
#include "training/trainer/math_amx_driver.h"

namespace hearth::trainer {
namespace {

/// Eight tiles of 16 rows of 64 bytes, as the unit reads its configuration.
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
    static void configure() {
        const TileConfig config;
        asm volatile("ldtilecfg %0" ::"m"(config));
    }
    static void release() { asm volatile("tilerelease"); }

    template <int tile>
    static void zero() {
        asm volatile("tilezero %%tmm%c0" ::"i"(tile));
    }
    template <int tile>
    static void load(const void* from, Index row_bytes) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(tile)
                     : "memory");
    }
    template <int sum, int a, int b>
    static void multiply() {
        asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(b), "i"(a), "i"(sum));
    }
    template <int tile>
    static void store(void* to, Index row_bytes) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(tile)
                     : "memory");
    }
};

}  // namespace

void amx_gemm(const Gemm<float>& product, GemmWorkspace& workspace) {
    AmxDriver<ProcessorTiles>::run(product, workspace);
}

}  // namespace hearth::trainer

// The tile unit of kernels/cpu/simd/tile_unit.h in plain loops, for machines that have none. Throws
// where the processor would fault: tiles that are not configured, or whose shapes do not fit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace hearth::test {

struct EmulatedTiles {
    static constexpr int kTiles = 8;
    static constexpr int kRows = 16;
    static constexpr int kRowBytes = 64;
    struct Tile {
        std::uint8_t bytes[kRows][kRowBytes];

        template <typename T>
        [[nodiscard]] T at(int row, int index) const {
            T value;
            std::memcpy(&value, bytes[row] + index * static_cast<int>(sizeof value), sizeof value);
            return value;
        }
        template <typename T>
        void set(int row, int index, T value) {
            std::memcpy(bytes[row] + index * static_cast<int>(sizeof value), &value, sizeof value);
        }
    };

    /// Since the thread began, for tests that ask whether the unit was used.
    static inline thread_local std::int64_t product_count = 0;

    /// Per thread, as a processor has it.
    static inline thread_local bool is_configured = false;
    static inline thread_local std::uint8_t rows_of[kTiles] = {};
    static inline thread_local std::uint16_t row_bytes_of[kTiles] = {};
    static inline thread_local Tile tiles[kTiles] = {};

    template <typename Config>
    static void configure(const Config& config) {
        for (int tile = 0; tile < kTiles; ++tile) {
            rows_of[tile] = config.rows[tile];
            row_bytes_of[tile] = config.row_bytes[tile];
            check(rows_of[tile] <= kRows && row_bytes_of[tile] <= kRowBytes,
                  "its shape is too large");
        }
        check(config.palette == 1 && config.start_row == 0, "the configuration is none");
        std::memset(tiles, 0, sizeof tiles);
        is_configured = true;
    }
    static void release() { is_configured = false; }

    template <int kTile>
    static void zero() {
        check_use(kTile);
        std::memset(&tiles[kTile], 0, sizeof tiles[kTile]);
    }
    template <int kTile>
    static void load(const void* from, std::int64_t row_bytes) {
        zero<kTile>();
        for (int row = 0; row < rows_of[kTile]; ++row) {
            std::memcpy(tiles[kTile].bytes[row],
                        static_cast<const char*>(from) + row * row_bytes,
                        row_bytes_of[kTile]);
        }
    }
    template <int kTile>
    static void store(void* to, std::int64_t row_bytes) {
        check_use(kTile);
        for (int row = 0; row < rows_of[kTile]; ++row) {
            std::memcpy(static_cast<char*>(to) + row * row_bytes,
                        tiles[kTile].bytes[row],
                        row_bytes_of[kTile]);
        }
    }

    template <int kSum, int kA, int kB>
    static void multiply_int8() {
        multiply_bytes<std::int8_t, std::int8_t, kSum, kA, kB>();
    }
    template <int kSum, int kA, int kB>
    static void multiply_int8_unsigned() {
        multiply_bytes<std::int8_t, std::uint8_t, kSum, kA, kB>();
    }
    template <int kSum, int kA, int kB>
    static void multiply_unsigned_int8() {
        multiply_bytes<std::uint8_t, std::int8_t, kSum, kA, kB>();
    }

    /// Sums of the even and of the odd places, each with fused multiply-adds from 0 on, then both
    /// together, then that to what was there.
    template <int kSum, int kA, int kB>
    static void multiply_bfloat() {
        check_product(kSum, kA, kB);
        for_sums(kSum, [](int i, int j) {
            float sums[2] = {};
            for (int k = 0; k < row_bytes_of[kA] / 2; ++k) {
                sums[k % 2] = std::fma(
                    bfloat(tiles[kA], i, k), bfloat(tiles[kB], k / 2, 2 * j + k % 2), sums[k % 2]);
            }
            tiles[kSum].set(i, j, tiles[kSum].at<float>(i, j) + (sums[0] + sums[1]));
        });
    }

  private:
    template <typename A, typename B, int kSum, int kA, int kB>
    static void multiply_bytes() {
        check_product(kSum, kA, kB);
        for_sums(kSum, [](int i, int j) {
            auto sum = tiles[kSum].at<std::int32_t>(i, j);
            for (int k = 0; k < row_bytes_of[kA]; ++k) {
                sum += tiles[kA].at<A>(i, k) * tiles[kB].at<B>(k / 4, 4 * j + k % 4);
            }
            tiles[kSum].set(i, j, sum);
        });
    }
    static void check(bool is_right, const char* what) {
        if (!is_right) throw std::logic_error(std::string("a tile was used wrongly: ") + what);
    }
    static void check_use(int tile) {
        check(is_configured, "it is not configured");
        check(rows_of[tile] > 0 && row_bytes_of[tile] > 0, "it has no rows");
    }
    static void check_product(int sum, int a, int b) {
        for (const int tile : {sum, a, b}) {
            check_use(tile);
        }
        check(sum != a && sum != b && a != b, "two operands are one tile");
        check(rows_of[sum] == rows_of[a], "the sum has other rows than the first factor");
        check(row_bytes_of[sum] == row_bytes_of[b], "the sum has other columns than the second");
        check(row_bytes_of[a] == 4 * rows_of[b], "the factors differ in depth");
        ++product_count;
    }
    template <typename Visit>
    static void for_sums(int tile, const Visit& visit) {
        for (int i = 0; i < rows_of[tile]; ++i) {
            for (int j = 0; j < row_bytes_of[tile] / 4; ++j) {
                visit(i, j);
            }
        }
    }
    static float bfloat(const Tile& tile, int row, int index) {
        const std::uint32_t bits = std::uint32_t{tile.at<std::uint16_t>(row, index)} << 16;
        float value = 0.0F;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }
};

}  // namespace hearth::test

// `mix` on the tile unit, whose factors are of bfloat16: each float is cut into two, high and low,
// which keep 16 of its bits (all of a half's), and of their four products the one of both low parts
// is left out. A row's sums depend on its query and the tokens alone: tiles are filled up with
// zeros and always have the same depth. Fewer rows than a tile go the same way. `Tiles` is the
// unit. Included by tile_table.h alone; internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/simd/panel.h"
#include "kernels/cpu/simd/tile_unit.h"
#include "kernels/cpu/simd/vec_avx512.h"
#include "kernels/cpu/simd/vector_softmax.h"

namespace hearth::cpu {
namespace {

/// Rows and columns of a tile of floats, and half of its depth.
constexpr int kMixSide = 16;
constexpr int kMixDepth = 2 * kMixSide;
static_assert(kMixTokens == kMixDepth && kAttendRows == kMixDepth && kMixLanes == kMixSide);

/// Sixteen rows or columns of a factor: in each 32 bits the parts of depth p and p + 16.
struct alignas(64) SplitTile {
    std::uint32_t high[kMixSide][kMixSide];
    std::uint32_t low[kMixSide][kMixSide];
};

/// Both parts are rounded to the nearest: what is left out has no sign of its own then.
inline void split(Vec first, Vec second, void* high, void* low) {
    const auto rounded = [](Vec x) {
        const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x8000));
        return _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U)));
    };
    const auto pack = [](__m512i a, __m512i b) {
        return _mm512_or_si512(_mm512_srli_epi32(a, 16), b);
    };
    const __m512i a = rounded(first);
    const __m512i b = rounded(second);
    const __m512i a_rest = rounded(sub(first, {_mm512_castsi512_ps(a)}));
    const __m512i b_rest = rounded(sub(second, {_mm512_castsi512_ps(b)}));
    _mm512_store_si512(high, pack(a, b));
    _mm512_store_si512(low, pack(a_rest, b_rest));
}

/// The first `count` of sixteen numbers, then zeros.
inline Vec load_first(const float* p, std::int64_t count) {
    if (count >= kMixSide) return load(p);
    alignas(64) float lanes[kMixSide] = {};
    for (std::int64_t i = 0; i < count; ++i) {
        lanes[i] = p[i];
    }
    return load(lanes);
}

/// Some rows of floats, of which `rows` and `columns` are there; the others are 0.
struct Floats {
    const float* first;
    std::int64_t stride;
    std::int64_t rows;
    std::int64_t columns;
};

/// Row p with row p + 16, the first sixteen columns of each.
inline void split_rows(const Floats& from, SplitTile& to) {
    for (std::int64_t p = 0; p < kMixSide; ++p) {
        const auto row = [&](std::int64_t i) {
            return i < from.rows ? load_first(from.first + i * from.stride, from.columns) : zero();
        };
        split(row(p), row(p + kMixSide), to.high[p], to.low[p]);
    }
}

/// Of the first sixteen rows each column i with column i + 16.
inline void split_columns(const Floats& from, SplitTile& to) {
    for (std::int64_t i = 0; i < kMixSide; ++i) {
        const float* row = from.first + i * from.stride;
        const std::int64_t columns = i < from.rows ? from.columns : 0;
        split(load_first(row, columns),
              load_first(row + kMixSide, columns - kMixSide),
              to.high[i],
              to.low[i]);
    }
}

inline void transpose_16(std::uint32_t (*square)[kMixSide]) {
    __m256i columns[2][kMixSide];
    for (int half = 0; half < 2; ++half) {
        for (int first = 0; first < kMixSide; first += 4) {
            load_turned([&](int r) { return square[kHalfRows * half + r] + first; },
                        columns[half] + first);
        }
    }
    for (int half = 0; half < 2; ++half) {
        for (int c = 0; c < kMixSide; ++c) {
            store_32(square[c] + kHalfRows * half, columns[half][c]);
        }
    }
}

/// Tiles 0 to 3 are sums, (kA, kB); 4 and 5 are of a, 6 and 7 of b.
template <typename Tiles, int kA, int kB>
struct SplitProducts {
    static void clear() {
        Tiles::template zero<0>();
        if constexpr (kB == 2) Tiles::template zero<1>();
        if constexpr (kA == 2) Tiles::template zero<2>();
        if constexpr (kA == 2 && kB == 2) Tiles::template zero<3>();
    }

    /// sums += a * b, kMixDepth deep.
    static void add(const SplitTile* a, const SplitTile* b) {
        load_b(b[0].high, b[kB - 1].high);
        multiply(a[0].low, a[kA - 1].low);
        multiply(a[0].high, a[kA - 1].high);
        load_b(b[0].low, b[kB - 1].low);
        multiply();
    }

    /// Sum (i, j) to the square at to + 16 i rows + 16 j columns.
    static void store(float* to, std::int64_t stride) {
        const auto row_bytes = static_cast<std::int64_t>(sizeof(float)) * stride;
        float* below = to + kMixSide * stride;
        Tiles::template store<0>(to, row_bytes);
        if constexpr (kB == 2) Tiles::template store<1>(to + kMixSide, row_bytes);
        if constexpr (kA == 2) Tiles::template store<2>(below, row_bytes);
        if constexpr (kA == 2 && kB == 2) Tiles::template store<3>(below + kMixSide, row_bytes);
    }

  private:
    static constexpr std::int64_t kRowBytes = kMixSide * sizeof(std::uint32_t);

    static void load_b(const void* first, const void* second) {
        Tiles::template load<6>(first, kRowBytes);
        if constexpr (kB == 2) Tiles::template load<7>(second, kRowBytes);
    }
    static void multiply(const void* first, const void* second) {
        Tiles::template load<4>(first, kRowBytes);
        if constexpr (kA == 2) Tiles::template load<5>(second, kRowBytes);
        multiply();
    }
    static void multiply() {
        Tiles::template multiply_bfloat<0, 4, 6>();
        if constexpr (kB == 2) Tiles::template multiply_bfloat<1, 4, 7>();
        if constexpr (kA == 2) Tiles::template multiply_bfloat<2, 5, 6>();
        if constexpr (kA == 2 && kB == 2) Tiles::template multiply_bfloat<3, 5, 7>();
    }
};

/// Scores of two tiles of tokens and kRowTiles of rows.
template <typename Tiles, int kRowTiles>
void score_tiles(const MixCall& call, MixWeights& out) {
    using Products = SplitProducts<Tiles, 2, kRowTiles>;
    Ahead ahead(call, (call.key_dim + kMixDepth - 1) / kMixDepth);
    Products::clear();
    for (std::int64_t i = 0; i < call.key_dim; i += kMixDepth) {
        ahead.ask();
        const std::int64_t left = call.key_dim - i;
        SplitTile keys[2];
        SplitTile queries[kRowTiles];
        for (int tile = 0; tile < 2; ++tile) {
            const std::int64_t first = kMixSide * tile;
            const float* from = call.keys + first * call.key_stride + i;
            split_columns({from, call.key_stride, call.count - first, left}, keys[tile]);
        }
        for (int tile = 0; tile < kRowTiles; ++tile) {
            const float* from = call.queries + i * call.query_stride + kMixSide * tile;
            split_rows({from, call.query_stride, left, kMixSide}, queries[tile]);
        }
        Products::add(keys, queries);
    }
    Products::store(&out[0][0], kAttendRows);
}

/// out = out * factor + weights * values, two tiles of columns at a time.
template <typename Tiles, int kRowTiles, int kColumnTiles>
void mix_columns(const MixCall& call,
                 std::int64_t column,
                 const SplitTile* weights,
                 const float* factors) {
    using Products = SplitProducts<Tiles, kRowTiles, kColumnTiles>;
    SplitTile values[kColumnTiles];
    for (int tile = 0; tile < kColumnTiles; ++tile) {
        const float* from = call.values + column + kMixSide * tile;
        split_rows({from, call.value_stride, call.count, kMixSide}, values[tile]);
    }
    alignas(64) float sums[kRowTiles * kMixSide][kMixDepth];
    Products::clear();
    Products::add(weights, values);
    Products::store(&sums[0][0], kMixDepth);
    for (std::int64_t r = 0; r < call.rows; ++r) {
        float* out = call.out + r * call.out_stride + column;
        const Vec factor = broadcast(factors[r]);
        for (int tile = 0; tile < kColumnTiles; ++tile, out += kMixSide) {
            store(out, fma(load(out), factor, load(sums[r] + kMixSide * tile)));
        }
    }
}

template <typename Tiles, int kRowTiles>
void mix_tiles(const MixCall& call) {
    alignas(64) MixWeights weights;
    alignas(64) float factors[kAttendRows];
    score_tiles<Tiles, kRowTiles>(call, weights);
    hide(call, weights);
    SplitTile split_weights[kRowTiles];
    for (int tile = 0; tile < kRowTiles; ++tile) {
        soften(call, kMixSide * tile, weights, factors);
        const float* from = weights[0] + kMixSide * tile;
        split_rows({from, kAttendRows, call.count, kMixSide}, split_weights[tile]);
        transpose_16(split_weights[tile].high);
        transpose_16(split_weights[tile].low);
    }
    std::int64_t column = 0;
    for (; column + 2 * kMixSide <= call.value_dim; column += 2 * kMixSide) {
        mix_columns<Tiles, kRowTiles, 2>(call, column, split_weights, factors);
    }
    if (column < call.value_dim) {
        mix_columns<Tiles, kRowTiles, 1>(call, column, split_weights, factors);
    }
}

/// Latents of models fill tiles; others go to `kOthers`.
template <typename Tiles, const Kernels& kOthers>
void mix_with_tiles(const MixCall& call) {
    if (call.value_dim % kMixSide != 0) return kOthers.mix(call);
    Tiles::configure(TileConfig());
    if (call.rows > kMixSide) {
        mix_tiles<Tiles, 2>(call);
    } else {
        mix_tiles<Tiles, 1>(call);
    }
    Tiles::release();
}

}  // namespace
}  // namespace hearth::cpu

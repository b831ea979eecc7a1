// Matrix products in bfloat16 with sums in float. `Unit` multiplies blocks: the tiles of AMX, the
// pairs of AVX-512, or an emulation of either in a test; `Rounding` makes bfloat16 of floats. No
// intrinsics here.
#pragma once

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

/// Two values for neighbouring k, as all units want them.
inline std::uint32_t to_pair(float low, float high) {
    return to_bfloat(low) | static_cast<std::uint32_t>(to_bfloat(high)) << 16;
}

/// Pairs of bfloat16 from floats, in loops that the compiler makes vectors of.
struct PortableRounding {
    /// out[p] = the pair (in[2p], in[2p + 1]).
    static void pair_neighbours(const float* in, Index pairs, std::uint32_t* out) {
#pragma omp simd
        for (Index p = 0; p < pairs; ++p) {
            out[p] = to_pair(in[2 * p], in[2 * p + 1]);
        }
    }
    /// out[i] = the pair (low[i], high[i]).
    static void pair_rows(const float* low, const float* high, Index count, std::uint32_t* out) {
#pragma omp simd
        for (Index i = 0; i < count; ++i) {
            out[i] = to_pair(low[i], high[i]);
        }
    }
};

/// Transposes eight rows of eight that lie `row` apart, of anything that takes 32 bits.
inline void transpose_pairs(const std::uint32_t* in, Index row, std::uint32_t* out, Index out_row) {
    using Eight [[gnu::vector_size(32), gnu::may_alias, gnu::aligned(4)]] = std::uint32_t;
    Eight r[8];
    Eight t[8];
    for (Index i = 0; i < 8; ++i) {
        r[i] = *reinterpret_cast<const Eight*>(in + i * row);
    }
    for (Index i = 0; i < 8; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (Index i = 0; i < 8; i += 4) {
        r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 2] = __builtin_shufflevector(t[i + 1], t[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 3] = __builtin_shufflevector(t[i + 1], t[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (Index i = 0; i < 4; ++i) {
        *reinterpret_cast<Eight*>(out + i * out_row) =
            __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *reinterpret_cast<Eight*>(out + (i + 4) * out_row) =
            __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

inline constexpr Index kBfloatColumns = 32;  // of a panel of B
inline constexpr Index kBfloatDepth = 32;    // k is padded to a multiple of it, with zeros

/// A block of C from Unit::kRows rows of A (`width` values each, `width` apart) and one panel of B:
/// row p of it holds the pairs (2p, 2p + 1) of its columns side by side. A is packed to rows of
/// bfloat16.
template <typename Unit, typename Rounding>
struct BfloatDriver {
    static constexpr Index kGroup = 8;  ///< transposed at a time
    static_assert(GemmWorkspace::kRows % Unit::kRows == 0 && GemmWorkspace::kRows % kGroup == 0);
    static_assert(kBfloatDepth % (2 * kGroup) == 0 && kBfloatColumns % kGroup == 0);

    static Index least(Index a, Index b) { return a < b ? a : b; }
    static Index padded(Index count, Index step) { return (count + step - 1) / step * step; }

    static void run(const Gemm<float>& g, GemmWorkspace& workspace) {
        auto* panels = reinterpret_cast<std::uint32_t*>(workspace.b);
        auto* strips = reinterpret_cast<std::uint16_t*>(workspace.a);
        if (g.k == 0) return clear(g);
        Unit::configure();
        for (Index column = 0; column < g.n; column += GemmWorkspace::kColumns) {
            const Index columns = least(GemmWorkspace::kColumns, g.n - column);
            for (Index first = 0; first < g.k; first += GemmWorkspace::kDepth) {
                const Index k = least(GemmWorkspace::kDepth, g.k - first);
                const Index width = padded(k, kBfloatDepth);
                for (Index j = 0; j < columns; j += kBfloatColumns) {
                    const float* b = g.b + first * g.b_row + (column + j) * g.b_column;
                    pack_b(g, b, least(kBfloatColumns, columns - j), k, panels + j * width / 2);
                }
                for (Index row = 0; row < g.m; row += GemmWorkspace::kRows) {
                    multiply_rows(g, row, column, columns, first, k, strips, panels);
                }
            }
        }
        Unit::release();
    }

    static void clear(const Gemm<float>& g) {
        if (g.accumulate) return;
        for (Index i = 0; i < g.m; ++i) {
            for (Index j = 0; j < g.n; ++j) {
                g.c[i * g.c_row + j] = 0;
            }
        }
    }

    /// One panel; `b` is its first value.
    static void pack_b(
        const Gemm<float>& g, const float* b, Index columns, Index k, std::uint32_t* panel) {
        const Index pairs = padded(k, kBfloatDepth) / 2;
        if (g.b_row == 1) {
            std::uint32_t rows[kGroup][GemmWorkspace::kDepth / 2];
            for (Index j = 0; j < kBfloatColumns; j += kGroup) {
                for (Index r = 0; r < kGroup; ++r) {
                    const bool is_column = j + r < columns;
                    pack_row(is_column ? b + (j + r) * g.b_column : b,
                             is_column ? k : 0,
                             pairs,
                             rows[r]);
                }
                for (Index p = 0; p < pairs; p += kGroup) {
                    transpose_pairs(rows[0] + p,
                                    GemmWorkspace::kDepth / 2,
                                    panel + p * kBfloatColumns + j,
                                    kBfloatColumns);
                }
            }
            return;
        }
        for (Index p = 0; p < pairs; ++p) {
            std::uint32_t* out = panel + p * kBfloatColumns;
            pack_pairs(b, g.b_row, g.b_column, columns, 2 * p, k, out);
            for (Index j = columns; j < kBfloatColumns; ++j) {
                out[j] = 0;
            }
        }
    }

    /// out[p] = the pair (2p, 2p + 1) of `k` values that lie side by side, zeros behind them.
    static void pack_row(const float* in, Index k, Index pairs, std::uint32_t* out) {
        const Index whole = k / 2;
        Rounding::pair_neighbours(in, whole, out);
        for (Index p = whole; p < pairs; ++p) {
            out[p] = 2 * p < k ? to_bfloat(in[2 * p]) : 0U;
        }
    }

    /// out[i] = the pair (p, p + 1) of `k` values of column i, of `count` columns; k lie `row`
    /// apart, columns `column`. Zero from k on.
    static void pack_pairs(const float* in,
                           Index row,
                           Index column,
                           Index count,
                           Index p,
                           Index k,
                           std::uint32_t* out) {
        const float* low = in + p * row;
        const float* high = low + row;
        if (p + 1 < k && column == 1) return Rounding::pair_rows(low, high, count, out);
        for (Index i = 0; i < count; ++i) {
            out[i] =
                (p < k ? to_bfloat(low[i * column]) : 0U) |
                (p + 1 < k ? static_cast<std::uint32_t>(to_bfloat(high[i * column])) << 16 : 0U);
        }
    }

    /// `rows` rows of A from `a` on, `k` padded; up to the next multiple of Unit::kRows they are
    /// zero.
    static void pack_a(
        const Gemm<float>& g, const float* a, Index rows, Index k, std::uint16_t* strip) {
        const Index pairs = padded(k, kBfloatDepth) / 2;
        auto* out = reinterpret_cast<std::uint32_t*>(strip);
        if (g.a_column == 1) {
            for (Index i = 0; i < rows; ++i) {
                pack_row(a + i * g.a_row, k, pairs, out + i * pairs);
            }
        } else {
            std::uint32_t columns[kGroup][GemmWorkspace::kRows] = {};
            for (Index p = 0; p < pairs; p += kGroup) {
                for (Index r = 0; r < kGroup; ++r) {
                    pack_pairs(a, g.a_column, g.a_row, rows, 2 * (p + r), k, columns[r]);
                }
                for (Index i = 0; i < rows; i += kGroup) {
                    transpose_pairs(
                        columns[0] + i, GemmWorkspace::kRows, out + i * pairs + p, pairs);
                }
            }
        }
        for (Index i = rows * pairs; i < padded(rows, Unit::kRows) * pairs; ++i) {
            out[i] = 0;
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
        const Index width = padded(k, kBfloatDepth);
        pack_a(g, g.a + row * g.a_row + first * g.a_column, rows, k, strips);
        const bool accumulate = g.accumulate || first != 0;
        for (Index j = 0; j < columns; j += kBfloatColumns) {
            for (Index i = 0; i < rows; i += Unit::kRows) {
                Unit::multiply(width,
                               strips + i * width,
                               panels + j * width / 2,
                               g.c + (row + i) * g.c_row + column + j,
                               g.c_row,
                               least(Unit::kRows, rows - i),
                               least(kBfloatColumns, columns - j),
                               accumulate);
            }
        }
    }
};

}  // namespace
}  // namespace hearth::trainer

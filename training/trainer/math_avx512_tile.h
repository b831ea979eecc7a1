// The 12 x 32 register tile of AVX-512. Whoever includes this has the intrinsics: the library the
// processor's, a test an emulation of them.
#pragma once

#include "training/trainer/math_impl.h"
#include "training/trainer/math_transpose.h"

namespace hearth::trainer {
namespace {

struct Avx512Tile {
    using Element = float;
    static constexpr Index kRows = 12;
    static constexpr Index kColumns = 32;

    static void pack_b(
        Index k, Index columns, const float* b, Index b_row, Index b_column, float* panel) {
        Index p = 0;
        if (columns == kColumns && b_row == 1) {
            for (; p + 8 <= k; p += 8) {
                for (Index j = 0; j < kColumns; j += 8) {
                    transpose_eight(
                        b + j * b_column + p, b_column, panel + p * kColumns + j, kColumns);
                }
            }
        } else if (columns == kColumns && b_column == 1) {
            for (; p < k; ++p) {
                float* row = panel + p * kColumns;
                _mm512_storeu_ps(row, _mm512_loadu_ps(b + p * b_row));
                _mm512_storeu_ps(row + 16, _mm512_loadu_ps(b + p * b_row + 16));
            }
        }
        for (; p < k; ++p) {
            for (Index j = 0; j < kColumns; ++j) {
                panel[p * kColumns + j] = j < columns ? b[p * b_row + j * b_column] : 0.0F;
            }
        }
    }

    template <bool is_packed>
    static void multiply(Index k,
                         const float* a,
                         Index a_row,
                         const float* panel,
                         float* c,
                         Index c_row,
                         Index rows,
                         Index columns,
                         bool accumulate) {
        __m512 sums[kRows][2];
        const float* a_rows[kRows];
#pragma GCC unroll 12
        for (Index i = 0; i < kRows; ++i) {
            sums[i][0] = sums[i][1] = _mm512_setzero_ps();
            // A missing row repeats the last one; its sums are not stored.
            a_rows[i] = is_packed ? a + i : a + (i < rows ? i : rows - 1) * a_row;
        }
        const Index k_step = is_packed ? kRows : 1;
        for (Index p = 0; p < k; ++p) {
            const __m512 b0 = _mm512_loadu_ps(panel + p * kColumns);
            const __m512 b1 = _mm512_loadu_ps(panel + p * kColumns + 16);
#pragma GCC unroll 12
            for (Index i = 0; i < kRows; ++i) {
                const __m512 value = _mm512_set1_ps(a_rows[i][p * k_step]);
                sums[i][0] = _mm512_fmadd_ps(value, b0, sums[i][0]);
                sums[i][1] = _mm512_fmadd_ps(value, b1, sums[i][1]);
            }
        }
        store(sums, c, c_row, rows, columns, accumulate);
    }

    static void store(const __m512 (&sums)[kRows][2],
                      float* c,
                      Index c_row,
                      Index rows,
                      Index columns,
                      bool accumulate) {
#pragma GCC unroll 12
        for (Index i = 0; i < kRows; ++i) {
            if (i >= rows) break;
            float* out = c + i * c_row;
            if (columns == kColumns) {
                const __m512 old0 = accumulate ? _mm512_loadu_ps(out) : _mm512_setzero_ps();
                const __m512 old1 = accumulate ? _mm512_loadu_ps(out + 16) : _mm512_setzero_ps();
                _mm512_storeu_ps(out, _mm512_add_ps(old0, sums[i][0]));
                _mm512_storeu_ps(out + 16, _mm512_add_ps(old1, sums[i][1]));
                continue;
            }
            float part[kColumns];
            _mm512_storeu_ps(part, sums[i][0]);
            _mm512_storeu_ps(part + 16, sums[i][1]);
            for (Index j = 0; j < columns; ++j) {
                out[j] = accumulate ? out[j] + part[j] : part[j];
            }
        }
    }
};

}  // namespace
}  // namespace hearth::trainer

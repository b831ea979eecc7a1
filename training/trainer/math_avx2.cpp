// The Math table for AVX2 and FMA: a 6 x 16 register tile of float.
#include <immintrin.h>

#include "training/trainer/math_impl.h"
#include "training/trainer/math_transpose.h"

namespace hearth::trainer {
namespace {

struct Avx2Tile {
    using Element = float;
    static constexpr Index kRows = 6;
    static constexpr Index kColumns = 16;

    static void pack_b(
        Index k, Index columns, const float* b, Index b_row, Index b_column, float* panel) {
        Index p = 0;
        if (columns == kColumns && b_row == 1) {
            for (; p + 8 <= k; p += 8) {
                transpose_eight(b + p, b_column, panel + p * kColumns, kColumns);
                transpose_eight(b + 8 * b_column + p, b_column, panel + p * kColumns + 8, kColumns);
            }
        } else if (columns == kColumns && b_column == 1) {
            for (; p < k; ++p) {
                _mm256_store_ps(panel + p * kColumns, _mm256_loadu_ps(b + p * b_row));
                _mm256_store_ps(panel + p * kColumns + 8, _mm256_loadu_ps(b + p * b_row + 8));
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
        __m256 sums[kRows][2];
        const float* a_rows[kRows];
#pragma GCC unroll 6
        for (Index i = 0; i < kRows; ++i) {
            sums[i][0] = sums[i][1] = _mm256_setzero_ps();
            // A missing row repeats the last one; its sums are not stored.
            a_rows[i] = is_packed ? a + i : a + (i < rows ? i : rows - 1) * a_row;
        }
        const Index k_step = is_packed ? kRows : 1;
        for (Index p = 0; p < k; ++p) {
            const __m256 b0 = _mm256_load_ps(panel + p * kColumns);
            const __m256 b1 = _mm256_load_ps(panel + p * kColumns + 8);
#pragma GCC unroll 6
            for (Index i = 0; i < kRows; ++i) {
                const __m256 value = _mm256_broadcast_ss(a_rows[i] + p * k_step);
                sums[i][0] = _mm256_fmadd_ps(value, b0, sums[i][0]);
                sums[i][1] = _mm256_fmadd_ps(value, b1, sums[i][1]);
            }
        }
        store(sums, c, c_row, rows, columns, accumulate);
    }

    static void store(const __m256 (&sums)[kRows][2],
                      float* c,
                      Index c_row,
                      Index rows,
                      Index columns,
                      bool accumulate) {
#pragma GCC unroll 6
        for (Index i = 0; i < kRows; ++i) {
            if (i >= rows) break;
            float* out = c + i * c_row;
            if (columns == kColumns) {
                const __m256 old0 = accumulate ? _mm256_loadu_ps(out) : _mm256_setzero_ps();
                const __m256 old1 = accumulate ? _mm256_loadu_ps(out + 8) : _mm256_setzero_ps();
                _mm256_storeu_ps(out, _mm256_add_ps(old0, sums[i][0]));
                _mm256_storeu_ps(out + 8, _mm256_add_ps(old1, sums[i][1]));
                continue;
            }
            alignas(32) float part[kColumns];
            _mm256_store_ps(part, sums[i][0]);
            _mm256_store_ps(part + 8, sums[i][1]);
            for (Index j = 0; j < columns; ++j) {
                out[j] = accumulate ? out[j] + part[j] : part[j];
            }
        }
    }
};

constexpr Math<float> kMath = make_math<Avx2Tile>("avx2");

}  // namespace

const Math<float>& avx2_math() {
    return kMath;
}

}  // namespace hearth::trainer

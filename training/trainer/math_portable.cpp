// The Math tables that run anywhere, in float and, for the gradient checks, in double.
#include "training/trainer/math_impl.h"

namespace hearth::trainer {
namespace {

template <typename Real>
struct PortableTile {
    using Element = Real;
    static constexpr Index kRows = 4;
    static constexpr Index kColumns = 8;

    static void pack_b(
        Index k, Index columns, const Real* b, Index b_row, Index b_column, Real* panel) {
        for (Index p = 0; p < k; ++p) {
            for (Index j = 0; j < kColumns; ++j) {
                panel[p * kColumns + j] = j < columns ? b[p * b_row + j * b_column] : Real(0);
            }
        }
    }

    template <bool is_packed>
    static void multiply(Index k,
                         const Real* a,
                         Index a_row,
                         const Real* panel,
                         Real* c,
                         Index c_row,
                         Index rows,
                         Index columns,
                         bool accumulate) {
        Real sums[kRows][kColumns] = {};
        const Index k_step = is_packed ? kRows : 1;
        for (Index p = 0; p < k; ++p) {
            for (Index i = 0; i < rows; ++i) {
                const Real value = a[i * a_row + p * k_step];
                for (Index j = 0; j < kColumns; ++j) {
                    sums[i][j] += value * panel[p * kColumns + j];
                }
            }
        }
        for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < columns; ++j) {
                Real& out = c[i * c_row + j];
                out = accumulate ? out + sums[i][j] : sums[i][j];
            }
        }
    }
};

constexpr Math<float> kFloat = make_math<PortableTile<float>>("portable");
constexpr Math<double> kDouble = make_math<PortableTile<double>>("portable double");

}  // namespace

const Math<float>& portable_math() {
    return kFloat;
}

const Math<double>& portable_math_double() {
    return kDouble;
}

}  // namespace hearth::trainer

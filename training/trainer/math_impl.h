// The body of every Math table: included once by each file of an instruction set, inside that
// file's own flags, so that all names here have internal linkage. Uses no standard templates: the
// linker could keep a copy that needs a newer processor.
#pragma once

#include "training/trainer/math_table.h"

namespace hearth::trainer {
namespace {

using Index = std::size_t;

inline double exponential(double x) {
    return __builtin_exp(x);
}

/// Degree-5 polynomial on [-ln2/2, ln2/2] and an exponent shift: about 1e-7 relative, and a form
/// that the compiler turns into vectors.
inline float exponential(float x) {
    x = x < -87.0F ? -87.0F : x;
    x = x > 88.0F ? 88.0F : x;
    const float scaled = x * 1.44269504F;
    const int whole = static_cast<int>(scaled + (scaled < 0 ? -0.5F : 0.5F));
    const auto n = static_cast<float>(whole);
    const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    return p * __builtin_bit_cast(float, (whole + 127) << 23);
}

inline float square_root(float x) {
    return __builtin_sqrtf(x);
}
inline double square_root(double x) {
    return __builtin_sqrt(x);
}

template <typename Real>
inline Real sigmoid(Real x) {
    return Real(1) / (Real(1) + exponential(-x));
}

template <typename Real>
Real dot(Index count, const Real* x, const Real* y) {
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index i = 0; i < count; ++i) {
        sum += x[i] * y[i];
    }
    return sum;
}

template <typename Real>
void add_scaled(Index count, Real factor, const Real* x, Real* y) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) {
        y[i] += factor * x[i];
    }
}

template <typename Real>
void combine(Index count, Real keep, Real factor, const Real* x, Real* y) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) {
        y[i] = keep * y[i] + factor * x[i];
    }
}

template <typename Real>
void rms_norm(Index rows,
              Index n,
              const Real* x,
              Index x_row,
              const Real* weight,
              Real epsilon,
              Real* y,
              Real* inverse_rms) {
    for (Index row = 0; row < rows; ++row) {
        const Real* in = x + row * x_row;
        Real* out = y + row * n;
        const Real inverse = Real(1) / square_root(dot(n, in, in) / static_cast<Real>(n) + epsilon);
        inverse_rms[row] = inverse;
#pragma omp simd
        for (Index i = 0; i < n; ++i) {
            out[i] = in[i] * inverse * weight[i];
        }
    }
}

template <typename Real>
void rms_norm_backward(Index rows,
                       Index n,
                       const Real* x,
                       Index x_row,
                       const Real* weight,
                       const Real* inverse_rms,
                       const Real* dy,
                       Real* dx,
                       bool accumulate,
                       Real* weight_gradient) {
    for (Index row = 0; row < rows; ++row) {
        const Real* in = x + row * x_row;
        const Real* grad = dy + row * n;
        Real* out = dx + row * x_row;
        const Real inverse = inverse_rms[row];
        Real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < n; ++i) {
            sum += grad[i] * weight[i] * in[i];
            weight_gradient[i] += grad[i] * in[i] * inverse;
        }
        const Real pull = sum * inverse * inverse * inverse / static_cast<Real>(n);
        const Real keep = accumulate ? Real(1) : Real(0);
        if (!accumulate) {
            for (Index i = 0; i < n; ++i) {
                out[i] = 0;
            }
        }
#pragma omp simd
        for (Index i = 0; i < n; ++i) {
            out[i] = keep * out[i] + grad[i] * weight[i] * inverse - in[i] * pull;
        }
    }
}

template <typename Real>
void swiglu(Index count, const Real* gate, const Real* up, Real* h) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) {
        h[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
}

template <typename Real>
void swiglu_backward(Index count, const Real* dh, Real* gate, Real* up, Real* h) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) {
        const Real g = gate[i];
        const Real u = up[i];
        const Real s = sigmoid(g);
        h[i] = g * s * u;
        gate[i] = dh[i] * u * s * (Real(1) + g * (Real(1) - s));
        up[i] = dh[i] * g * s;
    }
}

template <typename Real>
void softmax(Index visible, Index n, Real scale, Real* x) {
    Real top = x[0];
#pragma omp simd reduction(max : top)
    for (Index i = 0; i < visible; ++i) {
        top = x[i] > top ? x[i] : top;
    }
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index i = 0; i < visible; ++i) {
        const Real value = exponential((x[i] - top) * scale);
        x[i] = value;
        sum += value;
    }
    const Real inverse = Real(1) / sum;
#pragma omp simd
    for (Index i = 0; i < visible; ++i) {
        x[i] *= inverse;
    }
    for (Index i = visible; i < n; ++i) {
        x[i] = 0;
    }
}

template <typename Real>
void softmax_backward(Index n, Real scale, const Real* p, Real* dp) {
    const Real mean = dot(n, p, dp);
#pragma omp simd
    for (Index i = 0; i < n; ++i) {
        dp[i] = scale * p[i] * (dp[i] - mean);
    }
}

inline float logarithm(float x) {
    return __builtin_logf(x);
}
inline double logarithm(double x) {
    return __builtin_log(x);
}

template <typename Real>
Real cross_entropy(const CrossEntropyRow<Real>& row) {
    Real* x = row.logits;
    const Real target = x[row.target];
    Real top = x[0] + row.correction[0];
#pragma omp simd reduction(max : top)
    for (Index i = 0; i < row.count; ++i) {
        const Real value = x[i] + row.correction[i];
        x[i] = value;
        top = value > top ? value : top;
    }
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index i = 0; i < row.count; ++i) {
        const Real value = exponential(x[i] - top);
        x[i] = value;
        sum += value;
    }
    const Real log_partition = top + logarithm(sum);
    if (row.scale != Real(0)) {
        const Real factor = row.scale * (Real(1) + 2 * row.z_loss * log_partition) / sum;
#pragma omp simd
        for (Index i = 0; i < row.count; ++i) {
            x[i] *= factor;
        }
        x[row.target] -= row.scale;
    }
    return log_partition - target;
}

template <typename Real>
void rotate(Index pairs, const Real* cosine, const Real* sine, Real direction, Real* x) {
    for (Index i = 0; i < pairs; ++i) {
        const Real even = x[2 * i];
        const Real odd = x[2 * i + 1];
        const Real turn = direction * sine[i];
        x[2 * i] = even * cosine[i] - odd * turn;
        x[2 * i + 1] = even * turn + odd * cosine[i];
    }
}

template <typename Real>
void adam(Index count,
          const AdamStep<Real>& step,
          const Real* gradient,
          Real* first,
          Real* second,
          Real* weight) {
    const AdamStep<Real> s = step;
#pragma omp simd
    for (Index i = 0; i < count; ++i) {
        const Real g = gradient[i] * s.gradient_scale;
        const Real m = s.beta1 * first[i] + (Real(1) - s.beta1) * g;
        const Real v = s.beta2 * second[i] + (Real(1) - s.beta2) * g * g;
        first[i] = m;
        second[i] = v;
        const Real update = m * s.correction1 / (square_root(v * s.correction2) + s.epsilon);
        weight[i] -= s.learning_rate * (update + s.weight_decay * weight[i]);
    }
}

/// The blocked product around a register tile. `Tile` has Element, kRows (at most 16), kColumns,
/// `pack_b` (one panel of kColumns columns, k by k, zero where there is no column) and `multiply`
/// (rows x columns of C from one strip of A and one panel of B).
template <typename Tile>
struct GemmDriver {
    using Real = typename Tile::Element;

    static Index least(Index a, Index b) { return a < b ? a : b; }

    static void run(const Gemm<Real>& g, GemmWorkspace& workspace) {
        auto* b_panels = reinterpret_cast<Real*>(workspace.b);
        auto* a_strips = reinterpret_cast<Real*>(workspace.a);
        const Index passes = (g.k + GemmWorkspace::kDepth - 1) / GemmWorkspace::kDepth;
        const Index depth = passes == 0 ? 0 : (g.k + passes - 1) / passes;
        for (Index column = 0; column < g.n; column += GemmWorkspace::kColumns) {
            const Index columns = least(GemmWorkspace::kColumns, g.n - column);
            for (Index first = 0; first < g.k; first += depth) {
                const Index k = least(depth, g.k - first);
                pack_columns(g, column, columns, first, k, b_panels);
                for (Index row = 0; row < g.m; row += GemmWorkspace::kRows) {
                    multiply_rows(g, row, column, columns, first, k, a_strips, b_panels);
                }
            }
        }
        if (g.k == 0 && !g.accumulate) clear(g);
    }

    static void clear(const Gemm<Real>& g) {
        for (Index i = 0; i < g.m; ++i) {
            for (Index j = 0; j < g.n; ++j) {
                g.c[i * g.c_row + j] = 0;
            }
        }
    }

    static void pack_columns(
        const Gemm<Real>& g, Index column, Index columns, Index first, Index k, Real* panels) {
        for (Index j = 0; j < columns; j += Tile::kColumns) {
            Tile::pack_b(k,
                         least(Tile::kColumns, columns - j),
                         g.b + first * g.b_row + (column + j) * g.b_column,
                         g.b_row,
                         g.b_column,
                         panels + j * k);
        }
    }

    /// One block of rows of A stays in the second-level cache while every panel of B passes it.
    static void multiply_rows(const Gemm<Real>& g,
                              Index row,
                              Index column,
                              Index columns,
                              Index first,
                              Index k,
                              Real* strips,
                              const Real* panels) {
        const Index rows = least(GemmWorkspace::kRows, g.m - row);
        const Real* a = g.a + row * g.a_row + first * g.a_column;
        const bool is_direct = g.a_column == 1;
        if (!is_direct) pack_rows(a, g.a_row, g.a_column, rows, k, strips);
        const bool accumulate = g.accumulate || first != 0;
        for (Index j = 0; j < columns; j += Tile::kColumns) {
            for (Index i = 0; i < rows; i += Tile::kRows) {
                Real* c = g.c + (row + i) * g.c_row + column + j;
                const Index tile_rows = least(Tile::kRows, rows - i);
                const Index tile_columns = least(Tile::kColumns, columns - j);
                if (is_direct) {
                    Tile::template multiply<false>(k,
                                                   a + i * g.a_row,
                                                   g.a_row,
                                                   panels + j * k,
                                                   c,
                                                   g.c_row,
                                                   tile_rows,
                                                   tile_columns,
                                                   accumulate);
                } else {
                    Tile::template multiply<true>(k,
                                                  strips + i * k,
                                                  1,
                                                  panels + j * k,
                                                  c,
                                                  g.c_row,
                                                  tile_rows,
                                                  tile_columns,
                                                  accumulate);
                }
            }
        }
    }

    static void pack_rows(
        const Real* a, Index a_row, Index a_column, Index rows, Index k, Real* strips) {
        for (Index i = 0; i < rows; i += Tile::kRows) {
            const Index valid = least(Tile::kRows, rows - i);
            const Real* source = a + i * a_row;
            Real* strip = strips + i * k;
            if (valid == Tile::kRows && a_row == 1) {
                for (Index p = 0; p < k; ++p, source += a_column, strip += Tile::kRows) {
                    __builtin_memcpy(strip, source, Tile::kRows * sizeof(Real));
                }
                continue;
            }
            for (Index p = 0; p < k; ++p, source += a_column, strip += Tile::kRows) {
                for (Index r = 0; r < Tile::kRows; ++r) {
                    strip[r] = r < valid ? source[r * a_row] : Real(0);
                }
            }
        }
    }
};

template <typename Tile>
constexpr Math<typename Tile::Element> make_math(const char* name) {
    using Real = typename Tile::Element;
    return {name,
            GemmDriver<Tile>::run,
            rms_norm<Real>,
            rms_norm_backward<Real>,
            swiglu<Real>,
            swiglu_backward<Real>,
            softmax<Real>,
            softmax_backward<Real>,
            cross_entropy<Real>,
            rotate<Real>,
            add_scaled<Real>,
            combine<Real>,
            dot<Real>,
            adam<Real>};
}

}  // namespace
}  // namespace hearth::trainer

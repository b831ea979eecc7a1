// The arithmetic of the trainer as a table of functions, one table per instruction set: matrix
// products and the fused row operations. The same source is compiled once per set; the table is
// chosen at run time. Nothing here allocates or knows of a model.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::trainer {

/// Packing space of one thread for `Math::gemm`; sizes cover every instruction set.
struct alignas(64) GemmWorkspace {
    static constexpr std::size_t kDepth = 320;     // k per pass: a panel of B stays in L1
    static constexpr std::size_t kColumns = 1024;  // columns of B packed at once
    static constexpr std::size_t kRows = 96;       // rows of A packed at once
    alignas(64) double b[kDepth * kColumns];       // read as the element type of the set
    alignas(64) double a[kDepth * kRows];
};

/// C = A B, or C += A B, on matrices with free strides: C is (m, n) with rows `c_row` apart, A is
/// (m, k), B is (k, n). A transposed operand is one with its two strides exchanged.
template <typename Real>
struct Gemm {
    std::size_t m = 0, n = 0, k = 0;
    const Real* a = nullptr;
    std::size_t a_row = 0, a_column = 0;
    const Real* b = nullptr;
    std::size_t b_row = 0, b_column = 0;
    Real* c = nullptr;
    std::size_t c_row = 0;
    bool accumulate = false;
};

/// One row of the softmax cross-entropy over the candidates of the head.
template <typename Real>
struct CrossEntropyRow {
    std::size_t count = 0;
    Real* logits = nullptr;            // in: logits; out: their gradient (unless scale is 0)
    const Real* correction = nullptr;  // log(1 / inclusion probability) per candidate
    std::size_t target = 0;            // index of the right candidate
    Real z_loss = 0;                   // weight of the squared log-partition
    Real scale = 0;                    // of the gradient; 0: loss only
};

/// Update of one AdamW parameter array; the moments are bias-corrected by the caller's factors.
template <typename Real>
struct AdamStep {
    Real learning_rate = 0, weight_decay = 0, beta1 = 0, beta2 = 0, epsilon = 0;
    Real correction1 = 1, correction2 = 1;  // 1 / (1 - beta^step)
    Real gradient_scale = 1;
};

/// rows x n values everywhere; `epsilon` is inside the root of RMSNorm.
///
/// Thread: any; a workspace belongs to one thread.
template <typename Real>
struct Math {
    const char* name;
    void (*gemm)(const Gemm<Real>&, GemmWorkspace&);
    /// y = x / rms(x) * weight; keeps 1 / rms per row. x rows lie `x_row` apart, y rows n apart.
    void (*rms_norm)(std::size_t rows,
                     std::size_t n,
                     const Real* x,
                     std::size_t x_row,
                     const Real* weight,
                     Real epsilon,
                     Real* y,
                     Real* inverse_rms);
    /// dx (+)= gradient, rows `x_row` apart as x is; weight_gradient += its own.
    void (*rms_norm_backward)(std::size_t rows,
                              std::size_t n,
                              const Real* x,
                              std::size_t x_row,
                              const Real* weight,
                              const Real* inverse_rms,
                              const Real* dy,
                              Real* dx,
                              bool accumulate,
                              Real* weight_gradient);
    /// h = silu(gate) * up.
    void (*swiglu)(std::size_t count, const Real* gate, const Real* up, Real* h);
    /// gate and up are replaced by their gradients; h is formed again from them into `h`.
    void (*swiglu_backward)(std::size_t count, const Real* dh, Real* gate, Real* up, Real* h);
    /// Row in place: softmax(scale * x) of the first `visible` values, zero for the rest up to n.
    void (*softmax)(std::size_t visible, std::size_t n, Real scale, Real* x);
    /// dp becomes the gradient of the unscaled scores: scale * p * (dp - sum(p dp)).
    void (*softmax_backward)(std::size_t n, Real scale, const Real* p, Real* dp);
    /// Returns the cross-entropy in nats, without the z-loss.
    Real (*cross_entropy)(const CrossEntropyRow<Real>&);
    /// Pairs (x[2i], x[2i+1]) are turned by the angle whose cosine and sine are given.
    void (*rotate)(
        std::size_t pairs, const Real* cosine, const Real* sine, Real direction, Real* x);
    /// y += factor * x.
    void (*add_scaled)(std::size_t count, Real factor, const Real* x, Real* y);
    /// y = keep * y + factor * x.
    void (*combine)(std::size_t count, Real keep, Real factor, const Real* x, Real* y);
    Real (*dot)(std::size_t count, const Real* x, const Real* y);
    void (*adam)(std::size_t count,
                 const AdamStep<Real>&,
                 const Real* gradient,
                 Real* first,
                 Real* second,
                 Real* weight);
};

const Math<float>& portable_math();
const Math<double>& portable_math_double();
const Math<float>& avx2_math();    // needs AVX2 and FMA
const Math<float>& avx512_math();  // needs AVX-512 F, BW, DQ, VL

/// Products with factors rounded to bfloat16. Both need AVX-512 BF16, the first AMX tiles and
/// bfloat16 too and, once for the whole process, the kernel's permission; select_math sees to that.
void amx_gemm(const Gemm<float>& product, GemmWorkspace& workspace);
void avx512_bfloat_gemm(const Gemm<float>& product, GemmWorkspace& workspace);

/// C (m, n) = A (m, k) times the transpose of B (n, k); dense rows unless strides are given.
template <typename Real>
Gemm<Real> a_times_b_transposed(std::size_t m,
                                std::size_t n,
                                std::size_t k,
                                const Real* a,
                                std::size_t a_row,
                                const Real* b,
                                std::size_t b_row,
                                Real* c,
                                std::size_t c_row,
                                bool accumulate = false) {
    return {m, n, k, a, a_row, 1, b, 1, b_row, c, c_row, accumulate};
}

/// C (m, n) = A (m, k) times B (k, n).
template <typename Real>
Gemm<Real> a_times_b(std::size_t m,
                     std::size_t n,
                     std::size_t k,
                     const Real* a,
                     std::size_t a_row,
                     const Real* b,
                     std::size_t b_row,
                     Real* c,
                     std::size_t c_row,
                     bool accumulate = false) {
    return {m, n, k, a, a_row, 1, b, b_row, 1, c, c_row, accumulate};
}

/// C (m, n) = the transpose of A (k, m) times B (k, n).
template <typename Real>
Gemm<Real> a_transposed_times_b(std::size_t m,
                                std::size_t n,
                                std::size_t k,
                                const Real* a,
                                std::size_t a_row,
                                const Real* b,
                                std::size_t b_row,
                                Real* c,
                                std::size_t c_row,
                                bool accumulate = false) {
    return {m, n, k, a, 1, a_row, b, b_row, 1, c, c_row, accumulate};
}

}  // namespace hearth::trainer

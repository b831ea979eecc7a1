// Forward and backward pass of the model over a batch of token windows, by hand, in any float type:
// float trains, double checks the gradients. One Model belongs to one thread and keeps that
// thread's activations; weights and gradients are the caller's flat arrays (see parameters.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "training/trainer/math_table.h"
#include "training/trainer/parameters.h"
#include "training/trainer/shape.h"

namespace hearth::trainer {

/// The part of the vocabulary that the head scores in one pass. Training scores the frequent
/// tokens, the targets and a random sample of the rest; a sampled token counts as often as it was
/// unlikely to be drawn, so that the partition sum stays unbiased. Empty `tokens`: all of it.
struct HeadCandidates {
    std::vector<std::uint32_t> tokens;
    std::vector<std::uint32_t> index_of;  // vocabulary -> place in tokens; only targets are asked
    std::vector<float> correction;        // log(1 / inclusion probability) per candidate
};

/// `window_count` windows of `length` tokens; position 0 starts each window.
struct TokenBatch {
    std::span<const std::int32_t> inputs;
    std::span<const std::int32_t> targets;
    std::size_t window_count = 0;
    std::size_t length = 0;

    [[nodiscard]] std::size_t tokens() const { return window_count * length; }
};

struct PassOptions {
    double gradient_scale = 1;  // usually 1 / tokens of the whole step
    double z_loss = 0;
    const HeadCandidates* candidates = nullptr;  // null: the whole vocabulary
    bool experts_only = false;  // gradients of routed experts alone; those of norms are unfinished
};

/// Activations of one layer that its backward pass reads. N tokens, H heads.
template <typename Real>
struct LayerState {
    std::vector<Real> input, middle;                    // (N, hidden): residual stream
    std::vector<Real> attention_in, attention_inverse;  // normed input, 1 / rms
    std::vector<Real> query_a, query_a_normed, query_inverse;
    std::vector<Real> query;                                  // (N, H * head_dim), rotated
    std::vector<Real> latent, latent_normed, latent_inverse;  // (N, rank + rope), (N, rank)
    std::vector<Real> key;                                    // (H, N, head_dim)
    std::vector<Real> value;                                  // (N, H * value_dim)
    std::vector<Real> probabilities;                          // (windows, H, length, length)
    std::vector<Real> mixed;                                  // (N, H * value_dim)
    std::vector<Real> ffn_in, ffn_inverse;
    std::vector<Real> gate, up;             // dense or shared
    std::vector<Real> score;                // (N, experts): sigmoid
    std::vector<std::uint32_t> chosen;      // (N, k): expert
    std::vector<std::uint32_t> place;       // (N, k): row among the routed rows
    std::vector<Real> weight;               // (N, k)
    std::vector<std::size_t> expert_begin;  // (experts + 1) rows, by expert
    std::vector<Real> routed_in, routed_gate, routed_up, routed_out;  // (N * k, ...)
};

/// Gradients in flight and other space that no layer keeps.
template <typename Real>
struct Scratch {
    std::vector<Real> residual, normed, routed_a, routed_b, wide, query, key, value, latent, mixed;
    std::vector<Real> scores, logits, ffn, rank;
    std::vector<Real> head_rows, head_gradient, head_correction;
    std::vector<Real> cosine, sine;  // (length, rope / 2)
};

template <typename Real>
class Model {
  public:
    /// Room for batches of up to `windows_max` windows of `length_max` tokens.
    Model(const ModelShape& shape,
          const Math<Real>& math,
          std::size_t windows_max,
          std::size_t length_max);

    /// Sum over the batch of the cross-entropy in nats. Without `gradients` only the loss; else
    /// adds the gradient of gradient_scale * (loss + z_loss * log-partition^2).
    double run(std::span<const Real> weights,
               std::span<Real> gradients,
               const TokenBatch& batch,
               const PassOptions& options);

    /// (layers, experts): tokens sent to each expert in the last run.
    [[nodiscard]] std::span<const std::size_t> expert_load() const { return expert_load_; }

    /// Logits of the rows of `batch`, (tokens, vocabulary), by the forward pass alone.
    void logits(std::span<const Real> weights, const TokenBatch& batch, std::vector<Real>& out);

  private:
    struct Pass {
        const Real* weights;
        Real* gradients;
        std::size_t windows, length, tokens;
        bool experts_only = false;
    };
    struct FeedForward {  // offsets of the three matrices and the width between them
        std::size_t gate, up, down, width;
        bool is_routed = false;
    };

    void forward_layers(const Pass& pass, const TokenBatch& batch);
    void attention(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void attention_mix(const Pass& pass, LayerState<Real>& state);
    void attention_latent(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void attention_backward(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void attention_head_backward(const Pass& pass,
                                 std::size_t window,
                                 std::size_t head,
                                 LayerState<Real>& state);
    void key_backward(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void latent_backward(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void query_backward(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void rotate_rows(const Pass& pass, Real direction, Real* x, std::size_t row);

    void feed_forward(const Pass& pass,
                      const FeedForward& ffn,
                      std::size_t rows,
                      const Real* in,
                      Real* gate,
                      Real* up,
                      Real* out,
                      bool accumulate);
    void feed_forward_backward(const Pass& pass,
                               const FeedForward& ffn,
                               std::size_t rows,
                               const Real* in,
                               Real* gate,
                               Real* up,
                               const Real* d_out,
                               Real* d_in,
                               bool accumulate);
    void experts(const Pass& pass, std::size_t layer, LayerState<Real>& state, Real* out);
    void route(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);
    void experts_backward(const Pass& pass, std::size_t layer, LayerState<Real>& state);
    void router_backward(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state);

    double head(const Pass& pass, const TokenBatch& batch, const PassOptions& options);
    void multiply(const Gemm<Real>& product) { math_.gemm(product, *workspace_); }
    /// The gradient of a matrix that is no routed expert.
    void add_gradient(const Pass& pass, const Gemm<Real>& product) {
        if (!pass.experts_only) multiply(product);
    }
    /// Of y = W x with W (out, in) at offset `weight`: d_x (+)= d_y W, and the gradient of W, which
    /// is no routed expert. Rows of x, d_y and d_x lie side by side.
    void matrix_backward(const Pass& pass,
                         std::size_t rows,
                         std::size_t out,
                         std::size_t in,
                         std::size_t weight,
                         const Real* d_y,
                         const Real* x,
                         Real* d_x,
                         bool accumulate) {
        Real* d_weight = pass.gradients + weight;
        add_gradient(pass,
                     a_transposed_times_b(out, in, rows, d_y, out, x, in, d_weight, in, true));
        multiply(
            a_times_b(rows, in, out, d_y, out, pass.weights + weight, in, d_x, in, accumulate));
    }

    const ModelShape shape_;
    const ParameterLayout layout_;
    const Math<Real>& math_;
    std::unique_ptr<GemmWorkspace> workspace_;
    std::vector<LayerState<Real>> layers_;
    std::vector<Real> final_, final_normed_, final_inverse_;
    Scratch<Real> scratch_;
    std::vector<std::size_t> expert_load_;
};

}  // namespace hearth::trainer

// Feed-forward parts of the Model, forward and backward: the gated block that dense layers, the
// shared expert and every routed expert use, and the router that sends each token to a few experts.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "training/trainer/model.h"

namespace hearth::trainer {
namespace {

constexpr double kWeightSumMin = 6.103515625e-5;  // as readers of the file clamp it

}  // namespace

/// out (+)= down(silu(gate(in)) * up(in)); keeps what gate and up gave.
template <typename Real>
void Model<Real>::feed_forward(const Pass& pass,
                               const FeedForward& ffn,
                               std::size_t rows,
                               const Real* in,
                               Real* gate,
                               Real* up,
                               Real* out,
                               bool accumulate) {
    const std::size_t d = shape_.hidden_dim;
    multiply(a_times_b_transposed(
        rows, ffn.width, d, in, d, pass.weights + ffn.gate, d, gate, ffn.width));
    multiply(
        a_times_b_transposed(rows, ffn.width, d, in, d, pass.weights + ffn.up, d, up, ffn.width));
    math_.swiglu(rows * ffn.width, gate, up, scratch_.ffn.data());
    multiply(a_times_b_transposed(rows,
                                  d,
                                  ffn.width,
                                  scratch_.ffn.data(),
                                  ffn.width,
                                  pass.weights + ffn.down,
                                  ffn.width,
                                  out,
                                  d,
                                  accumulate));
}

/// d_in (+)= the gradient; gate and up are consumed.
template <typename Real>
void Model<Real>::feed_forward_backward(const Pass& pass,
                                        const FeedForward& ffn,
                                        std::size_t rows,
                                        const Real* in,
                                        Real* gate,
                                        Real* up,
                                        const Real* d_out,
                                        Real* d_in,
                                        bool accumulate) {
    const std::size_t d = shape_.hidden_dim;
    const std::size_t width = ffn.width;
    Real* d_inner = scratch_.wide.data();
    Real* inner = scratch_.ffn.data();
    multiply(a_times_b(rows, width, d, d_out, d, pass.weights + ffn.down, width, d_inner, width));
    math_.swiglu_backward(rows * width, d_inner, gate, up, inner);
    if (ffn.is_routed || !pass.experts_only) {
        multiply(a_transposed_times_b(
            d, width, rows, d_out, d, inner, width, pass.gradients + ffn.down, width, true));
        multiply(a_transposed_times_b(
            width, d, rows, gate, width, in, d, pass.gradients + ffn.gate, d, true));
        multiply(a_transposed_times_b(
            width, d, rows, up, width, in, d, pass.gradients + ffn.up, d, true));
    }
    multiply(
        a_times_b(rows, d, width, gate, width, pass.weights + ffn.gate, d, d_in, d, accumulate));
    multiply(a_times_b(rows, d, width, up, width, pass.weights + ffn.up, d, d_in, d, true));
}

/// Picks experts by sigmoid score plus bias; the weights are the unbiased scores, normalised. Rows
/// are then ordered by expert.
template <typename Real>
void Model<Real>::route(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state) {
    const std::size_t experts = shape_.expert_count;
    const std::size_t k = shape_.experts_per_token;
    multiply(a_times_b_transposed(pass.tokens,
                                  experts,
                                  shape_.hidden_dim,
                                  state.ffn_in.data(),
                                  shape_.hidden_dim,
                                  pass.weights + at.router,
                                  shape_.hidden_dim,
                                  state.score.data(),
                                  experts));
    const Real* bias = pass.weights + at.routing_bias;
    std::vector<std::uint32_t> order(experts);
    std::fill(state.expert_begin.begin(), state.expert_begin.end(), std::size_t{0});
    for (std::size_t token = 0; token < pass.tokens; ++token) {
        Real* score = state.score.data() + token * experts;
        for (std::size_t e = 0; e < experts; ++e) {
            score[e] = Real(1) / (Real(1) + std::exp(-score[e]));
        }
        std::iota(order.begin(), order.end(), 0U);
        std::partial_sort(order.begin(),
                          order.begin() + static_cast<std::ptrdiff_t>(k),
                          order.end(),
                          [&](std::uint32_t a, std::uint32_t b) {
                              const Real left = score[a] + bias[a];
                              const Real right = score[b] + bias[b];
                              return left != right ? left > right : a < b;
                          });
        Real sum = 0;
        for (std::size_t j = 0; j < k; ++j) {
            sum += score[order[j]];
        }
        sum = std::max(sum, static_cast<Real>(kWeightSumMin));
        for (std::size_t j = 0; j < k; ++j) {
            state.chosen[token * k + j] = order[j];
            state.weight[token * k + j] =
                score[order[j]] / sum * static_cast<Real>(shape_.expert_weights_scale);
            ++state.expert_begin[order[j] + 1];
        }
    }
    std::partial_sum(
        state.expert_begin.begin(), state.expert_begin.end(), state.expert_begin.begin());
    std::vector<std::size_t> next(state.expert_begin.begin(), state.expert_begin.end() - 1);
    for (std::size_t slot = 0; slot < pass.tokens * k; ++slot) {
        state.place[slot] = static_cast<std::uint32_t>(next[state.chosen[slot]]++);
    }
}

/// Adds the shared and the routed experts of one layer to `out`.
template <typename Real>
void Model<Real>::experts(const Pass& pass, std::size_t layer, LayerState<Real>& state, Real* out) {
    const LayerOffsets& at = layout_.layers[layer];
    const std::size_t d = shape_.hidden_dim;
    const std::size_t k = shape_.experts_per_token;
    const std::size_t width = shape_.expert_ffn_dim;
    feed_forward(pass,
                 {at.shared_gate, at.shared_up, at.shared_down, shape_.shared_ffn_dim()},
                 pass.tokens,
                 state.ffn_in.data(),
                 state.gate.data(),
                 state.up.data(),
                 out,
                 true);
    route(pass, at, state);
    for (std::size_t slot = 0; slot < pass.tokens * k; ++slot) {
        const Real* from = state.ffn_in.data() + slot / k * d;
        std::copy(from, from + d, state.routed_in.data() + state.place[slot] * d);
    }
    for (std::size_t e = 0; e < shape_.expert_count; ++e) {
        const std::size_t first = state.expert_begin[e];
        const std::size_t rows = state.expert_begin[e + 1] - first;
        const std::size_t matrix = e * width * d;
        expert_load_[layer * shape_.expert_count + e] = rows;
        feed_forward(pass,
                     {at.gate + matrix, at.up + matrix, at.down + matrix, width, true},
                     rows,
                     state.routed_in.data() + first * d,
                     state.routed_gate.data() + first * width,
                     state.routed_up.data() + first * width,
                     state.routed_out.data() + first * d,
                     false);
    }
    for (std::size_t slot = 0; slot < pass.tokens * k; ++slot) {
        math_.add_scaled(d,
                         state.weight[slot],
                         state.routed_out.data() + state.place[slot] * d,
                         out + slot / k * d);
    }
}

/// Gradient of the router from that of the weights, which scratch_.logits holds per slot.
template <typename Real>
void Model<Real>::router_backward(const Pass& pass,
                                  const LayerOffsets& at,
                                  LayerState<Real>& state) {
    const std::size_t experts = shape_.expert_count;
    const std::size_t k = shape_.experts_per_token;
    const std::size_t d = shape_.hidden_dim;
    const Real* d_weight = scratch_.logits.data();
    Real* d_score = scratch_.scores.data();
    std::fill(d_score, d_score + pass.tokens * experts, Real(0));
    for (std::size_t token = 0; token < pass.tokens; ++token) {
        const Real* score = state.score.data() + token * experts;
        const std::uint32_t* chosen = state.chosen.data() + token * k;
        Real sum = 0;
        Real pull = 0;
        for (std::size_t j = 0; j < k; ++j) {
            sum += score[chosen[j]];
            pull += d_weight[token * k + j] * score[chosen[j]];
        }
        const bool is_clamped = sum < static_cast<Real>(kWeightSumMin);
        const Real total = is_clamped ? static_cast<Real>(kWeightSumMin) : sum;
        for (std::size_t j = 0; j < k; ++j) {
            const Real s = score[chosen[j]];
            const Real shared = is_clamped ? Real(0) : pull / total;
            const Real d_chosen = static_cast<Real>(shape_.expert_weights_scale) *
                                  (d_weight[token * k + j] - shared) / total;
            d_score[token * experts + chosen[j]] = d_chosen * s * (Real(1) - s);
        }
    }
    matrix_backward(pass,
                    pass.tokens,
                    experts,
                    d,
                    at.router,
                    d_score,
                    state.ffn_in.data(),
                    scratch_.normed.data(),
                    true);
}

/// scratch_.residual holds the gradient of the layer's output; scratch_.normed gets that of ffn_in.
template <typename Real>
void Model<Real>::experts_backward(const Pass& pass, std::size_t layer, LayerState<Real>& state) {
    const LayerOffsets& at = layout_.layers[layer];
    const std::size_t d = shape_.hidden_dim;
    const std::size_t k = shape_.experts_per_token;
    const std::size_t width = shape_.expert_ffn_dim;
    const Real* d_out = scratch_.residual.data();
    feed_forward_backward(pass,
                          {at.shared_gate, at.shared_up, at.shared_down, shape_.shared_ffn_dim()},
                          pass.tokens,
                          state.ffn_in.data(),
                          state.gate.data(),
                          state.up.data(),
                          d_out,
                          scratch_.normed.data(),
                          false);
    Real* d_weight = scratch_.logits.data();
    Real* d_routed_out = scratch_.routed_a.data();
    Real* d_routed_in = scratch_.routed_b.data();
    for (std::size_t slot = 0; slot < pass.tokens * k; ++slot) {
        const Real* from = d_out + slot / k * d;
        Real* to = d_routed_out + state.place[slot] * d;
        d_weight[slot] = math_.dot(d, from, state.routed_out.data() + state.place[slot] * d);
        std::fill(to, to + d, Real(0));
        math_.add_scaled(d, state.weight[slot], from, to);
    }
    for (std::size_t e = 0; e < shape_.expert_count; ++e) {
        const std::size_t first = state.expert_begin[e];
        const std::size_t rows = state.expert_begin[e + 1] - first;
        const std::size_t matrix = e * width * d;
        feed_forward_backward(pass,
                              {at.gate + matrix, at.up + matrix, at.down + matrix, width, true},
                              rows,
                              state.routed_in.data() + first * d,
                              state.routed_gate.data() + first * width,
                              state.routed_up.data() + first * width,
                              d_routed_out + first * d,
                              d_routed_in + first * d,
                              false);
    }
    for (std::size_t slot = 0; slot < pass.tokens * k; ++slot) {
        math_.add_scaled(
            d, Real(1), d_routed_in + state.place[slot] * d, scratch_.normed.data() + slot / k * d);
    }
    router_backward(pass, at, state);
}

template void Model<float>::feed_forward(
    const Pass&, const FeedForward&, std::size_t, const float*, float*, float*, float*, bool);
template void Model<float>::feed_forward_backward(const Pass&,
                                                  const FeedForward&,
                                                  std::size_t,
                                                  const float*,
                                                  float*,
                                                  float*,
                                                  const float*,
                                                  float*,
                                                  bool);
template void Model<float>::experts(const Pass&, std::size_t, LayerState<float>&, float*);
template void Model<float>::experts_backward(const Pass&, std::size_t, LayerState<float>&);
template void Model<double>::feed_forward(
    const Pass&, const FeedForward&, std::size_t, const double*, double*, double*, double*, bool);
template void Model<double>::feed_forward_backward(const Pass&,
                                                   const FeedForward&,
                                                   std::size_t,
                                                   const double*,
                                                   double*,
                                                   double*,
                                                   const double*,
                                                   double*,
                                                   bool);
template void Model<double>::experts(const Pass&, std::size_t, LayerState<double>&, double*);
template void Model<double>::experts_backward(const Pass&, std::size_t, LayerState<double>&);

}  // namespace hearth::trainer

#include "training/trainer/model.h"

#include <algorithm>
#include <cmath>

#include "core/base/assert.h"

namespace hearth::trainer {
namespace {

constexpr std::size_t kHeadRows = 256;  // tokens whose logits exist at one time

template <typename Real>
LayerState<Real> make_state(const ModelShape& s,
                            bool is_dense,
                            std::size_t windows,
                            std::size_t length) {
    const std::size_t n = windows * length;
    const std::size_t routed = is_dense ? 0 : n * s.experts_per_token;
    const std::size_t experts = is_dense ? 0 : s.expert_count;
    LayerState<Real> state;
    const std::size_t width = is_dense ? s.dense_ffn_dim : s.shared_ffn_dim();
    for (auto* buffer : {&state.input, &state.middle, &state.attention_in, &state.ffn_in}) {
        buffer->resize(n * s.hidden_dim);
    }
    for (auto* buffer : {&state.attention_inverse,
                         &state.query_inverse,
                         &state.latent_inverse,
                         &state.ffn_inverse}) {
        buffer->resize(n);
    }
    state.query_a.resize(n * s.query_rank);
    state.query_a_normed.resize(n * s.query_rank);
    state.query.resize(n * s.head_count * s.head_dim());
    state.latent.resize(n * (s.latent_rank + s.rope_dim));
    state.latent_normed.resize(n * s.latent_rank);
    state.key.resize(s.head_count * n * s.head_dim());
    state.value.resize(n * s.head_count * s.value_dim);
    state.mixed.resize(n * s.head_count * s.value_dim);
    state.probabilities.resize(n * s.head_count * length);
    state.gate.resize(n * width);
    state.up.resize(n * width);
    state.score.resize(n * experts);
    state.chosen.resize(routed);
    state.place.resize(routed);
    state.weight.resize(routed);
    state.expert_begin.resize(experts + 1);
    state.routed_in.resize(routed * s.hidden_dim);
    state.routed_out.resize(routed * s.hidden_dim);
    state.routed_gate.resize(routed * s.expert_ffn_dim);
    state.routed_up.resize(routed * s.expert_ffn_dim);
    return state;
}

template <typename Real>
Scratch<Real> make_scratch(const ModelShape& s, std::size_t windows, std::size_t length) {
    const std::size_t n = windows * length;
    const std::size_t routed = n * std::max<std::size_t>(1, s.experts_per_token);
    Scratch<Real> scratch;
    scratch.residual.resize(n * s.hidden_dim);
    scratch.normed.resize(n * s.hidden_dim);
    scratch.routed_a.resize(routed * s.hidden_dim);
    scratch.routed_b.resize(routed * s.hidden_dim);
    scratch.wide.resize(n * std::max(s.dense_ffn_dim, s.shared_ffn_dim()));
    scratch.ffn.resize(scratch.wide.size());
    scratch.query.resize(n * s.head_count * s.head_dim());
    scratch.key.resize(n * s.head_count * s.head_dim());
    scratch.value.resize(n * s.head_count * s.value_dim);
    scratch.mixed.resize(n * s.head_count * s.value_dim);
    scratch.latent.resize(n * (s.latent_rank + s.rope_dim));
    scratch.rank.resize(n * std::max(s.latent_rank, s.query_rank));
    scratch.scores.resize(std::max(n * s.expert_count, 128 * length));
    scratch.logits.resize(std::max(kHeadRows * s.vocab_size, routed));
    const std::size_t pairs = s.rope_dim / 2;
    for (std::size_t position = 0; position < length; ++position) {
        for (std::size_t i = 0; i < pairs; ++i) {
            const double angle =
                static_cast<double>(position) *
                std::pow(static_cast<double>(s.rope_base),
                         -2.0 * static_cast<double>(i) / static_cast<double>(s.rope_dim));
            scratch.cosine.push_back(static_cast<Real>(std::cos(angle)));
            scratch.sine.push_back(static_cast<Real>(std::sin(angle)));
        }
    }
    return scratch;
}

}  // namespace

template <typename Real>
Model<Real>::Model(const ModelShape& shape,
                   const Math<Real>& math,
                   std::size_t windows_max,
                   std::size_t length_max)
    : shape_(shape),
      layout_(shape),
      math_(math),
      workspace_(std::make_unique<GemmWorkspace>()),
      scratch_(make_scratch<Real>(shape, windows_max, length_max)),
      expert_load_(shape.layer_count * shape.expert_count) {
    for (const LayerOffsets& at : layout_.layers) {
        layers_.push_back(make_state<Real>(shape, at.is_dense, windows_max, length_max));
    }
    const std::size_t n = windows_max * length_max;
    final_.resize(n * shape.hidden_dim);
    final_normed_.resize(n * shape.hidden_dim);
    final_inverse_.resize(n);
}

template <typename Real>
void Model<Real>::forward_layers(const Pass& pass, const TokenBatch& batch) {
    const std::size_t d = shape_.hidden_dim;
    HEARTH_ASSERT(pass.tokens * d <= final_.size());
    HEARTH_ASSERT(pass.length * shape_.rope_dim / 2 <= scratch_.cosine.size());
    std::vector<Real>& first = layers_.empty() ? final_ : layers_.front().input;
    for (std::size_t token = 0; token < pass.tokens; ++token) {
        const Real* row =
            pass.weights + layout_.embedding + static_cast<std::size_t>(batch.inputs[token]) * d;
        std::copy(row, row + d, first.data() + token * d);
    }
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
        const LayerOffsets& at = layout_.layers[layer];
        LayerState<Real>& state = layers_[layer];
        attention(pass, at, state);
        math_.rms_norm(pass.tokens,
                       d,
                       state.middle.data(),
                       d,
                       pass.weights + at.ffn_norm,
                       static_cast<Real>(shape_.norm_epsilon),
                       state.ffn_in.data(),
                       state.ffn_inverse.data());
        std::vector<Real>& out = layer + 1 < layers_.size() ? layers_[layer + 1].input : final_;
        std::copy(state.middle.begin(), state.middle.end(), out.begin());
        if (at.is_dense) {
            feed_forward(pass,
                         {at.gate, at.up, at.down, shape_.dense_ffn_dim},
                         pass.tokens,
                         state.ffn_in.data(),
                         state.gate.data(),
                         state.up.data(),
                         out.data(),
                         true);
        } else {
            experts(pass, layer, state, out.data());
        }
    }
    math_.rms_norm(pass.tokens,
                   d,
                   final_.data(),
                   d,
                   pass.weights + layout_.output_norm,
                   static_cast<Real>(shape_.norm_epsilon),
                   final_normed_.data(),
                   final_inverse_.data());
}

/// Cross-entropy over the candidates, a few rows at a time, and its gradients: of the candidate
/// rows into the embedding, of the final rows into scratch_.normed.
template <typename Real>
double Model<Real>::head(const Pass& pass, const TokenBatch& batch, const PassOptions& options) {
    const std::size_t d = shape_.hidden_dim;
    const HeadCandidates* chosen = options.candidates;
    const std::size_t count = chosen ? chosen->tokens.size() : shape_.vocab_size;
    const Real* rows = pass.weights + layout_.embedding;
    Real* d_rows = pass.gradients ? pass.gradients + layout_.embedding : nullptr;
    scratch_.head_correction.assign(count, Real(0));
    if (chosen) {
        scratch_.head_rows.resize(count * d);
        scratch_.head_gradient.assign(count * d, Real(0));
        for (std::size_t i = 0; i < count; ++i) {
            std::copy(rows + chosen->tokens[i] * d,
                      rows + (chosen->tokens[i] + 1) * d,
                      scratch_.head_rows.data() + i * d);
            scratch_.head_correction[i] = static_cast<Real>(chosen->correction[i]);
        }
        rows = scratch_.head_rows.data();
        if (d_rows) d_rows = scratch_.head_gradient.data();
    }
    double loss = 0;
    for (std::size_t first = 0; first < pass.tokens; first += kHeadRows) {
        const std::size_t block = std::min(kHeadRows, pass.tokens - first);
        Real* logits = scratch_.logits.data();
        const Real* normed = final_normed_.data() + first * d;
        multiply(a_times_b_transposed(block, count, d, normed, d, rows, d, logits, count));
        for (std::size_t i = 0; i < block; ++i) {
            const auto target = static_cast<std::size_t>(batch.targets[first + i]);
            loss += math_.cross_entropy(
                {.count = count,
                 .logits = logits + i * count,
                 .correction = scratch_.head_correction.data(),
                 .target = chosen ? chosen->index_of[target] : target,
                 .z_loss = static_cast<Real>(options.z_loss),
                 .scale = d_rows ? static_cast<Real>(options.gradient_scale) : Real(0)});
        }
        if (!d_rows) continue;
        add_gradient(
            pass, a_transposed_times_b(count, d, block, logits, count, normed, d, d_rows, d, true));
        multiply(a_times_b(
            block, d, count, logits, count, rows, d, scratch_.normed.data() + first * d, d));
    }
    if (chosen && d_rows && !pass.experts_only) {
        for (std::size_t i = 0; i < count; ++i) {
            math_.add_scaled(d,
                             Real(1),
                             d_rows + i * d,
                             pass.gradients + layout_.embedding + chosen->tokens[i] * d);
        }
    }
    return loss;
}

template <typename Real>
double Model<Real>::run(std::span<const Real> weights,
                        std::span<Real> gradients,
                        const TokenBatch& batch,
                        const PassOptions& options) {
    HEARTH_ASSERT(weights.size() == layout_.elements);
    HEARTH_ASSERT(gradients.empty() || gradients.size() == layout_.elements);
    const Pass pass{weights.data(),
                    gradients.empty() ? nullptr : gradients.data(),
                    batch.window_count,
                    batch.length,
                    batch.tokens(),
                    options.experts_only};
    const std::size_t d = shape_.hidden_dim;
    forward_layers(pass, batch);
    const double loss = head(pass, batch, options);
    if (!pass.gradients) return loss;
    math_.rms_norm_backward(pass.tokens,
                            d,
                            final_.data(),
                            d,
                            pass.weights + layout_.output_norm,
                            final_inverse_.data(),
                            scratch_.normed.data(),
                            scratch_.residual.data(),
                            false,
                            pass.gradients + layout_.output_norm);
    for (std::size_t layer = layers_.size(); layer-- > 0;) {
        const LayerOffsets& at = layout_.layers[layer];
        LayerState<Real>& state = layers_[layer];
        if (at.is_dense) {
            feed_forward_backward(pass,
                                  {at.gate, at.up, at.down, shape_.dense_ffn_dim},
                                  pass.tokens,
                                  state.ffn_in.data(),
                                  state.gate.data(),
                                  state.up.data(),
                                  scratch_.residual.data(),
                                  scratch_.normed.data(),
                                  false);
        } else {
            experts_backward(pass, layer, state);
            const bool is_lowest = layer == shape_.dense_layer_count;
            if (pass.experts_only && is_lowest) return loss;
        }
        math_.rms_norm_backward(pass.tokens,
                                d,
                                state.middle.data(),
                                d,
                                pass.weights + at.ffn_norm,
                                state.ffn_inverse.data(),
                                scratch_.normed.data(),
                                scratch_.residual.data(),
                                true,
                                pass.gradients + at.ffn_norm);
        attention_backward(pass, at, state);
    }
    for (std::size_t token = 0; token < pass.tokens; ++token) {
        math_.add_scaled(
            d,
            Real(1),
            scratch_.residual.data() + token * d,
            pass.gradients + layout_.embedding + static_cast<std::size_t>(batch.inputs[token]) * d);
    }
    return loss;
}

template <typename Real>
void Model<Real>::logits(std::span<const Real> weights,
                         const TokenBatch& batch,
                         std::vector<Real>& out) {
    HEARTH_ASSERT(weights.size() == layout_.elements);
    const Pass pass{weights.data(), nullptr, batch.window_count, batch.length, batch.tokens()};
    forward_layers(pass, batch);
    out.resize(pass.tokens * shape_.vocab_size);
    multiply(a_times_b_transposed(pass.tokens,
                                  shape_.vocab_size,
                                  shape_.hidden_dim,
                                  final_normed_.data(),
                                  shape_.hidden_dim,
                                  pass.weights + layout_.embedding,
                                  shape_.hidden_dim,
                                  out.data(),
                                  shape_.vocab_size));
}

template class Model<float>;
template class Model<double>;

}  // namespace hearth::trainer

// Latent attention of the Model, forward and backward: queries through a low rank, keys and values
// from one normed latent per token, position by rotation of a small shared part.
#include <algorithm>
#include <cmath>

#include "training/trainer/model.h"

namespace hearth::trainer {
namespace {

constexpr std::size_t kQueryRows = 128;  // query rows that share one block of scores

}  // namespace

template <typename Real>
void Model<Real>::rotate_rows(const Pass& pass, Real direction, Real* x, std::size_t row) {
    const std::size_t pairs = shape_.rope_dim / 2;
    for (std::size_t token = 0; token < pass.tokens; ++token) {
        const std::size_t angle = token % pass.length * pairs;
        math_.rotate(
            pairs, &scratch_.cosine[angle], &scratch_.sine[angle], direction, x + token * row);
    }
}

/// Keys and values of every head from the latent, and the shared rotated key part.
template <typename Real>
void Model<Real>::attention_latent(const Pass& pass,
                                   const LayerOffsets& at,
                                   LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t row = s.latent_rank + s.rope_dim;
    const std::size_t value_row = s.head_count * s.value_dim;
    multiply(a_times_b_transposed(n,
                                  row,
                                  s.hidden_dim,
                                  state.attention_in.data(),
                                  s.hidden_dim,
                                  pass.weights + at.latent_a,
                                  s.hidden_dim,
                                  state.latent.data(),
                                  row));
    math_.rms_norm(n,
                   s.latent_rank,
                   state.latent.data(),
                   row,
                   pass.weights + at.latent_norm,
                   static_cast<Real>(s.norm_epsilon),
                   state.latent_normed.data(),
                   state.latent_inverse.data());
    rotate_rows(pass, 1, state.latent.data() + s.latent_rank, row);
    for (std::size_t head = 0; head < s.head_count; ++head) {
        Real* key = state.key.data() + head * n * s.head_dim();
        multiply(a_times_b(n,
                           s.nope_dim,
                           s.latent_rank,
                           state.latent_normed.data(),
                           s.latent_rank,
                           pass.weights + at.key_b + head * s.latent_rank * s.nope_dim,
                           s.nope_dim,
                           key,
                           s.head_dim()));
        for (std::size_t token = 0; token < n; ++token) {
            const Real* rotated = state.latent.data() + token * row + s.latent_rank;
            std::copy(rotated, rotated + s.rope_dim, key + token * s.head_dim() + s.nope_dim);
        }
    }
    multiply(a_times_b_transposed(n,
                                  value_row,
                                  s.latent_rank,
                                  state.latent_normed.data(),
                                  s.latent_rank,
                                  pass.weights + at.value_b,
                                  s.latent_rank,
                                  state.value.data(),
                                  value_row));
}

/// Scores, probabilities and the mixed values of every head, a block of query rows at a time.
template <typename Real>
void Model<Real>::attention_mix(const Pass& pass, LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t length = pass.length;
    const std::size_t query_row = s.head_count * s.head_dim();
    const std::size_t value_row = s.head_count * s.value_dim;
    const auto scale = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(s.head_dim())));
    for (std::size_t window = 0; window < pass.windows; ++window) {
        for (std::size_t head = 0; head < s.head_count; ++head) {
            const std::size_t first = window * length;
            const Real* key = state.key.data() + (head * n + first) * s.head_dim();
            const Real* value = state.value.data() + first * value_row + head * s.value_dim;
            Real* p = state.probabilities.data() + (window * s.head_count + head) * length * length;
            for (std::size_t begin = 0; begin < length; begin += kQueryRows) {
                const std::size_t end = std::min(begin + kQueryRows, length);
                Real* block = p + begin * length;
                multiply(a_times_b_transposed(
                    end - begin,
                    end,
                    s.head_dim(),
                    state.query.data() + (first + begin) * query_row + head * s.head_dim(),
                    query_row,
                    key,
                    s.head_dim(),
                    block,
                    length));
                for (std::size_t i = begin; i < end; ++i) {
                    math_.softmax(i + 1, end, scale, p + i * length);
                }
                multiply(
                    a_times_b(end - begin,
                              s.value_dim,
                              end,
                              block,
                              length,
                              value,
                              value_row,
                              state.mixed.data() + (first + begin) * value_row + head * s.value_dim,
                              value_row));
            }
        }
    }
}

template <typename Real>
void Model<Real>::attention(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t query_row = s.head_count * s.head_dim();
    const std::size_t value_row = s.head_count * s.value_dim;
    const auto epsilon = static_cast<Real>(s.norm_epsilon);
    math_.rms_norm(n,
                   s.hidden_dim,
                   state.input.data(),
                   s.hidden_dim,
                   pass.weights + at.attention_norm,
                   epsilon,
                   state.attention_in.data(),
                   state.attention_inverse.data());
    multiply(a_times_b_transposed(n,
                                  s.query_rank,
                                  s.hidden_dim,
                                  state.attention_in.data(),
                                  s.hidden_dim,
                                  pass.weights + at.query_a,
                                  s.hidden_dim,
                                  state.query_a.data(),
                                  s.query_rank));
    math_.rms_norm(n,
                   s.query_rank,
                   state.query_a.data(),
                   s.query_rank,
                   pass.weights + at.query_a_norm,
                   epsilon,
                   state.query_a_normed.data(),
                   state.query_inverse.data());
    multiply(a_times_b_transposed(n,
                                  query_row,
                                  s.query_rank,
                                  state.query_a_normed.data(),
                                  s.query_rank,
                                  pass.weights + at.query_b,
                                  s.query_rank,
                                  state.query.data(),
                                  query_row));
    for (std::size_t head = 0; head < s.head_count; ++head) {
        rotate_rows(pass, 1, state.query.data() + head * s.head_dim() + s.nope_dim, query_row);
    }
    attention_latent(pass, at, state);
    attention_mix(pass, state);
    state.middle.assign(state.input.begin(), state.input.end());
    multiply(a_times_b_transposed(n,
                                  s.hidden_dim,
                                  value_row,
                                  state.mixed.data(),
                                  value_row,
                                  pass.weights + at.output,
                                  value_row,
                                  state.middle.data(),
                                  s.hidden_dim,
                                  true));
}

/// Gradients of the queries, keys and values of one head in one window, from scratch_.mixed.
template <typename Real>
void Model<Real>::attention_head_backward(const Pass& pass,
                                          std::size_t window,
                                          std::size_t head,
                                          LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t length = pass.length;
    const std::size_t head_dim = s.head_dim();
    const std::size_t query_row = s.head_count * head_dim;
    const std::size_t value_row = s.head_count * s.value_dim;
    const std::size_t first = window * length;
    const std::size_t key_at = (head * pass.tokens + first) * head_dim;
    const std::size_t value_at = first * value_row + head * s.value_dim;
    const auto scale = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(head_dim)));
    const Real* p = state.probabilities.data() + (window * s.head_count + head) * length * length;
    for (std::size_t begin = 0; begin < length; begin += kQueryRows) {
        const std::size_t end = std::min(begin + kQueryRows, length);
        const std::size_t rows = end - begin;
        const std::size_t query_at = (first + begin) * query_row + head * head_dim;
        const Real* block = p + begin * length;
        const Real* d_mixed =
            scratch_.mixed.data() + (first + begin) * value_row + head * s.value_dim;
        Real* d_scores = scratch_.scores.data();
        multiply(a_times_b_transposed(rows,
                                      end,
                                      s.value_dim,
                                      d_mixed,
                                      value_row,
                                      state.value.data() + value_at,
                                      value_row,
                                      d_scores,
                                      end));
        for (std::size_t i = 0; i < rows; ++i) {
            math_.softmax_backward(end, scale, block + i * length, d_scores + i * end);
        }
        multiply(a_times_b(rows,
                           head_dim,
                           end,
                           d_scores,
                           end,
                           state.key.data() + key_at,
                           head_dim,
                           scratch_.query.data() + query_at,
                           query_row));
        multiply(a_transposed_times_b(end,
                                      head_dim,
                                      rows,
                                      d_scores,
                                      end,
                                      state.query.data() + query_at,
                                      query_row,
                                      scratch_.key.data() + key_at,
                                      head_dim,
                                      true));
        multiply(a_transposed_times_b(end,
                                      s.value_dim,
                                      rows,
                                      block,
                                      length,
                                      d_mixed,
                                      value_row,
                                      scratch_.value.data() + value_at,
                                      value_row,
                                      true));
    }
}

/// From the gradient of the keys: adds that of the normed latent to scratch_.rank and that of the
/// rotated part to scratch_.latent.
template <typename Real>
void Model<Real>::key_backward(const Pass& pass, const LayerOffsets& at, LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t row = s.latent_rank + s.rope_dim;
    Real* d_latent = scratch_.latent.data();
    Real* d_normed = scratch_.rank.data();
    for (std::size_t head = 0; head < s.head_count; ++head) {
        const Real* d_key = scratch_.key.data() + head * n * s.head_dim();
        const std::size_t key_b = at.key_b + head * s.latent_rank * s.nope_dim;
        add_gradient(pass,
                     a_transposed_times_b(s.latent_rank,
                                          s.nope_dim,
                                          n,
                                          state.latent_normed.data(),
                                          s.latent_rank,
                                          d_key,
                                          s.head_dim(),
                                          pass.gradients + key_b,
                                          s.nope_dim,
                                          true));
        multiply(a_times_b_transposed(n,
                                      s.latent_rank,
                                      s.nope_dim,
                                      d_key,
                                      s.head_dim(),
                                      pass.weights + key_b,
                                      s.nope_dim,
                                      d_normed,
                                      s.latent_rank,
                                      true));
        for (std::size_t token = 0; token < n; ++token) {
            math_.add_scaled(s.rope_dim,
                             Real(1),
                             d_key + token * s.head_dim() + s.nope_dim,
                             d_latent + token * row + s.latent_rank);
        }
    }
}

/// From the gradients of keys and values to those of the latent and of the normed input.
template <typename Real>
void Model<Real>::latent_backward(const Pass& pass,
                                  const LayerOffsets& at,
                                  LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t row = s.latent_rank + s.rope_dim;
    const std::size_t value_row = s.head_count * s.value_dim;
    Real* d_latent = scratch_.latent.data();
    Real* d_normed = scratch_.rank.data();
    matrix_backward(pass,
                    n,
                    value_row,
                    s.latent_rank,
                    at.value_b,
                    scratch_.value.data(),
                    state.latent_normed.data(),
                    d_normed,
                    false);
    std::fill(scratch_.latent.begin(), scratch_.latent.end(), Real(0));
    key_backward(pass, at, state);
    rotate_rows(pass, -1, d_latent + s.latent_rank, row);
    math_.rms_norm_backward(n,
                            s.latent_rank,
                            state.latent.data(),
                            row,
                            pass.weights + at.latent_norm,
                            state.latent_inverse.data(),
                            d_normed,
                            d_latent,
                            false,
                            pass.gradients + at.latent_norm);
    matrix_backward(pass,
                    n,
                    row,
                    s.hidden_dim,
                    at.latent_a,
                    d_latent,
                    state.attention_in.data(),
                    scratch_.normed.data(),
                    false);
}

/// From the gradient of the rotated queries to that of the normed input (added).
template <typename Real>
void Model<Real>::query_backward(const Pass& pass,
                                 const LayerOffsets& at,
                                 LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t query_row = s.head_count * s.head_dim();
    Real* d_query = scratch_.query.data();
    Real* d_normed = scratch_.rank.data();
    for (std::size_t head = 0; head < s.head_count; ++head) {
        rotate_rows(pass, -1, d_query + head * s.head_dim() + s.nope_dim, query_row);
    }
    matrix_backward(pass,
                    n,
                    query_row,
                    s.query_rank,
                    at.query_b,
                    d_query,
                    state.query_a_normed.data(),
                    d_normed,
                    false);
    // The gradient of query_a takes the place of its normed twin, which is no longer read.
    Real* d_query_a = state.query_a_normed.data();
    math_.rms_norm_backward(n,
                            s.query_rank,
                            state.query_a.data(),
                            s.query_rank,
                            pass.weights + at.query_a_norm,
                            state.query_inverse.data(),
                            d_normed,
                            d_query_a,
                            false,
                            pass.gradients + at.query_a_norm);
    matrix_backward(pass,
                    n,
                    s.query_rank,
                    s.hidden_dim,
                    at.query_a,
                    d_query_a,
                    state.attention_in.data(),
                    scratch_.normed.data(),
                    true);
}

/// scratch_.residual holds the gradient of `middle` and becomes that of `input`.
template <typename Real>
void Model<Real>::attention_backward(const Pass& pass,
                                     const LayerOffsets& at,
                                     LayerState<Real>& state) {
    const ModelShape& s = shape_;
    const std::size_t n = pass.tokens;
    const std::size_t value_row = s.head_count * s.value_dim;
    matrix_backward(pass,
                    n,
                    s.hidden_dim,
                    value_row,
                    at.output,
                    scratch_.residual.data(),
                    state.mixed.data(),
                    scratch_.mixed.data(),
                    false);
    std::fill(scratch_.key.begin(), scratch_.key.end(), Real(0));
    std::fill(scratch_.value.begin(), scratch_.value.end(), Real(0));
    for (std::size_t window = 0; window < pass.windows; ++window) {
        for (std::size_t head = 0; head < s.head_count; ++head) {
            attention_head_backward(pass, window, head, state);
        }
    }
    latent_backward(pass, at, state);
    query_backward(pass, at, state);
    math_.rms_norm_backward(n,
                            s.hidden_dim,
                            state.input.data(),
                            s.hidden_dim,
                            pass.weights + at.attention_norm,
                            state.attention_inverse.data(),
                            scratch_.normed.data(),
                            scratch_.residual.data(),
                            true,
                            pass.gradients + at.attention_norm);
}

template void Model<float>::attention(const Pass&, const LayerOffsets&, LayerState<float>&);
template void Model<double>::attention(const Pass&, const LayerOffsets&, LayerState<double>&);
template void Model<float>::attention_backward(const Pass&,
                                               const LayerOffsets&,
                                               LayerState<float>&);
template void Model<double>::attention_backward(const Pass&,
                                                const LayerOffsets&,
                                                LayerState<double>&);

}  // namespace hearth::trainer

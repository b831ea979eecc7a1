// The operations of a Plan, one plain loop each: the truth that faster kernels are tested against.
// Activations are f32. Dot products, means and softmax denominators are summed in double and sums
// over rows (values, experts) in float, always in ascending order, so that a token's result does
// not depend on what else is in the step. Weights are dequantised row by row; nothing is allocated.
// Shapes and formulas: core/compute/plan.h.
#pragma once

#include <cstdint>
#include <span>

#include "core/compute/plan.h"
#include "core/compute/tensor.h"
#include "kernels/reference/kv_store.h"

namespace hearth::reference {

/// Some columns of an activation, as the operations see it: (rows, dim), rows `stride` apart.
template <typename T>
struct View {
    T* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t dim = 0;
    std::int64_t stride = 0;

    [[nodiscard]] std::span<T> row(std::int64_t index) const {
        return {data + index * stride, static_cast<std::size_t>(dim)};
    }
};
using Floats = View<float>;
using Ints = View<std::int32_t>;

/// Room that operations need while they run. Sizes in elements, for a step of `tokens` rows.
struct Scratch {
    std::span<float> row;     ///< the longest row of a weight
    std::span<float> hidden;  ///< tokens * ffn_dim of the widest Experts
    std::span<float> latent;  ///< tokens * heads * latent_dim of the widest AttentionMla
    std::span<float> scores;  ///< one per position that the cache can hold
};

/// Where the step's tokens stand and where their cache rows are.
struct StepPlaces {
    std::span<const std::int32_t> positions;    ///< (tokens)
    std::span<const std::int32_t> sequence_of;  ///< (tokens)
    std::span<const compute::SequenceView> sequences;

    /// The cache row of `position` in the sequence of token `token`.
    [[nodiscard]] CacheRow row_of(std::int64_t token, std::int64_t position) const {
        const auto sequence =
            static_cast<std::size_t>(sequence_of[static_cast<std::size_t>(token)]);
        const auto block = static_cast<std::size_t>(position / compute::kBlockTokens);
        return {.block = sequences[sequence].block_table[block],
                .slot = static_cast<std::int32_t>(position % compute::kBlockTokens)};
    }
};

void embed(const compute::Embed& op,
           std::span<const std::int32_t> tokens,
           const compute::Tensor& table,
           Floats out);

void rms_norm(const compute::RmsNorm& op, Floats x, const compute::Tensor& weight, Floats out);

/// `bias` null and `residual.data` null where the operation has none.
void project(Floats x,
             const compute::Tensor& weight,
             const compute::Tensor* bias,
             Floats residual,
             Floats out,
             const Scratch& scratch);

void rope(const compute::Rope& op, std::span<const std::int32_t> positions, Floats x);

struct GqaInputs {
    Floats q, k, v;
};
void attention_gqa(const compute::AttentionGqa& op,
                   const GqaInputs& inputs,
                   const StepPlaces& places,
                   ReferenceKvStore& kv,
                   Floats out,
                   const Scratch& scratch);

struct MlaInputs {
    Floats q, latent;
    const compute::Tensor& k_up;
    const compute::Tensor& v_up;
    bool rounds_attention = false;  ///< queries, rows of the cache and weights: bytes
    bool rounds_mixed = false;      ///< what v_up multiplies, by round_activations()
};
void attention_mla(const compute::AttentionMla& op,
                   const MlaInputs& inputs,
                   const StepPlaces& places,
                   ReferenceKvStore& kv,
                   Floats out,
                   const Scratch& scratch);

/// An AttentionMla without `out`: what it leaves in the cache.
void store_latent(const compute::AttentionMla& op,
                  Floats latent,
                  const StepPlaces& places,
                  ReferenceKvStore& kv);

/// `bias` null where the operation has none. `scratch.row` holds 3 * expert_count at least.
void route_top_k(const compute::RouteTopK& op,
                 Floats logits,
                 const compute::Tensor* bias,
                 Ints experts,
                 Floats weights,
                 const Scratch& scratch);

struct ExpertsInputs {
    Floats x;
    Ints experts;
    Floats weights;
    const compute::Tensor& gate;
    const compute::Tensor& up;
    const compute::Tensor& down;
    bool rounds_hidden = false;  ///< what down multiplies, by round_activations()
};
/// `residual.data` null where the operation has none.
void experts(const ExpertsInputs& inputs, Floats residual, Floats out, const Scratch& scratch);

void swiglu(Floats gate, Floats up, Floats out);

void add(Floats a, Floats b, Floats out);

/// Row i of `out` is for row `logit_rows[i]` of x.
void logits(const compute::Logits& op,
            Floats x,
            std::span<const std::int32_t> logit_rows,
            const compute::Tensor& weight,
            Floats out,
            const Scratch& scratch);

}  // namespace hearth::reference

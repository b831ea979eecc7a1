// Muon for matrices, AdamW for the rest, and the routing bias. Muon replaces the momentum of a
// matrix by its nearest half-orthogonal one (five Newton-Schulz steps) and scales it so that its
// root mean square is that of an AdamW update.
// Source: Muon is Scalable for LLM Training, arXiv:2502.16982, sections 2.1 and 2.2.
#pragma once

#include <span>
#include <vector>

#include "training/trainer/math_table.h"
#include "training/trainer/parameters.h"

namespace hearth::trainer {

struct OptimizerStep {
    float matrix_rate = 0;      // Muon
    float adam_rate = 0;        // embedding, norms, router
    float weight_decay = 0.1F;  // not for norms
    float gradient_scale = 1;   // from clipping
    std::size_t number = 1;     // of this step, from 1: corrects the moments
    std::size_t threads = 1;
    bool experts_only = false;  // the other weights stay
};

/// Moments, in the layout of the weights. Muon uses the first only.
struct Moments {
    std::vector<float> first, second;
};

/// One update of every parameter but the routing bias.
void update_weights(const ParameterLayout& layout,
                    const Math<float>& math,
                    const OptimizerStep& step,
                    std::span<const float> gradients,
                    Moments& moments,
                    std::span<float> weights);

/// Raises the bias of experts with less than their share of the tokens, lowers the others.
/// `load` is (layers, experts).   Source: arXiv:2408.15664.
void update_routing_bias(const ParameterLayout& layout,
                         std::span<const std::size_t> load,
                         float rate,
                         std::span<float> weights);

/// Replaces x (rows, columns) by an approximation of its orthogonal factor; singular values end
/// in about [0.7, 1.2].
void orthogonalise(const Math<float>& math,
                   GemmWorkspace& workspace,
                   std::size_t rows,
                   std::size_t columns,
                   std::vector<float>& x);

}  // namespace hearth::trainer

#include "training/trainer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "training/trainer/team.h"

namespace hearth::trainer {
namespace {

constexpr float kMomentum = 0.95F;
constexpr float kUpdateRms = 0.2F;   // of an AdamW update in practice
constexpr float kRouterRate = 0.1F;  // of the rate of the other AdamW parameters
constexpr std::size_t kAdamPiece = 1U << 16;

struct Piece {  // what one thread updates at a time
    const Parameter* parameter;
    std::size_t first, count;
};

std::vector<Piece> split(const ParameterLayout& layout, bool experts_only) {
    std::vector<Piece> pieces;
    for (const Parameter& p : layout.parameters) {
        if (p.kind == ParameterKind::routing_bias) continue;
        if (experts_only && !p.is_routed_expert) continue;
        const std::size_t size = p.kind == ParameterKind::matrix ? p.rows * p.columns : kAdamPiece;
        for (std::size_t first = 0; first < p.elements(); first += size) {
            pieces.push_back({&p, p.offset + first, std::min(size, p.elements() - first)});
        }
    }
    return pieces;
}

void update_matrix(const Math<float>& math,
                   GemmWorkspace& workspace,
                   const OptimizerStep& step,
                   const Piece& piece,
                   const float* gradient,
                   float* momentum,
                   float* weight) {
    const std::size_t rows = piece.parameter->rows;
    const std::size_t columns = piece.parameter->columns;
    math.combine(piece.count, kMomentum, step.gradient_scale, gradient, momentum);
    std::vector<float> update(gradient, gradient + piece.count);
    math.combine(piece.count, step.gradient_scale, kMomentum, momentum, update.data());
    orthogonalise(math, workspace, rows, columns, update);
    const float scale =
        step.matrix_rate * kUpdateRms * std::sqrt(static_cast<float>(std::max(rows, columns)));
    const float keep = 1.0F - step.matrix_rate * step.weight_decay;
    math.combine(piece.count, keep, -scale, update.data(), weight);
}

AdamStep<float> make_adam_step(const OptimizerStep& step, ParameterKind kind) {
    AdamStep<float> adam;
    // The gradient of a router is coherent over its inputs: at the full rate a few steps send every
    // token to the same experts.
    adam.learning_rate =
        kind == ParameterKind::router ? step.adam_rate * kRouterRate : step.adam_rate;
    adam.weight_decay = kind == ParameterKind::norm ? 0.0F : step.weight_decay;
    adam.beta1 = 0.9F;
    adam.beta2 = 0.95F;
    adam.epsilon = 1e-10F;
    const auto number = static_cast<float>(step.number);
    adam.correction1 = 1.0F / (1.0F - std::pow(adam.beta1, number));
    adam.correction2 = 1.0F / (1.0F - std::pow(adam.beta2, number));
    adam.gradient_scale = step.gradient_scale;
    return adam;
}

}  // namespace

void orthogonalise(const Math<float>& math,
                   GemmWorkspace& workspace,
                   std::size_t rows,
                   std::size_t columns,
                   std::vector<float>& x) {
    // The products are taken on the short side; a tall matrix is seen as its transpose.
    const bool is_tall = rows > columns;
    const std::size_t m = std::min(rows, columns);
    const std::size_t n = std::max(rows, columns);
    if (is_tall) {
        std::vector<float> turned(x.size());
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                turned[j * rows + i] = x[i * columns + j];
            }
        }
        x.swap(turned);
    }
    const float norm = std::sqrt(math.dot(x.size(), x.data(), x.data())) + 1e-20F;
    for (float& value : x) {
        value /= norm;
    }
    std::vector<float> gram(m * m), square(m * m), product(m * n);
    for (int pass = 0; pass < 5; ++pass) {
        math.gemm(a_times_b_transposed(m, m, n, x.data(), n, x.data(), n, gram.data(), m),
                  workspace);
        math.gemm(a_times_b(m, m, m, gram.data(), m, gram.data(), m, square.data(), m), workspace);
        math.combine(m * m, 2.0315F, -4.7750F, gram.data(), square.data());
        math.gemm(a_times_b(m, n, m, square.data(), m, x.data(), n, product.data(), n), workspace);
        math.combine(m * n, 3.4445F, 1.0F, product.data(), x.data());
    }
    if (!is_tall) return;
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < columns; ++j) {
            product[i * columns + j] = x[j * rows + i];
        }
    }
    x.swap(product);
}

void update_weights(const ParameterLayout& layout,
                    const Math<float>& math,
                    const OptimizerStep& step,
                    std::span<const float> gradients,
                    Moments& moments,
                    std::span<float> weights) {
    const std::vector<Piece> pieces = split(layout, step.experts_only);
    run_team(step.threads, [&](std::size_t member) {
        const auto workspace = std::make_unique<GemmWorkspace>();
        for (std::size_t i = member; i < pieces.size(); i += step.threads) {
            const Piece& piece = pieces[i];
            const float* gradient = gradients.data() + piece.first;
            float* first = moments.first.data() + piece.first;
            float* weight = weights.data() + piece.first;
            if (piece.parameter->kind == ParameterKind::matrix) {
                update_matrix(math, *workspace, step, piece, gradient, first, weight);
            } else {
                math.adam(piece.count,
                          make_adam_step(step, piece.parameter->kind),
                          gradient,
                          first,
                          moments.second.data() + piece.first,
                          weight);
            }
        }
    });
}

void update_routing_bias(const ParameterLayout& layout,
                         std::span<const std::size_t> load,
                         float rate,
                         std::span<float> weights) {
    const std::size_t experts = load.size() / layout.layers.size();
    for (std::size_t layer = 0; layer < layout.layers.size(); ++layer) {
        const LayerOffsets& at = layout.layers[layer];
        if (at.is_dense) continue;
        const auto loads = load.subspan(layer * experts, experts);
        std::size_t total = 0;
        for (const std::size_t one : loads) {
            total += one;
        }
        for (std::size_t e = 0; e < experts; ++e) {
            if (loads[e] * experts < total) weights[at.routing_bias + e] += rate;
            if (loads[e] * experts > total) weights[at.routing_bias + e] -= rate;
        }
    }
}

}  // namespace hearth::trainer

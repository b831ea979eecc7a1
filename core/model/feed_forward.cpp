#include "core/model/feed_forward.h"

#include <utility>
#include <vector>

namespace hearth::model {
namespace {

using compute::Plan;
using compute::Slice;
using compute::Tensor;

/// One half of the rows of each expert of a merged tensor (expert_count, 2 * ffn_dim, hidden_dim).
std::vector<std::byte> half_of_experts(const Tensor& merged, std::int64_t half) {
    const std::int64_t expert_count = merged.shape.dim(0);
    const std::int64_t half_bytes = merged.shape.dim(1) / 2 * merged.row_size_bytes();
    std::vector<std::byte> bytes;
    bytes.reserve(static_cast<std::size_t>(expert_count * half_bytes));
    for (std::int64_t expert = 0; expert < expert_count; ++expert) {
        const auto part =
            merged.bytes.subspan(static_cast<std::size_t>((2 * expert + half) * half_bytes),
                                 static_cast<std::size_t>(half_bytes));
        bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
}

}  // namespace

Result<DenseWeights> take_dense(Weights& weights,
                                const std::string& prefix,
                                const std::string& suffix,
                                const FeedForwardDims& dims) {
    const auto name = [&](const char* part) { return prefix + part + suffix + ".weight"; };
    DenseWeights dense;
    HEARTH_TRY(dense.gate, weights.take(name("ffn_gate"), {dims.ffn_dim, dims.hidden_dim}));
    HEARTH_TRY(dense.up, weights.take(name("ffn_up"), {dims.ffn_dim, dims.hidden_dim}));
    HEARTH_TRY(dense.down, weights.take(name("ffn_down"), {dims.hidden_dim, dims.ffn_dim}));
    return dense;
}

Result<ExpertWeights> take_experts(Weights& weights,
                                   const std::string& prefix,
                                   std::int64_t expert_count,
                                   const FeedForwardDims& dims) {
    ExpertWeights experts;
    HEARTH_TRY(experts.router,
               weights.take(prefix + "ffn_gate_inp.weight", {expert_count, dims.hidden_dim}));
    HEARTH_TRY(experts.selection_bias,
               weights.take_optional_vector(prefix + "exp_probs_b.bias", expert_count));
    const compute::Shape shape{expert_count, dims.ffn_dim, dims.hidden_dim};
    const std::string merged_name = prefix + "ffn_gate_up_exps.weight";
    if (weights.has(merged_name)) {
        HEARTH_TRY(const Tensor* merged,
                   weights.read(merged_name, {expert_count, 2 * dims.ffn_dim, dims.hidden_dim}));
        experts.gate = weights.add_derived(
            prefix + "ffn_gate_exps.weight", merged->dtype, shape, half_of_experts(*merged, 0));
        experts.up = weights.add_derived(
            prefix + "ffn_up_exps.weight", merged->dtype, shape, half_of_experts(*merged, 1));
    } else {
        HEARTH_TRY(experts.gate, weights.take(prefix + "ffn_gate_exps.weight", shape));
        HEARTH_TRY(experts.up, weights.take(prefix + "ffn_up_exps.weight", shape));
    }
    HEARTH_TRY(experts.down,
               weights.take(prefix + "ffn_down_exps.weight",
                            {expert_count, dims.hidden_dim, dims.ffn_dim}));
    return experts;
}

FeedForwardValues add_feed_forward_values(Plan& plan,
                                          std::int64_t ffn_dim,
                                          const Routing& routing) {
    FeedForwardValues values;
    if (ffn_dim > 0) {
        values.gate = plan.add_value("ffn_gate", ffn_dim);
        values.up = plan.add_value("ffn_up", ffn_dim);
    }
    if (routing.expert_count > 0) {
        values.scores = plan.add_value("expert_scores", routing.expert_count);
        values.experts = plan.add_value("experts", routing.experts_per_token, compute::Dtype::i32);
        values.shares = plan.add_value("expert_shares", routing.experts_per_token);
    }
    return values;
}

void record_dense(Plan& plan,
                  const DenseWeights& weights,
                  std::int64_t ffn_dim,
                  const FeedForwardValues& values,
                  const Slice& normed,
                  const Slice& x) {
    const Slice gate{values.gate.id, 0, ffn_dim};
    const Slice up{values.up.id, 0, ffn_dim};
    plan.operations.push_back(compute::Project{.x = normed, .weight = weights.gate, .out = gate});
    plan.operations.push_back(compute::Project{.x = normed, .weight = weights.up, .out = up});
    plan.operations.push_back(compute::Swiglu{.gate = gate, .up = up, .out = gate});
    plan.operations.push_back(
        compute::Project{.x = gate, .weight = weights.down, .out = x, .residual = x});
}

void record_experts(Plan& plan,
                    const ExpertWeights& weights,
                    const Routing& routing,
                    const FeedForwardValues& values,
                    const Slice& normed,
                    const Slice& x) {
    plan.operations.push_back(
        compute::Project{.x = normed, .weight = weights.router, .out = values.scores});
    plan.operations.push_back(compute::RouteTopK{.logits = values.scores,
                                                 .experts = values.experts,
                                                 .weights = values.shares,
                                                 .bias = weights.selection_bias,
                                                 .gating = routing.gating,
                                                 .normalise = routing.normalise,
                                                 .scale = routing.scale,
                                                 .group_count = routing.group_count,
                                                 .groups_used = routing.groups_used});
    plan.operations.push_back(compute::Experts{.x = normed,
                                               .experts = values.experts,
                                               .weights = values.shares,
                                               .out = x,
                                               .gate = weights.gate,
                                               .up = weights.up,
                                               .down = weights.down,
                                               .residual = x});
}

}  // namespace hearth::model

// The feed-forward part of a layer, dense or with routed experts: its weights and its recording.
// Shared by the architecture files; private to core/model.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/model/weights.h"

namespace hearth::model {

/// down(silu(gate(x)) * up(x))
struct DenseWeights {
    compute::WeightId gate = compute::kNone;
    compute::WeightId up = compute::kNone;
    compute::WeightId down = compute::kNone;
};

struct ExpertWeights {
    compute::WeightId router = compute::kNone;
    compute::WeightId selection_bias = compute::kNone;
    compute::WeightId gate = compute::kNone;
    compute::WeightId up = compute::kNone;
    compute::WeightId down = compute::kNone;
};

/// The values that all layers' feed-forwards use in turn.
struct FeedForwardValues {
    compute::Slice gate, up;                 ///< dense: as wide as the widest layer
    compute::Slice scores, experts, shares;  ///< routed
};

/// How the router picks.
struct Routing {
    std::int64_t expert_count = 0;
    std::int64_t experts_per_token = 0;
    compute::Gating gating = compute::Gating::softmax;
    bool normalise = true;
    float scale = 1.0F;
    std::int64_t group_count = 1;
    std::int64_t groups_used = 1;
};

struct FeedForwardDims {
    std::int64_t hidden_dim;
    std::int64_t ffn_dim;
};

/// Takes `prefix` + "ffn_{gate,up,down}" + `suffix` + ".weight".   Errors: those of Weights::take.
Result<DenseWeights> take_dense(Weights& weights,
                                const std::string& prefix,
                                const std::string& suffix,
                                const FeedForwardDims& dims);

/// Takes the router, its selection bias where the file has one, and the experts; a merged
/// ffn_gate_up_exps is split into copies.   Errors: those of Weights::take.
Result<ExpertWeights> take_experts(Weights& weights,
                                   const std::string& prefix,
                                   std::int64_t expert_count,
                                   const FeedForwardDims& dims);

/// `ffn_dim` 0: no dense part in any layer; `routing.expert_count` 0: no routed part.
FeedForwardValues add_feed_forward_values(compute::Plan& plan,
                                          std::int64_t ffn_dim,
                                          const Routing& routing);

/// Records x += feed_forward(normed).
void record_dense(compute::Plan& plan,
                  const DenseWeights& weights,
                  std::int64_t ffn_dim,
                  const FeedForwardValues& values,
                  const compute::Slice& normed,
                  const compute::Slice& x);
void record_experts(compute::Plan& plan,
                    const ExpertWeights& weights,
                    const Routing& routing,
                    const FeedForwardValues& values,
                    const compute::Slice& normed,
                    const compute::Slice& x);

}  // namespace hearth::model

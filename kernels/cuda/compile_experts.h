// One Experts operation as launches: which kernels serve it depends on the types and on the number
// of tokens.
#pragma once

#include <cstddef>
#include <optional>

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "core/compute/plan.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/weights.h"

namespace hearth::cuda {

/// Room that all expert blocks of a plan share, large enough for the widest.
struct ExpertsRoom {
    float* hidden = nullptr;               ///< (tokens * experts_per_token, ffn_dim)
    std::int8_t* hidden_quants = nullptr;  ///< the same, rounded
    Q8Scale* hidden_scales = nullptr;
    std::int8_t* shared_quants = nullptr;  ///< the shared expert's hidden row
    Q8Scale* shared_scales = nullptr;
    float* products = nullptr;  ///< (tokens * experts_per_token, out.dim)
    PairTiles tiles;
};
ExpertsRoom make_experts_room(const compute::Plan& plan,
                              const CudaWeights& weights,
                              Workspace& workspace);

struct ExpertsNode {
    Matrix gate, up, down;
    int expert_count = 0, ffn_dim = 0;
    FloatRows x;
    Q8Rows x_rounded = {};  ///< where rounds_up
    NormInput norm = {};    ///< what one token takes instead of x_rounded, where x is not null
    IntRows experts;
    FloatRows weights, residual, out;
    int rows = 0;  ///< out.dim
    int experts_per_token = 0;
    bool rounds_up = false;    ///< gate and up take rounded activations
    bool rounds_down = false;  ///< down does
    SharedExpert shared = {};  ///< joins in where there is one token
    ExpertsRoom room;
};
Result<void> run_experts(const ExpertsNode& node, int tokens, Queue queue);

/// The shared expert that follows an Experts operation in the Plan: gate, up, SwiGLU and down onto
/// the same output, of whose intermediate values nothing else is read.
struct SharedPattern {
    const compute::Project* gate;
    const compute::Project* up;
    const compute::Project* down;
    std::size_t operations = 4;
};
std::optional<SharedPattern> find_shared_expert(const compute::Plan& plan, std::size_t experts);

}  // namespace hearth::cuda

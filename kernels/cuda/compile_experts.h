// One Experts operation as launches: which kernels serve it depends on the types and on the number
// of tokens.
#pragma once

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
    IntRows experts;
    FloatRows weights, residual, out;
    int rows = 0;  ///< out.dim
    int experts_per_token = 0;
    bool rounds_up = false;    ///< gate and up take rounded activations
    bool rounds_down = false;  ///< down does
    ExpertsRoom room;
};
Result<void> run_experts(const ExpertsNode& node, int tokens, cudaStream_t stream);

}  // namespace hearth::cuda

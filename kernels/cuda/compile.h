// From a Plan to the list of launches of a step. Neighbours are joined where one kernel serves
// them, and values are rounded by the kernel that makes them where it can.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "core/compute/plan.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/step.h"
#include "kernels/cuda/weights.h"

namespace hearth::cuda {

/// The sizes that a launch depends on; a captured graph is made for one of them.
struct StepShape {
    int tokens = 1;
    int splits = 0;              ///< of attention; 0: a block walks them all
    int logit_rows = 0;          ///< how many rows of logits are computed ...
    int logit_first = 0;         ///< ... from this one of the step's on
    bool counts_logits = false;  ///< fewer where the step's header says so
    /// In the order of the step; of a step without a graph. Borrowed for the launch.
    std::span<const ExpandedRun> expanded_runs = {};
};

/// One or more kernels of a step, in their order.
struct Node {
    std::string name;
    std::function<Result<void>(const StepShape&, Queue)> launch;
    bool serves_one = true;  ///< false: another node does its work where there is one token
    /// Nothing but the logits comes of it: it is behind the last attention.
    bool serves_logits = false;
};

struct CompileOptions {
    bool is_exact = false;            ///< activations stay floats
    std::int64_t split_rows_max = 0;  ///< tokens * splits of attention that there is room for
    std::int64_t logit_rows_max = 0;
};

/// Host values that go to a place of the workspace once.
struct Constant {
    void* device = nullptr;
    std::vector<float> values;
};

struct CompiledPlan {
    std::vector<Node> nodes;                        ///< all but the logits
    std::vector<Node> logits;                       ///< the last ones
    float* logit_values = nullptr;                  ///< (logit_rows_max, vocab_size)
    float *rows_in = nullptr, *rows_out = nullptr;  ///< the Plan's, (tokens_max, dim); null: none
    std::vector<Constant> constants;
    bool expands = false;  ///< latent attention, for a step's expanded runs
};

/// Takes all memory of a step from `workspace`: called once to measure and once to place.
/// Errors: unsupported, naming what.
Result<CompiledPlan> compile_plan(const compute::Plan& plan,
                                  const CudaWeights& weights,
                                  const CompileOptions& options,
                                  const StepTables& step,
                                  Workspace& workspace);

}  // namespace hearth::cuda

// The attentions of a Plan as launches: what prepares their heads, the cache's rows, and the
// attention itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "core/base/result.h"
#include "core/compute/plan.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/compile.h"
#include "kernels/cuda/head_jobs.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/values.h"
#include "kernels/cuda/weights.h"

namespace hearth::cuda {

/// What the widest of a plan's attentions writes for one token and split.
struct SplitWidth {
    std::int64_t values = 0;  ///< floats
    std::int64_t heads = 0;
};
SplitWidth split_width(const compute::Plan& plan);

/// What the compiler does for them.
struct AttentionHooks {
    std::function<void(std::string_view, std::function<Result<void>(const StepShape&, Queue)>)>
        push;  ///< a node
    std::function<const float2*(const compute::Rope&)> angles_of;
};

/// Of one compilation; borrows all it is given.
class AttentionCompiler {
  public:
    AttentionCompiler(const compute::Plan& plan,
                      const CudaWeights& weights,
                      const StepTables& step,
                      std::int64_t split_rows_max,
                      Workspace& workspace,
                      Values& values,
                      AttentionHooks hooks);

    /// One kernel for the run; its attention comes next.
    void prepare(const HeadsRun& run);

    Result<void> add(const compute::AttentionGqa& op);
    Result<void> add(const compute::AttentionMla& op);

  private:
    void store_rows(const FloatRows& key, const FloatRows& value, std::int32_t layer);
    [[nodiscard]] FloatRows push_absorb(const compute::AttentionMla& op);
    [[nodiscard]] CacheLayer cache_of(std::int32_t layer) const {
        return {layer,
                static_cast<std::int32_t>(plan_.kv.key_dim),
                static_cast<std::int32_t>(plan_.kv.value_dim)};
    }

    const compute::Plan& plan_;
    const CudaWeights& weights_;
    const StepTables step_;
    Workspace& workspace_;
    Values& values_;
    const AttentionHooks hooks_;
    float* partial_values_;
    float2* partial_sums_;
    bool is_prepared_ = false;  ///< the next attention's rows are in the cache
};

}  // namespace hearth::cuda

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
#include "kernels/cuda/expand.h"
#include "kernels/cuda/head_jobs.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/planes.h"
#include "kernels/cuda/values.h"
#include "kernels/cuda/weights.h"

namespace hearth::cuda {

/// What the widest of a plan's attentions writes for one token and split.
struct SplitWidth {
    std::int64_t values = 0;  ///< floats
    std::int64_t heads = 0;
};
SplitWidth split_width(const compute::Plan& plan);

/// Latent attention's room, of all layers.
struct LatentRoom {
    float *queries = nullptr, *mixed = nullptr;  ///< (tokens, heads * latent_dim)
    int positions = 0;                           ///< of a stretch; 0: all is absorbed
    std::uint16_t* expanded = nullptr;           ///< a stretch, see ExpandArgs
    float2* states = nullptr;                    ///< (tokens, heads)
};

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
                      const CompileOptions& options,
                      Workspace& workspace,
                      Values& values,
                      AttentionHooks hooks);

    /// One kernel for the run; its attention comes next.
    void prepare(const HeadsRun& run);

    Result<void> add(const compute::AttentionGqa& op);
    Result<void> add(const compute::AttentionMla& op);

    /// Whether any latent attention makes use of expanded runs.
    [[nodiscard]] bool expands() const { return latent_.positions > 0; }

  private:
    void store_rows(const FloatRows& key, const FloatRows& value, std::int32_t layer);
    [[nodiscard]] LatentRoom take_latent_room();
    [[nodiscard]] bool can_expand(const compute::AttentionMla& op) const;
    void push_absorb(const compute::AttentionMla& op);
    [[nodiscard]] AttentionArgs absorbed_of(const compute::AttentionMla& op) const;
    [[nodiscard]] ExpandedAttention expanded_of(const compute::AttentionMla& op) const;
    [[nodiscard]] CacheLayer cache_of(std::int32_t layer) const {
        return {layer,
                static_cast<std::int32_t>(plan_.kv.key_dim),
                static_cast<std::int32_t>(plan_.kv.value_dim),
                to_format(plan_.kv.dtype)};
    }

    const compute::Plan& plan_;
    const CudaWeights& weights_;
    const StepTables step_;
    Workspace& workspace_;
    Values& values_;
    const AttentionHooks hooks_;
    const bool is_exact_;
    const std::int64_t split_rows_;
    float* partial_values_;
    float2* partial_sums_;
    const LatentRoom latent_;
    bool is_prepared_ = false;  ///< the next attention's rows are in the cache
};

}  // namespace hearth::cuda

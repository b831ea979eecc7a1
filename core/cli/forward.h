// Forward: one sequence of a model on a backend, without an engine. For commands that look at
// logits or measure steps.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/model/model.h"

namespace hearth::cli {

/// The tokens that one step of a prompt takes, as the engine cuts it.
inline constexpr std::int32_t kStepTokens = 128;

class Forward {
  public:
    enum class LogitRows { all, last };

    /// `model` and `backend` outlive it.   Errors: those of the backend.
    static Result<std::unique_ptr<Forward>> make(const model::Model& model,
                                                 compute::Backend& backend,
                                                 std::int32_t sequence_tokens_max);

    /// Runs at most kStepTokens tokens as those at `position`; all before it have been run.
    /// Owner of the logits: this object, until the next step.
    Result<compute::StepOutput> step(std::span<const std::int32_t> tokens,
                                     std::int32_t position,
                                     LogitRows rows);

    [[nodiscard]] std::int64_t bytes_per_token() const { return program_->bytes_per_token(); }

  private:
    Forward() = default;

    std::unique_ptr<compute::DeviceWeights> weights_;
    std::unique_ptr<compute::Program> program_;
    std::unique_ptr<compute::KvStore> kv_;
    std::vector<std::int32_t> block_table_;
};

}  // namespace hearth::cli

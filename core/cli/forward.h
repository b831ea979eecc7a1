// Forward: sequences of a model on a backend, without an engine. For commands that look at logits
// or measure steps.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/compute/compute.h"
#include "core/model/model.h"

namespace hearth::cli {

/// The tokens that one step of a prompt takes.
inline constexpr std::int32_t kStepTokens = 128;

struct ForwardLimits {
    std::int32_t step_tokens = kStepTokens;
    std::int32_t sequence_count = 1;
    std::int32_t sequence_tokens_max = 0;  ///< of each where all are used
    std::int32_t first_tokens_max = 0;     ///< of the first where it is alone
    compute::Dtype cache_type = compute::Dtype::f16;
};

class Forward {
  public:
    enum class LogitRows { all, last };

    /// `model` and `backend` outlive it.   Errors: those of the backend; invalid_argument where the
    /// model cannot have this type of cache.
    static Result<std::unique_ptr<Forward>> make(
        const model::Model& model,
        compute::Backend& backend,
        const ForwardLimits& limits,
        std::span<const compute::HostExperts> host_experts = {});

    /// Runs at most step_tokens tokens of the first sequence as those at `position`; all before it
    /// have been run. Owner of the logits: this object, until the next step.
    Result<compute::StepOutput> step(std::span<const std::int32_t> tokens,
                                     std::int32_t position,
                                     LogitRows rows);

    /// Runs one token of each of the first `tokens.size()` sequences, all at `position`.
    Result<compute::StepOutput> step_each(std::span<const std::int32_t> tokens,
                                          std::int32_t position);

    /// Whether the device picks tokens itself, so that steps can be launched ahead.
    [[nodiscard]] bool picks_tokens() const { return program_->step_queue() != nullptr; }
    /// The steps that step_each() would run, from `position` on: `tokens` (steps, sequences). Each
    /// picks the best tokens and is launched while the one before it runs, as in the daemon. Only
    /// where picks_tokens().
    ///
    /// Errors: those of the backend; this object is of no use then.
    Result<void> run_ahead(std::span<const std::int32_t> tokens,
                           std::int32_t sequences,
                           std::int32_t position);

    /// An answer of the first sequence: the first `prompt_tokens` of `tokens` in one step as those
    /// at `position`, the others one by one. Launched as run_ahead() does where picks_tokens(),
    /// else each step is waited for.
    ///
    /// Errors: those of the backend; this object is of no use then.
    Result<void> answer(std::span<const std::int32_t> tokens,
                        std::int32_t prompt_tokens,
                        std::int32_t position);

    /// Makes the whole cache hold something, quickly: runs `tokens` as the first ones and copies
    /// their rows into all other blocks. Rows of the wrong place are as long to read.
    Result<void> fill_cache(std::span<const std::int32_t> tokens);

    [[nodiscard]] std::int64_t bytes_per_token() const { return program_->bytes_per_token(); }
    [[nodiscard]] std::int64_t kernels_per_run() const { return program_->kernels_per_run(); }
    [[nodiscard]] compute::ExpertUses expert_uses() const { return program_->expert_uses(); }
    [[nodiscard]] std::int64_t cache_bytes() const { return kv_->size_bytes(); }
    /// What one earlier token of a sequence takes in the cache.
    [[nodiscard]] std::int64_t cache_bytes_per_token() const {
        return kv_->size_bytes() / (std::int64_t{kv_->block_count()} * compute::kBlockTokens);
    }

  private:
    Forward() = default;
    [[nodiscard]] std::span<const std::int32_t> blocks_of(std::int32_t sequence) const;
    /// The same of the first `count` sequences; one alone has all.
    [[nodiscard]] std::vector<compute::SequenceView> views_of(std::int32_t count) const;

    ForwardLimits limits_;
    std::unique_ptr<compute::DeviceWeights> weights_;
    std::unique_ptr<compute::Program> program_;
    std::unique_ptr<compute::KvStore> kv_;
    std::vector<std::int32_t> blocks_;  ///< 0, 1, ...; sequences take runs of them
};

}  // namespace hearth::cli

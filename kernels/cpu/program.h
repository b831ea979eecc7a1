// CpuProgram: a Plan's stages and the memory they work in. A step walks the stages on the pool's
// threads: per stage one phase of units and, for many tokens, one phase before it in which the
// chain is shared out by tokens. For few tokens the thread that opens a phase runs the chain alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "core/compute/plan.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/schedule.h"
#include "kernels/cpu/thread_pool.h"

namespace hearth::cpu {

class CpuProgram final : public compute::Program, private ParallelJob {
  public:
    /// `weights`, `kernels` and `pool` outlive the result.   Errors: out_of_memory.
    static Result<std::unique_ptr<compute::Program>> make(const compute::Plan& plan,
                                                          std::span<const compute::Tensor> weights,
                                                          const Kernels& kernels,
                                                          ThreadPool& pool);

    Result<compute::StepOutput> run(const compute::StepBatch& batch, compute::KvStore& kv) override;
    [[nodiscard]] std::int64_t bytes_per_token() const override { return bytes_per_token_; }

  private:
    CpuProgram(const compute::Plan& plan, const Kernels& kernels, ThreadPool& pool)
        : plan_tokens_max_(plan.tokens_max),
          vocab_size_(plan.vocab_size),
          kv_layout_(plan.kv),
          rows_in_dim_(plan.rows_in.dim),
          rows_out_dim_(plan.rows_out.dim),
          kernels_(kernels),
          pool_(pool) {}

    Result<void> take_memory(const compute::Plan& plan, std::span<const std::int64_t> row_bytes);

    std::optional<std::int64_t> next_phase(std::int32_t thread) override;
    void run_unit(std::int64_t unit, std::int32_t thread) override;

    /// Prepares the operations of the current stage's phase; gives its units.
    std::int64_t open_phase();
    [[nodiscard]] const Step& step_of(Rows rows) const {
        return rows == Rows::all ? *all_ : *wanted_;
    }
    void run_chain(std::int64_t first, std::int64_t count, Scratch scratch) const;
    /// Tokens that the current stage's chain is run for.
    [[nodiscard]] std::int64_t chain_tokens() const {
        return step_of(stages_[stage_].chain_rows).tokens();
    }
    /// Tokens of a unit of a shared chain; 0: the chain is not shared.
    [[nodiscard]] std::int64_t chain_share() const;
    [[nodiscard]] Scratch scratch_of(std::int32_t thread);

    // Fixed after construction.
    const std::int32_t plan_tokens_max_;
    const std::int64_t vocab_size_;
    const compute::KvLayout kv_layout_;
    const std::int64_t rows_in_dim_, rows_out_dim_;  ///< 0: none
    const Kernels& kernels_;
    ThreadPool& pool_;
    std::int64_t bytes_per_token_ = 0;
    std::vector<Node> nodes_;
    std::vector<Stage> stages_;

    // Memory of a step.
    struct Free {
        void operator()(void* memory) const;
    };
    std::unique_ptr<std::byte, Free> arena_;
    std::vector<BufferMemory> buffers_;
    std::unique_ptr<std::byte, Free> scratch_;  ///< scratch_bytes_ for each thread
    std::int64_t scratch_bytes_ = 0;
    std::unique_ptr<float, Free> logits_, rows_out_;
    std::vector<std::int32_t> row_numbers_;  ///< 0, 1, ... plan_tokens_max_ - 1

    // Where a run stands; written by the thread that opens a phase.
    enum class Part { start, chain, phase };
    const Step* all_ = nullptr;
    const Step* wanted_ = nullptr;
    std::size_t stage_ = 0;
    Part part_ = Part::start;
    std::vector<std::int64_t> unit_ends_;  ///< by group: units of it and of those before
};

}  // namespace hearth::cpu

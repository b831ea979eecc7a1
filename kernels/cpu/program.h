// CpuProgram: a Plan's stages and the memory they work in. A step walks the stages on all threads
// of the pool, with one barrier after each phase; for many tokens also one after each chain, which
// is then shared out by tokens. For few tokens the last thread to arrive runs the chain alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "core/compute/plan.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/schedule.h"
#include "kernels/cpu/thread_pool.h"

namespace hearth::cpu {

class CpuProgram final : public compute::Program {
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
          kernels_(kernels),
          pool_(pool) {}

    Result<void> take_memory(const compute::Plan& plan, std::span<const std::int64_t> row_bytes);
    void check(const compute::StepBatch& batch, const CpuKvStore& kv) const;

    void walk(const Step& step, std::int32_t thread);
    /// One thread, before a stage: the chain of a step of few tokens, and what follows.
    void enter(const Step& step, std::size_t stage, std::int32_t thread);
    /// One thread, between the chain and the phase of a stage.
    void open_phase(const Step& step, const Stage& stage);
    void run_chain(const Step& step, const Stage& stage, std::int64_t token, Scratch scratch) const;
    void share_chain(const Step& step, const Stage& stage, Scratch scratch);
    void share_phase(const Step& step, const Stage& stage, Scratch scratch);
    [[nodiscard]] bool is_chain_shared(const Step& step, const Stage& stage) const;
    [[nodiscard]] Scratch scratch_of(std::int32_t thread);

    // Fixed after construction.
    const std::int32_t plan_tokens_max_;
    const std::int64_t vocab_size_;
    const compute::KvLayout kv_layout_;
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
    std::unique_ptr<float, Free> logits_;

    // The running phase or shared chain; written by one thread between barriers.
    std::vector<std::int64_t> unit_ends_;  ///< by group: units of it and of those before
    alignas(64) std::atomic<std::int64_t> next_{0};
};

}  // namespace hearth::cpu

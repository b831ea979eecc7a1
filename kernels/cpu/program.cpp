#include "kernels/cpu/program.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/base/assert.h"
#include "core/base/thread.h"
#include "core/compute/step_check.h"
#include "kernels/cpu/compile.h"
#include "kernels/cpu/kv_store.h"

namespace hearth::cpu {
namespace {

constexpr std::int64_t kAlignment = 64;

/// Up to here a chain costs less than sharing it.
constexpr std::int64_t kSerialTokensMax = 3;

/// Not touched, so that only what steps use becomes resident.
void* take_bytes(std::int64_t bytes) {
    const std::int64_t rounded = (bytes + kAlignment) / kAlignment * kAlignment;
    return std::aligned_alloc(kAlignment, static_cast<std::size_t>(rounded));
}

std::int64_t largest_scratch(std::span<const Node> nodes) {
    std::int64_t bytes = 0;
    for (const Node& node : nodes) {
        bytes = std::max(bytes, node.op().scratch_bytes());
    }
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

void CpuProgram::Free::operator()(void* memory) const {
    std::free(memory);
}

Result<std::unique_ptr<compute::Program>> CpuProgram::make(const compute::Plan& plan,
                                                           std::span<const compute::Tensor> weights,
                                                           const Kernels& kernels,
                                                           ThreadPool& pool) {
    std::unique_ptr<CpuProgram> program(new CpuProgram(plan, kernels, pool));
    program->bytes_per_token_ = compute::weight_bytes_per_token(plan, weights);
    CompiledPlan compiled = compile_plan(plan, weights);
    program->nodes_ = std::move(compiled.nodes);
    program->stages_ = make_stages(program->nodes_);
    HEARTH_CHECK(program->take_memory(plan, compiled.row_bytes));
    return std::unique_ptr<compute::Program>(std::move(program));
}

Result<void> CpuProgram::take_memory(const compute::Plan& plan,
                                     std::span<const std::int64_t> row_bytes) {
    std::vector<std::int64_t> bytes;
    for (const std::int64_t row : row_bytes) {
        bytes.push_back(row * plan.tokens_max);
    }
    const ArenaLayout layout = lay_out(stages_, bytes);
    scratch_bytes_ = largest_scratch(nodes_);
    const std::int64_t logits_bytes =
        plan.tokens_max * plan.vocab_size * static_cast<std::int64_t>(sizeof(float));
    arena_.reset(static_cast<std::byte*>(take_bytes(layout.bytes)));
    scratch_.reset(static_cast<std::byte*>(take_bytes(scratch_bytes_ * pool_.thread_count())));
    logits_.reset(static_cast<float*>(take_bytes(logits_bytes)));
    rows_out_.reset(static_cast<float*>(
        take_bytes(plan.tokens_max * rows_out_dim_ * static_cast<std::int64_t>(sizeof(float)))));
    if (arena_ == nullptr || scratch_ == nullptr || logits_ == nullptr || rows_out_ == nullptr) {
        return fail(ErrorCode::out_of_memory,
                    "no memory for steps of " + std::to_string(plan.tokens_max) + " tokens (" +
                        std::to_string(layout.bytes + logits_bytes) +
                        " bytes); use a smaller batch",
                    "cpu");
    }
    for (std::size_t i = 0; i < row_bytes.size(); ++i) {
        buffers_.push_back({arena_.get() + layout.offsets[i], row_bytes[i]});
    }
    std::size_t groups_max = 0;
    for (const Stage& stage : stages_) {
        groups_max = std::max(groups_max, stage.phase.size());
    }
    unit_ends_.reserve(groups_max);
    return {};
}

Result<compute::StepOutput> CpuProgram::run(const compute::StepBatch& batch, compute::KvStore& kv) {
    assert_on(Thread::engine);
    auto* store = dynamic_cast<CpuKvStore*>(&kv);
    HEARTH_ASSERT(store != nullptr);
    HEARTH_ASSERT(store->layout() == kv_layout_);
    compute::check_step(batch,
                        {.tokens_max = plan_tokens_max_,
                         .vocab_size = vocab_size_,
                         .block_count = store->block_count(),
                         .rows_in_dim = rows_in_dim_});
    const std::size_t logit_count = batch.logit_rows.size() * static_cast<std::size_t>(vocab_size_);
    const Step step{.batch = batch,
                    .kv = *store,
                    .kernels = kernels_,
                    .thread_count = pool_.thread_count(),
                    .buffers = buffers_,
                    .logits = {logits_.get(), logit_count},
                    .rows_out = rows_out_.get()};
    step_ = &step;
    stage_ = 0;
    part_ = Part::start;
    pool_.run(*this);
    if (stage_ < stages_.size()) {
        return fail(ErrorCode::cancelled, "the step is no longer wanted", "cpu");
    }
    const std::size_t row_elements = batch.tokens.size() * static_cast<std::size_t>(rows_out_dim_);
    return compute::StepOutput{step.logits, {step.rows_out, row_elements}};
}

std::optional<std::int64_t> CpuProgram::next_phase(std::int32_t thread) {
    if (part_ == Part::phase) {
        ++stage_;
        part_ = Part::start;
    }
    // Units may have been left out: nothing that comes after them is looked at.
    if (stage_ == stages_.size() || step_->is_unwanted()) return std::nullopt;
    if (part_ == Part::start) {
        const std::int64_t share = chain_share();
        if (share > 0) {
            part_ = Part::chain;
            return (step_->tokens() + share - 1) / share;
        }
        run_chain(0, step_->tokens(), scratch_of(thread));
    }
    part_ = Part::phase;
    return open_phase();
}

void CpuProgram::run_unit(std::int64_t unit, std::int32_t thread) {
    if (step_->is_unwanted()) return;
    const Scratch scratch = scratch_of(thread);
    if (part_ == Part::chain) return run_chain(unit * chain_share(), chain_share(), scratch);
    std::size_t group = 0;
    while (unit >= unit_ends_[group]) {
        ++group;
    }
    const std::int64_t unit_of_group = group == 0 ? unit : unit - unit_ends_[group - 1];
    for (const ParallelOp* op : stages_[stage_].phase[group]) {
        op->run(*step_, unit_of_group, scratch);
    }
}

std::int64_t CpuProgram::open_phase() {
    unit_ends_.clear();
    std::int64_t units = 0;
    for (const Group& group : stages_[stage_].phase) {
        for (ParallelOp* op : group) {
            op->prepare(*step_);
        }
        units += group.front()->unit_count(*step_);
        unit_ends_.push_back(units);
    }
    return units;
}

void CpuProgram::run_chain(std::int64_t first, std::int64_t count, Scratch scratch) const {
    const std::int64_t end = std::min(first + count, step_->tokens());
    for (std::int64_t token = first; token < end; ++token) {
        for (const TokenOp* op : stages_[stage_].chain) {
            op->run(*step_, token, scratch);
        }
    }
}

std::int64_t CpuProgram::chain_share() const {
    constexpr std::int64_t kUnitsPerThread = 8;
    const std::int64_t tokens = step_->tokens();
    const bool is_shared =
        step_->thread_count > 1 && tokens > kSerialTokensMax && !stages_[stage_].chain.empty();
    return is_shared ? 1 + tokens / (step_->thread_count * kUnitsPerThread) : 0;
}

Scratch CpuProgram::scratch_of(std::int32_t thread) {
    return Scratch(
        {scratch_.get() + thread * scratch_bytes_, static_cast<std::size_t>(scratch_bytes_)});
}

}  // namespace hearth::cpu

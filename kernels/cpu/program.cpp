#include "kernels/cpu/program.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string>

#include "core/base/assert.h"
#include "core/base/thread.h"
#include "core/compute/step_check.h"
#include "kernels/cpu/compile.h"
#include "kernels/cpu/kv_store.h"

namespace hearth::cpu {
namespace {

constexpr std::int64_t kAlignment = 64;
constexpr std::int64_t kHugePageBytes = std::int64_t{2} << 20;

/// Up to here a chain costs less than sharing it.
constexpr std::int64_t kSerialTokensMax = 3;

/// Not touched, so that only what steps use becomes resident; in huge pages where the system has
/// them, since the rows that a product takes lie in more small ones than have their place at hand.
void* take_bytes(std::int64_t bytes) {
    const std::int64_t alignment = bytes < kHugePageBytes ? kAlignment : kHugePageBytes;
    const std::int64_t rounded = (bytes + alignment) / alignment * alignment;
    void* const memory =
        std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(rounded));
    if (memory != nullptr && alignment == kHugePageBytes) {
        ::madvise(memory, static_cast<std::size_t>(rounded), MADV_HUGEPAGE);
    }
    return memory;
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
    row_numbers_.resize(static_cast<std::size_t>(plan.tokens_max));
    std::iota(row_numbers_.begin(), row_numbers_.end(), 0);
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
    const Step all{.batch = batch,
                   .rows = std::span(row_numbers_).first(batch.tokens.size()),
                   .kv = *store,
                   .kernels = kernels_,
                   .thread_count = pool_.thread_count(),
                   .buffers = buffers_,
                   .logits = {logits_.get(), logit_count},
                   .rows_out = rows_out_.get()};
    Step wanted = all;
    wanted.rows = batch.logit_rows;
    all_ = &all;
    wanted_ = &wanted;
    stage_ = 0;
    part_ = Part::start;
    pool_.run(*this);
    if (stage_ < stages_.size()) {
        return fail(ErrorCode::cancelled, "the step is no longer wanted", "cpu");
    }
    const std::size_t row_elements = batch.tokens.size() * static_cast<std::size_t>(rows_out_dim_);
    return compute::StepOutput{all.logits, {all.rows_out, row_elements}};
}

std::optional<std::int64_t> CpuProgram::next_phase(std::int32_t thread) {
    if (part_ == Part::phase) {
        ++stage_;
        part_ = Part::start;
    }
    // Units may have been left out: nothing that comes after them is looked at.
    if (stage_ == stages_.size() || all_->is_unwanted()) return std::nullopt;
    if (part_ == Part::start) {
        const std::int64_t share = chain_share();
        if (share > 0) {
            part_ = Part::chain;
            return (chain_tokens() + share - 1) / share;
        }
        run_chain(0, chain_tokens(), scratch_of(thread));
    }
    part_ = Part::phase;
    return open_phase();
}

void CpuProgram::run_unit(std::int64_t unit, std::int32_t thread) {
    if (all_->is_unwanted()) return;
    const Scratch scratch = scratch_of(thread);
    if (part_ == Part::chain) return run_chain(unit * chain_share(), chain_share(), scratch);
    std::size_t group = 0;
    while (unit >= unit_ends_[group]) {
        ++group;
    }
    const std::int64_t unit_of_group = group == 0 ? unit : unit - unit_ends_[group - 1];
    for (const ParallelOp* op : stages_[stage_].phase[group]) {
        op->run(step_of(op->rows()), unit_of_group, scratch);
    }
}

std::int64_t CpuProgram::open_phase() {
    unit_ends_.clear();
    std::int64_t units = 0;
    for (const Group& group : stages_[stage_].phase) {
        const Step& step = step_of(group.front()->rows());
        if (step.tokens() > 0) {
            for (ParallelOp* op : group) {
                op->prepare(step);
            }
            units += group.front()->unit_count(step);
        }
        unit_ends_.push_back(units);
    }
    return units;
}

void CpuProgram::run_chain(std::int64_t first, std::int64_t count, Scratch scratch) const {
    const Stage& stage = stages_[stage_];
    const Step& step = step_of(stage.chain_rows);
    const std::int64_t end = std::min(first + count, step.tokens());
    for (std::int64_t token = first; token < end; ++token) {
        const std::int32_t row = step.rows[static_cast<std::size_t>(token)];
        const bool is_wanted = std::ranges::binary_search(wanted_->rows, row);
        for (const TokenOp* op : stage.chain) {
            if (is_wanted || op->rows() == Rows::all) op->run(step, token, scratch);
        }
    }
}

std::int64_t CpuProgram::chain_share() const {
    constexpr std::int64_t kUnitsPerThread = 8;
    const std::int64_t tokens = chain_tokens();
    const bool is_shared =
        all_->thread_count > 1 && tokens > kSerialTokensMax && !stages_[stage_].chain.empty();
    return is_shared ? 1 + tokens / (all_->thread_count * kUnitsPerThread) : 0;
}

Scratch CpuProgram::scratch_of(std::int32_t thread) {
    return Scratch(
        {scratch_.get() + thread * scratch_bytes_, static_cast<std::size_t>(scratch_bytes_)});
}

}  // namespace hearth::cpu

#include "kernels/cpu/program.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/base/assert.h"
#include "core/base/thread.h"
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
    if (arena_ == nullptr || scratch_ == nullptr || logits_ == nullptr) {
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
    check(batch, *store);
    const std::size_t logit_count = batch.logit_rows.size() * static_cast<std::size_t>(vocab_size_);
    const Step step{.batch = batch,
                    .kv = *store,
                    .kernels = kernels_,
                    .thread_count = pool_.thread_count(),
                    .buffers = buffers_,
                    .logits = {logits_.get(), logit_count}};
    step_ = &step;
    stage_ = 0;
    part_ = Part::start;
    pool_.run(*this);
    return compute::StepOutput{step.logits};
}

/// What the engine promises; the operations rely on it.
void CpuProgram::check(const compute::StepBatch& batch, const CpuKvStore& kv) const {
    const std::size_t tokens = batch.tokens.size();
    HEARTH_ASSERT(tokens > 0 && tokens <= static_cast<std::size_t>(plan_tokens_max_));
    HEARTH_ASSERT(batch.positions.size() == tokens && batch.sequence_of.size() == tokens);
    HEARTH_ASSERT(batch.logit_rows.size() <= tokens);
    HEARTH_ASSERT(kv.layout() == kv_layout_);
    for (std::size_t t = 0; t < tokens; ++t) {
        HEARTH_ASSERT(batch.tokens[t] >= 0 && batch.tokens[t] < vocab_size_);
        const auto sequence = static_cast<std::size_t>(batch.sequence_of[t]);
        HEARTH_ASSERT(sequence < batch.sequences.size());
        HEARTH_ASSERT(batch.positions[t] >= 0);
        const auto last = static_cast<std::size_t>(batch.positions[t] / compute::kBlockTokens);
        const auto blocks = batch.sequences[sequence].block_table;
        HEARTH_ASSERT(last < blocks.size());
        const bool is_last_of_sequence =
            t + 1 == tokens || batch.sequence_of[t + 1] != batch.sequence_of[t];
        for (std::size_t i = is_last_of_sequence ? 0 : last; i <= last; ++i) {
            HEARTH_ASSERT(blocks[i] >= 0 && blocks[i] < kv.block_count());
        }
    }
    for (const std::int32_t row : batch.logit_rows) {
        HEARTH_ASSERT(row >= 0 && static_cast<std::size_t>(row) < tokens);
    }
}

std::optional<std::int64_t> CpuProgram::next_phase(std::int32_t thread) {
    if (part_ == Part::phase) {
        ++stage_;
        part_ = Part::start;
    }
    if (stage_ == stages_.size()) return std::nullopt;
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

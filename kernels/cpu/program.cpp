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

/// Up to here a chain costs less than a barrier.
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
    enter(step, 0, 0);
    pool_.run([&](std::int32_t thread) { walk(step, thread); });
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

void CpuProgram::walk(const Step& step, std::int32_t thread) {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        const Stage& stage = stages_[i];
        if (is_chain_shared(step, stage)) {
            share_chain(step, stage, scratch_of(thread));
            pool_.barrier([&] { open_phase(step, stage); });
        }
        share_phase(step, stage, scratch_of(thread));
        if (i + 1 < stages_.size()) {
            pool_.barrier([&] { enter(step, i + 1, thread); });
        }
    }
}

void CpuProgram::enter(const Step& step, std::size_t stage, std::int32_t thread) {
    if (is_chain_shared(step, stages_[stage])) {
        next_.store(0, std::memory_order_relaxed);
        return;
    }
    for (std::int64_t token = 0; token < step.tokens(); ++token) {
        run_chain(step, stages_[stage], token, scratch_of(thread));
    }
    open_phase(step, stages_[stage]);
}

void CpuProgram::open_phase(const Step& step, const Stage& stage) {
    unit_ends_.clear();
    std::int64_t units = 0;
    for (const Group& group : stage.phase) {
        for (ParallelOp* op : group) {
            op->prepare(step);
        }
        units += group.front()->unit_count(step);
        unit_ends_.push_back(units);
    }
    next_.store(0, std::memory_order_relaxed);
}

void CpuProgram::run_chain(const Step& step,
                           const Stage& stage,
                           std::int64_t token,
                           Scratch scratch) const {
    for (const TokenOp* op : stage.chain) {
        op->run(step, token, scratch);
    }
}

void CpuProgram::share_chain(const Step& step, const Stage& stage, Scratch scratch) {
    constexpr std::int64_t kTakes = 8;  // per thread
    const std::int64_t count = 1 + step.tokens() / (step.thread_count * kTakes);
    for (;;) {
        const std::int64_t first = next_.fetch_add(count, std::memory_order_relaxed);
        if (first >= step.tokens()) return;
        for (std::int64_t t = first; t < std::min(first + count, step.tokens()); ++t) {
            run_chain(step, stage, t, scratch);
        }
    }
}

void CpuProgram::share_phase(const Step& step, const Stage& stage, Scratch scratch) {
    for (;;) {
        const std::int64_t taken = next_.fetch_add(1, std::memory_order_relaxed);
        std::size_t group = 0;
        while (group < unit_ends_.size() && taken >= unit_ends_[group]) {
            ++group;
        }
        if (group == unit_ends_.size()) return;
        const std::int64_t unit = group == 0 ? taken : taken - unit_ends_[group - 1];
        for (const ParallelOp* op : stage.phase[group]) {
            op->run(step, unit, scratch);
        }
    }
}

bool CpuProgram::is_chain_shared(const Step& step, const Stage& stage) const {
    return step.thread_count > 1 && step.tokens() > kSerialTokensMax && !stage.chain.empty();
}

Scratch CpuProgram::scratch_of(std::int32_t thread) {
    return Scratch(
        {scratch_.get() + thread * scratch_bytes_, static_cast<std::size_t>(scratch_bytes_)});
}

}  // namespace hearth::cpu

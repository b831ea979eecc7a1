#include "core/cli/forward.h"

#include <algorithm>
#include <numeric>

#include "core/base/assert.h"

namespace hearth::cli {

Result<std::unique_ptr<Forward>> Forward::make(const model::Model& model,
                                               compute::Backend& backend,
                                               std::int32_t sequence_tokens_max) {
    std::unique_ptr<Forward> forward(new Forward);
    const compute::Plan plan = model.plan(std::min(kStepTokens, sequence_tokens_max));
    HEARTH_TRY(forward->weights_, backend.upload(model.weights()));
    HEARTH_TRY(forward->program_, backend.compile(plan, *forward->weights_));
    const std::int32_t block_count =
        (sequence_tokens_max + compute::kBlockTokens - 1) / compute::kBlockTokens;
    HEARTH_TRY(forward->kv_, backend.make_kv_store(plan.kv, block_count));
    forward->block_table_.resize(static_cast<std::size_t>(block_count));
    std::iota(forward->block_table_.begin(), forward->block_table_.end(), 0);
    return forward;
}

Result<compute::StepOutput> Forward::step(std::span<const std::int32_t> tokens,
                                          std::int32_t position,
                                          LogitRows rows) {
    HEARTH_ASSERT(!tokens.empty() && tokens.size() <= static_cast<std::size_t>(kStepTokens));
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), position);
    const std::vector<std::int32_t> sequence_of(tokens.size(), 0);
    std::vector<std::int32_t> logit_rows(rows == LogitRows::all ? tokens.size() : 1);
    std::iota(logit_rows.begin(),
              logit_rows.end(),
              static_cast<std::int32_t>(tokens.size() - logit_rows.size()));
    const compute::SequenceView sequence{block_table_};
    return program_->run({.tokens = tokens,
                          .positions = positions,
                          .sequence_of = sequence_of,
                          .sequences = {&sequence, 1},
                          .logit_rows = logit_rows},
                         *kv_);
}

}  // namespace hearth::cli

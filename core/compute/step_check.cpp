#include "core/compute/step_check.h"

#include "core/base/assert.h"

namespace hearth::compute {
namespace {

/// The blocks of a sequence up to the one of its token `t`; those before it only once a sequence.
const char* broken_blocks(const StepBatch& batch, std::size_t t, const StepLimits& limits) {
    const auto sequence = static_cast<std::size_t>(batch.sequence_of[t]);
    if (sequence >= batch.sequences.size()) return "a token's sequence is one of the step's";
    const auto last = static_cast<std::size_t>(batch.positions[t] / kBlockTokens);
    const auto blocks = batch.sequences[sequence].block_table;
    if (last >= blocks.size()) return "a token's position has a block";
    const bool is_last_of_sequence =
        t + 1 == batch.tokens.size() || batch.sequence_of[t + 1] != batch.sequence_of[t];
    for (std::size_t i = is_last_of_sequence ? 0 : last; i <= last; ++i) {
        if (blocks[i] < 0 || blocks[i] >= limits.block_count)
            return "a block is one of the cache's";
    }
    return nullptr;
}

}  // namespace

const char* broken_promise(const StepBatch& batch, const StepLimits& limits) {
    const std::size_t tokens = batch.tokens.size();
    if (tokens == 0) return "a step has a token";
    if (tokens > static_cast<std::size_t>(limits.tokens_max)) {
        return "a step has at most the Plan's tokens";
    }
    if (batch.positions.size() != tokens || batch.sequence_of.size() != tokens) {
        return "each token has a position and a sequence";
    }
    if (batch.rows.size() != tokens * static_cast<std::size_t>(limits.rows_in_dim)) {
        return "each token has a row where the Plan takes rows in";
    }
    for (std::size_t t = 0; t < tokens; ++t) {
        if (batch.tokens[t] < limits.token_least || batch.tokens[t] >= limits.vocab_size) {
            return "a token is one of the vocabulary or names a row of the step before";
        }
        if (batch.positions[t] < 0) return "a position is at least 0";
        if (const char* broken = broken_blocks(batch, t, limits)) return broken;
    }
    if (batch.logit_rows.size() > tokens) return "a token has at most one row of logits";
    std::int32_t before = -1;
    for (const std::int32_t row : batch.logit_rows) {
        if (row < 0 || static_cast<std::size_t>(row) >= tokens) {
            return "a row of logits is of one of the step's tokens";
        }
        if (row <= before) return "rows of logits are in the order of their tokens";
        before = row;
    }
    return nullptr;
}

void check_step(const StepBatch& batch, const StepLimits& limits) {
    if (const char* broken = broken_promise(batch, limits)) {
        assert_failed(broken, __FILE__, __LINE__);
    }
}

}  // namespace hearth::compute

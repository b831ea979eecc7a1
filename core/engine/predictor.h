// Predictor: drafts from the model's own block for multi-token prediction. Behind each step of the
// trunk it keeps the block's rows of the same tokens, in the same blocks of the cache, so that
// prefixes carry them; before a step it guesses the token after the last one. The guess is tried as
// any other draft is, so it changes no text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/compute/compute.h"
#include "core/engine/draft_worth.h"
#include "core/engine/scheduler.h"
#include "core/engine/sequence.h"

namespace hearth::engine {

/// The programs of a block, compiled with the trunk's weights for the trunk's cache.
struct CompiledBlock {
    std::unique_ptr<compute::Program> store = nullptr, draft = nullptr;
    std::int64_t row_dim = 0;
};

/// Thread: engine.
class Predictor {
  public:
    /// `kv` outlives it.
    Predictor(CompiledBlock block, compute::KvStore& kv);

    /// The trunk has run `batch` for `shares` and handed out `rows`; their picks are not told yet.
    ///
    /// Errors: those of Program::run.
    Result<void> store(const compute::StepBatch& batch,
                       std::span<const Share> shares,
                       std::span<const float> rows);

    /// Gives each of `sequences` a draft of one token. All their tokens but the last are computed,
    /// there is room for its row, and the trunk's row before it is known (knows_row).
    ///
    /// Errors: those of Program::run.
    Result<void> draft(std::span<Sequence* const> sequences);
    [[nodiscard]] bool knows_row(const Sequence& sequence) const {
        return !row_before(sequence, sequence.token_count() - 1).empty();
    }

    DraftWorth worth;

  private:
    /// The trunk's row of the token before `position`; empty: it is not at hand.
    [[nodiscard]] std::span<const float> row_before(const Sequence& sequence,
                                                    std::int32_t position) const;

    const CompiledBlock block_;
    compute::KvStore& kv_;
    std::vector<float> rows_in_;
    std::vector<std::int32_t> tokens_, positions_, sequence_of_;
    std::vector<compute::SequenceView> views_;
};

}  // namespace hearth::engine

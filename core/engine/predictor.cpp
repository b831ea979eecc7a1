#include "core/engine/predictor.h"

#include <algorithm>
#include <utility>

#include "core/base/assert.h"

namespace hearth::engine {

Predictor::Predictor(CompiledBlock block, compute::KvStore& kv)
    : block_(std::move(block)),
      kv_(kv) {}

std::span<const float> Predictor::row_before(const Sequence& sequence,
                                             std::int32_t position) const {
    const auto& [begin, rows] = sequence.trunk_rows;
    const std::int64_t first = (position - 1 - begin) * block_.row_dim;
    if (first < 0 || first >= std::ssize(rows)) return {};
    return std::span(rows).subspan(static_cast<std::size_t>(first),
                                   static_cast<std::size_t>(block_.row_dim));
}

Result<void> Predictor::store(const compute::StepBatch& batch,
                              std::span<const Share> shares,
                              std::span<const float> rows) {
    const auto dim = static_cast<std::size_t>(block_.row_dim);
    HEARTH_ASSERT(rows.size() == batch.tokens.size() * dim);
    rows_in_.resize(rows.size());
    std::size_t row = 0;
    for (const Share& share : shares) {
        Sequence& sequence = *share.sequence;
        const auto count = static_cast<std::size_t>(share.token_count);
        const auto own = rows.subspan(row * dim, count * dim);
        const auto in = std::span(rows_in_).subspan(row * dim, count * dim);
        // Behind a prefix from the cache the row before is not known: the block then sees the token
        // alone.
        const auto before = row_before(sequence, sequence.launched_tokens());
        std::ranges::fill(in.first(dim), 0.0F);
        std::ranges::copy(before, in.begin());
        std::ranges::copy(own.first(own.size() - dim), in.begin() + std::ssize(in.first(dim)));
        // Kept: the rows of which one will be the newest, as the draft turns out.
        const std::size_t kept = 1 + sequence.draft.size();
        const auto end = sequence.launched_tokens() + share.token_count;
        const auto last = own.last(std::min(kept, count) * dim);
        sequence.trunk_rows.begin = end - static_cast<std::int32_t>(last.size() / dim);
        sequence.trunk_rows.rows.assign(last.begin(), last.end());
        row += count;
    }
    compute::StepBatch step = batch;
    step.logit_rows = {};
    step.rows = rows_in_;
    step.watch = nullptr;
    HEARTH_TRY([[maybe_unused]] const auto output, block_.store->run(step, kv_));
    return {};
}

Result<void> Predictor::draft(std::span<Sequence* const> sequences) {
    tokens_.clear();
    positions_.clear();
    sequence_of_.clear();
    views_.clear();
    rows_in_.clear();
    for (const Sequence* sequence : sequences) {
        sequence_of_.push_back(static_cast<std::int32_t>(views_.size()));
        tokens_.push_back(sequence->tokens.back());
        positions_.push_back(sequence->token_count() - 1);
        views_.push_back({sequence->table.blocks});
        const auto before = row_before(*sequence, positions_.back());
        rows_in_.insert(rows_in_.end(), before.begin(), before.end());
    }
    HEARTH_TRY(const compute::StepOutput output,
               block_.draft->run({.tokens = tokens_,
                                  .positions = positions_,
                                  .sequence_of = sequence_of_,
                                  .sequences = views_,
                                  .logit_rows = sequence_of_,
                                  .rows = rows_in_},
                                 kv_));
    const std::size_t vocab_size = output.logits.size() / sequences.size();
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const auto logits = output.logits.subspan(i * vocab_size, vocab_size);
        const auto best = std::ranges::max_element(logits);
        sequences[i]->draft = {static_cast<std::int32_t>(best - logits.begin())};
        sequences[i]->is_draft_predicted = true;
    }
    return {};
}

}  // namespace hearth::engine

// What the model's own block for multi-token prediction adds to a step: its rows of the step's
// tokens, and guesses where nothing else has one.
#include <algorithm>

#include "core/engine/engine_loop.h"

namespace hearth::engine {

/// A block that fails is not asked again: answers need it not.
void EngineLoop::store_rows(const compute::StepBatch& step,
                            std::span<const Share> batch,
                            std::span<const float> rows) {
    if (predictor_ && !predictor_->store(step, batch, rows)) predictor_.reset();
}

/// A guess of the block for every sequence whose next token it could follow and that has none, as
/// long as such guesses are worth their time.
void EngineLoop::predict() {
    if (!predictor_) return;
    const auto decoding = std::ranges::count_if(scheduler_.running(), [&](const auto& sequence) {
        return sequence->uncomputed_count() == 1 && scheduler_.may_draft(*sequence);
    });
    if (!predictor_->worth.should_draft(static_cast<std::size_t>(decoding))) return;
    predicted_.clear();
    for (const auto& sequence : scheduler_.running()) {
        if (!sequence->is_ready_for_draft() || !sequence->draft.empty()) continue;
        if (!scheduler_.may_draft(*sequence)) continue;
        // The step picks one token behind the draft; the block's row needs the room of its own.
        const bool is_useful = sequence->length() + 1 < sequence->length_max &&
                               predictor_->knows_row(*sequence) &&
                               std::ssize(predicted_) < limits_.draft_tokens_per_step;
        if (is_useful && cache_.try_extend(sequence->table, sequence->length())) {
            predicted_.push_back(sequence.get());
        }
    }
    if (!predicted_.empty() && !predictor_->draft(predicted_)) predictor_.reset();
}

/// How many sequences are in a step that tells what the block's guesses are worth: all of them
/// decode, none waits for a mask or for its logits or has no draft for a better one's sake, and it
/// does what is held to be best; 0: it tells nothing.
std::size_t EngineLoop::telling_sequences(std::span<const Share> batch) const {
    if (!predictor_ || batch.empty()) return 0;
    bool is_predicted = false;
    for (const Share& share : batch) {
        const Sequence& sequence = *share.sequence;
        const bool has_draft = !sequence.draft.empty();
        const bool waits =
            sequence.is_guided() || sequence.is_judged() || !scheduler_.may_draft(sequence);
        if (sequence.uncomputed_count() != 1 || waits) return 0;
        if (has_draft && !sequence.is_draft_predicted) return 0;
        is_predicted = is_predicted || has_draft;
    }
    return is_predicted == predictor_->worth.should_draft(batch.size()) ? batch.size() : 0;
}

}  // namespace hearth::engine

// What a step of the engine computes: its batch, and the run of the program or the launch of it.
#include <algorithm>
#include <new>
#include <utility>

#include "core/base/assert.h"
#include "core/engine/engine_loop.h"

namespace hearth::engine {
namespace {

/// What `run` returns; an error where it ran out of memory.
template <typename Run>
auto refuse_when_memory_is_short(const Run& run) -> decltype(run()) {
    try {
        return run();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::out_of_memory,
                    "memory ran out in the middle of a step; close other programs, or lower "
                    "prefill_tokens_per_step",
                    "engine");
    }
}

/// A known token, one of the draft behind them, or the one that a launched step picks.
std::int32_t token_at(const Sequence& sequence, std::int32_t position) {
    const auto at = static_cast<std::size_t>(position);
    if (at < sequence.tokens.size()) return sequence.tokens[at];
    if (sequence.picks_in_flight > 0) {
        return compute::StepQueue::token_of_row(sequence.newest_row);
    }
    return sequence.draft.at(at - sequence.tokens.size());
}

}  // namespace

void EngineLoop::run_and_emit(std::span<const Share> batch) {
    if (batch.empty()) return;
    ++counts_.steps;
    const TimePoint started = clock_.now();
    const Result<compute::StepOutput> output = run_program(batch);
    if (output)
        prefill_rate_.note(static_cast<std::int32_t>(tokens_.size()), clock_.now() - started);
    if (!output && output.error().code == ErrorCode::cancelled) return abandon(batch);
    if (!output) {
        for (const Share& share : batch) {
            give_up(*share.sequence, output.error());
        }
        return;
    }
    const auto vocab_size = static_cast<std::size_t>(compiled_.vocab_size);
    HEARTH_ASSERT(output->logits.size() == logit_rows_.size() * vocab_size);
    std::size_t row = 0;
    for (const Share& share : batch) {
        Sequence& sequence = *share.sequence;
        const std::int32_t pick_count = sequence.logit_rows_of(share.token_count);
        const auto logits = output->logits.subspan(row * vocab_size);
        row += static_cast<std::size_t>(pick_count);
        if (sequence.is_judged()) {
            judge(sequence, share.token_count, logits);
            continue;
        }
        emit_picks(sequence, share.token_count, pick_count, [&](std::size_t i) {
            return sampler_.pick(logits.subspan(i * vocab_size, vocab_size), sequence.pick_order());
        });
    }
}

void EngineLoop::launch(compute::StepQueue& queue, std::span<const Share> batch) {
    ++counts_.steps;
    std::vector<Part> parts;
    parts.reserve(batch.size());
    orders_.clear();
    const compute::StepBatch step = fill_batch(batch);
    std::int32_t row = 0;
    for (const Share& share : batch) {
        const Sequence& sequence = *share.sequence;
        const std::int32_t pick_count = sequence.logit_rows_of(share.token_count);
        parts.push_back({share.sequence, share.token_count, row, pick_count});
        row += pick_count;
        for (std::int32_t i = 0; i < pick_count; ++i) {
            orders_.push_back(sequence.pick_order());
            orders_.back().position += i;
        }
    }
    flights_.push_back({std::move(parts), clock_.now()});
    const Result<void> launched =
        refuse_when_memory_is_short([&] { return queue.launch(step, orders_, *compiled_.kv); });
    if (!launched) {
        flights_.pop_back();
        for (const Share& share : batch) {
            give_up(*share.sequence, launched.error());
        }
        return;
    }
    for (const Part& part : flights_.back().parts) {
        part.sequence->rows_in_flight += part.token_count;
        if (part.pick_count == 0) continue;
        ++part.sequence->picks_in_flight;
        part.sequence->newest_row = part.row;
    }
}

void EngineLoop::collect(compute::StepQueue& queue) {
    const auto [parts, launched_at] = std::move(flights_.front());
    flights_.pop_front();
    // Ends that are told below strike out the parts of steps launched later, not of this copy: each
    // sequence has one part in it.
    const Result<std::span<const Pick>> picks = queue.collect();
    std::int32_t tokens = 0;
    for (const Part& part : parts) {
        tokens += part.token_count;
    }
    const TimePoint begun = std::max(launched_at, collected_at_);
    collected_at_ = clock_.now();
    prefill_rate_.note(tokens, collected_at_ - begun);
    for (const Part& part : parts) {
        if (part.sequence == nullptr) continue;
        Sequence& sequence = *part.sequence;
        sequence.rows_in_flight -= part.token_count;
        if (part.pick_count > 0) --sequence.picks_in_flight;
        if (!picks) {
            give_up(sequence, picks.error());
            continue;
        }
        const auto own = picks->subspan(static_cast<std::size_t>(part.row));
        emit_picks(
            sequence, part.token_count, part.pick_count, [&](std::size_t i) { return own[i]; });
    }
}

compute::StepBatch EngineLoop::fill_batch(std::span<const Share> batch) {
    tokens_.clear();
    positions_.clear();
    sequence_of_.clear();
    logit_rows_.clear();
    views_.clear();
    for (const Share& share : batch) {
        const Sequence& sequence = *share.sequence;
        const std::int32_t end = sequence.launched_tokens() + share.token_count;
        for (std::int32_t i = sequence.launched_tokens(); i < end; ++i) {
            tokens_.push_back(token_at(sequence, i));
            positions_.push_back(i);
            sequence_of_.push_back(static_cast<std::int32_t>(views_.size()));
            if (i >= sequence.first_logit_row()) {
                logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - 1);
            }
        }
        views_.push_back({sequence.table.blocks, sequence.usage.prompt_tokens});
    }
    return {tokens_, positions_, sequence_of_, views_, logit_rows_};
}

Result<compute::StepOutput> EngineLoop::run_program(std::span<const Share> batch) {
    compute::StepBatch step = fill_batch(batch);
    step.watch = watch_long_step(batch);
    auto output =
        refuse_when_memory_is_short([&] { return compiled_.program->run(step, *compiled_.kv); });
    if (output) store_rows(step, batch, output->rows);
    const LockGuard lock(mutex_);
    long_step_priority_.reset();
    return output;
}

/// Null where the step is short, or its prompt has lost one already.
const compute::StepWatch* EngineLoop::watch_long_step(std::span<const Share> batch) {
    const Share& largest = *std::ranges::max_element(batch, {}, &Share::token_count);
    if (largest.token_count < LongStep::kTokensMin || largest.sequence->has_lost_step) {
        return nullptr;
    }
    const LockGuard lock(mutex_);
    long_step_.begin(largest.sequence);
    long_step_priority_ = largest.sequence->request.priority;
    const bool is_late = std::ranges::any_of(arrivals_, [&](const auto& sequence) {
        return sequence->request.priority < largest.sequence->request.priority;
    });
    if (is_late) long_step_.overtake();
    return &long_step_;
}

/// As if the step had not been begun: its rows are computed again.
void EngineLoop::abandon(std::span<const Share> batch) {
    ++counts_.steps_abandoned;
    for (const Share& share : batch) {
        share.sequence->draft.clear();
        share.sequence->has_lost_step = true;
    }
}

}  // namespace hearth::engine

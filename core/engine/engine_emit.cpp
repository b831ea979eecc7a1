// What comes of a step: rows in the cache, guesses for the next one, tokens for the sinks, and
// ends.
#include <algorithm>
#include <string>

#include "core/engine/engine_loop.h"

namespace hearth::engine {

/// The next `token_count` rows of a sequence are in the cache.
void EngineLoop::note_computed(Sequence& sequence, std::int32_t token_count) {
    const std::int32_t before = sequence.table.computed_tokens;
    cache_.commit(sequence.tokens, sequence.table, before + token_count);
    sequence.has_lost_step = false;
    const std::int32_t prompt_left = sequence.usage.prompt_tokens - before;
    counts_.tokens_prefilled += static_cast<std::uint64_t>(std::clamp(prompt_left, 0, token_count));
}

/// A guess for every sequence whose next token it could follow.
void EngineLoop::make_drafts() {
    for (const auto& sequence : scheduler_.running()) {
        if (!sequence->is_ready_for_draft()) continue;
        if (!scheduler_.may_draft(*sequence)) {
            sequence->expects_draft = false;
            continue;
        }
        // One token less than may come: the step picks one behind the draft.
        const auto room = static_cast<std::size_t>(sequence->length_max - sequence->length() - 1);
        const auto guess = sequence->lookup.guess(
            sequence->tokens, limits_.draft_tokens_per_step > 0 ? room : std::size_t{0});
        sequence->draft.assign(guess.begin(), guess.end());
        sequence->is_draft_predicted = false;
        // It held up a step that could have been launched ahead.
        if (sequence->expects_draft && guess.empty()) sequence->lookup.note(1, 0);
        sequence->expects_draft = false;
    }
}

/// False: the sequence has ended and is gone.
bool EngineLoop::emit_pick(Sequence& sequence, const Pick& pick) {
    const TimePoint now = clock_.now();
    const auto end = [&](FinishReason reason) {
        finish(sequence,
               reason,
               reason == FinishReason::stop_token ? std::optional(pick) : std::nullopt);
        return false;
    };
    if (const auto reason = sequence.end_reason(now)) return end(*reason);
    if (pick.token == Pick::kNotFinite) {
        give_up_without_logits(sequence);
        return false;
    }
    const Request& request = sequence.request;
    if (request.guide != nullptr && request.guide->has_failed()) {
        give_up(sequence,
                {ErrorCode::out_of_memory,
                 "memory ran out while the grammar's next tokens were looked for; close other "
                 "programs, or ask for a simpler grammar",
                 "engine"});
        return false;
    }
    if (std::ranges::find(request.stop_tokens, pick.token) != request.stop_tokens.end()) {
        return end(FinishReason::stop_token);
    }
    sequence.tokens.push_back(pick.token);
    if (request.guide != nullptr) request.guide->accept(pick.token);
    Usage& usage = sequence.usage;
    if (++usage.generated_tokens == 1) usage.first_token_ms = to_ms(now - sequence.submitted_at);
    ++counts_.tokens_generated;
    const SinkAnswer answer = tell(sequence, pick);
    if (answer == SinkAnswer::enough) return end(FinishReason::sink_enough);
    if (sequence.token_count() == sequence.length_max) return end(FinishReason::tokens_max);
    return true;
}

/// The next `token_count` rows of a prompt that is judged are in the cache.
///   logits   (rows, vocab_size)   of those of them that are asked about, and all between
void EngineLoop::judge(Sequence& sequence,
                       std::int32_t token_count,
                       std::span<const float> logits) {
    const std::int32_t first = std::max(sequence.first_logit_row(), sequence.table.computed_tokens);
    note_computed(sequence, token_count);
    const std::vector<Asked>& asked = sequence.request.asked;
    sequence.log_probabilities.resize(asked.size());
    std::span<const float> row;
    std::optional<double> log_sum;
    for (std::size_t i = 0; i < asked.size(); ++i) {
        if (asked[i].row < first || asked[i].row >= sequence.table.computed_tokens) continue;
        if (i == 0 || asked[i].row != asked[i - 1].row || !log_sum) {
            const auto vocab_size = static_cast<std::size_t>(compiled_.vocab_size);
            row = logits.subspan(static_cast<std::size_t>(asked[i].row - first) * vocab_size,
                                 vocab_size);
            log_sum = sampler_.log_sum(row);
        }
        if (!log_sum) return give_up_without_logits(sequence);
        sequence.log_probabilities[i] = row[static_cast<std::size_t>(asked[i].token)] - *log_sum;
    }
    if (const auto reason = sequence.end_reason(clock_.now())) return finish(sequence, *reason);
    if (sequence.table.computed_tokens == sequence.token_count()) {
        finish(sequence, FinishReason::tokens_max);
    }
}

/// A sink that throws has had enough: what its exception says is its owner's affair.
SinkAnswer EngineLoop::tell(const Sequence& sequence, const Event& event) noexcept {
    try {
        return sequence.request.sink(event);
    } catch (...) {
        return SinkAnswer::enough;
    }
}

void EngineLoop::finish(const Sequence& sequence,
                        FinishReason reason,
                        const std::optional<TokenEvent>& stop) {
    const std::unique_ptr<Sequence> ended = retire(sequence, Rows::keep);
    ended->usage.total_ms = to_ms(clock_.now() - ended->submitted_at);
    if (!ended->admitted_at) ended->usage.queue_ms = ended->usage.total_ms;
    FinishedEvent event{reason, ended->usage, stop};
    if (reason == FinishReason::tokens_max) {
        event.log_probabilities = std::move(ended->log_probabilities);
    }
    tell(*ended, event);
    if (!ended->cold_head.empty()) warm_up(std::move(ended->cold_head));
}

void EngineLoop::give_up(const Sequence& sequence, const Error& error) {
    const std::unique_ptr<Sequence> ended = retire(sequence, Rows::distrust);
    tell(*ended, FailedEvent{error});
}

void EngineLoop::give_up_without_logits(const Sequence& sequence) {
    give_up(sequence,
            {ErrorCode::internal,
             "the model produced a number that is not finite for token " +
                 std::to_string(sequence.token_count()) +
                 " of its sequence; check the model file, or try another backend",
             "engine"});
}

/// Takes the sequence out of everything, so that whoever hears of its end finds it ended.
std::unique_ptr<Sequence> EngineLoop::retire(const Sequence& sequence, Rows rows) {
    for (auto& [parts, launched_at] : flights_) {
        const auto part = std::ranges::find(parts, &sequence, &Part::sequence);
        if (part != parts.end()) part->sequence = nullptr;
    }
    std::unique_ptr<Sequence> retired = scheduler_.retire(sequence, rows);
    ++counts_.requests_finished;
    publish_status();
    const LockGuard lock(mutex_);
    unanswered_.erase(retired->ticket.id);
    return retired;
}

}  // namespace hearth::engine

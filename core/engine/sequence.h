// Sequence: one generation in progress, from its submission to its end. Its tokens are the prompt
// and what was picked since; how far they are computed says whether it prefills or decodes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "core/base/cancel_token.h"
#include "core/base/clock.h"
#include "core/engine/kv_cache.h"
#include "core/engine/prompt_lookup.h"
#include "core/engine/request.h"

namespace hearth::engine {

/// The newest rows that the trunk handed out for a sequence (Predictor).
struct TrunkRows {
    std::int32_t begin = 0;   ///< place of the token of the first
    std::vector<float> rows;  ///< (tokens, row_dim)
};

/// Thread: engine, once it is queued.
struct Sequence {
    Ticket ticket;  ///< its id grows with each arrival
    Request request;
    CancelToken ticket_cancel;  ///< raised by Engine::cancel
    TimePoint submitted_at;
    std::optional<TimePoint> admitted_at;

    std::vector<std::int32_t> tokens;
    std::vector<double> log_probabilities;  ///< (request.asked) as far as they are known
    std::vector<std::int32_t> cold_head;  ///< of the prompt that was too long to wait for, or empty
    std::int32_t length_max = std::numeric_limits<std::int32_t>::max();  ///< prompt and answer
    BlockTable table;
    Usage usage;
    PromptLookup lookup;
    std::vector<std::int32_t>
        draft;  ///< guessed tokens that its next step tries, or a launched one
    bool is_draft_predicted = false;  ///< the draft came from the model's own block
    TrunkRows trunk_rows;
    bool has_lost_step = false;  ///< given up since it last got on; it does not lose the next
    bool expects_draft = false;  ///< a guess is at hand as soon as all tokens are known
    // In steps that are launched and not yet collected.
    std::int32_t rows_in_flight = 0;
    std::int32_t picks_in_flight = 0;
    std::int32_t newest_row = 0;  ///< in the newest of them, of the newest pick

    [[nodiscard]] std::int32_t token_count() const {
        return static_cast<std::int32_t>(tokens.size());
    }
    /// Tokens that are known, and those that a launched step will pick.
    [[nodiscard]] std::int32_t length() const { return token_count() + picks_in_flight; }
    /// Tokens at the head whose rows are computed, or will be by a launched step.
    [[nodiscard]] std::int32_t launched_tokens() const {
        return table.computed_tokens + rows_in_flight;
    }
    /// Tokens whose rows are still to be computed: 1 while it decodes, more while it prefills; 0
    /// also where a launched step picks its last token; less while one tries a draft.
    [[nodiscard]] std::int32_t uncomputed_count() const {
        return length() < length_max ? length() - launched_tokens() : 0;
    }
    /// Whether its prompt is to be judged, and nothing generated.
    [[nodiscard]] bool is_judged() const { return !request.asked.empty(); }
    [[nodiscard]] bool is_guided() const {
        return request.guide != nullptr && request.guide->is_active();
    }
    /// Whether its next step should wait until the last token is known.
    [[nodiscard]] bool is_gated() const {
        return picks_in_flight > 0 && (expects_draft || !draft.empty() || is_guided());
    }
    /// Its next token, once all before it are known.
    [[nodiscard]] bool is_ready_for_draft() const {
        return uncomputed_count() == 1 && picks_in_flight == 0 && !is_guided() && !is_judged();
    }
    /// The first of its rows whose logits are wanted: that of the last known token, and behind it
    /// those of the draft; else the first one that is asked about.
    [[nodiscard]] std::int32_t first_logit_row() const {
        return is_judged() ? request.asked.front().row : length() - 1;
    }
    /// How many rows of logits a step computes that takes its next `token_count` tokens.
    [[nodiscard]] std::int32_t logit_rows_of(std::int32_t token_count) const {
        const std::int32_t first = std::max(first_logit_row(), launched_tokens());
        return std::max(0, launched_tokens() + token_count - first);
    }
    [[nodiscard]] compute::PickOrder pick_order() const {
        const std::span<const std::uint32_t> mask =
            is_guided() ? request.guide->allowed() : std::span<const std::uint32_t>();
        return {
            request.sampling, length(), mask.empty() ? nullptr : mask.data(), request.wants_rivals};
    }
    /// Why it has to end before its next token, if it has to.
    [[nodiscard]] std::optional<FinishReason> end_reason(TimePoint now) const {
        if (request.cancel.is_cancelled() || ticket_cancel.is_cancelled()) {
            return FinishReason::cancelled;
        }
        if (request.deadline && now >= *request.deadline) return FinishReason::deadline;
        return std::nullopt;
    }
};

/// Whether `a` goes before `b`: by priority, then by arrival.
inline bool is_before(const Sequence& a, const Sequence& b) {
    if (a.request.priority != b.request.priority) return a.request.priority < b.request.priority;
    return a.ticket.id < b.ticket.id;
}

}  // namespace hearth::engine

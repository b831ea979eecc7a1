// Sequence: one generation in progress, from its submission to its end. Its tokens are the prompt
// and what was picked since; how far they are computed says whether it prefills or decodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/cancel_token.h"
#include "core/base/clock.h"
#include "core/engine/kv_cache.h"
#include "core/engine/request.h"

namespace hearth::engine {

/// Thread: engine, once it is queued.
struct Sequence {
    Ticket ticket;  ///< its id grows with each arrival
    Request request;
    CancelToken ticket_cancel;  ///< raised by Engine::cancel
    TimePoint submitted_at;
    std::optional<TimePoint> admitted_at;

    std::vector<std::int32_t> tokens;
    BlockTable table;
    Usage usage;

    [[nodiscard]] std::int32_t token_count() const {
        return static_cast<std::int32_t>(tokens.size());
    }
    /// Tokens whose rows are still to be computed: 1 while it decodes, more while it prefills.
    [[nodiscard]] std::int32_t uncomputed_count() const {
        return token_count() - table.computed_tokens;
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

// EngineDoor: the engine and the clock as jobs reach them. A job whose thread was left behind may
// come back when the assistant, the engine and the clock are gone; it finds the door shut.
#pragma once

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/engine/engine.h"

namespace hearth::assist {

/// Shared by the assistant and its jobs.   Thread: any.
class EngineDoor {
  public:
    /// Engine and clock outlive the call of shut().
    EngineDoor(engine::Engine& engine, const Clock& clock) : engine_(&engine), clock_(&clock) {}

    /// Errors: unavailable once shut, and those of Engine::submit.
    Result<engine::Ticket> submit(engine::Request request) {
        const LockGuard lock(mutex_);
        if (engine_ == nullptr) {
            return fail(ErrorCode::unavailable, "hearth is shutting down", "assist");
        }
        return engine_->submit(std::move(request));
    }

    void cancel(engine::Ticket ticket) {
        const LockGuard lock(mutex_);
        if (engine_ != nullptr) engine_->cancel(ticket);
    }

    /// The end of time once shut: every deadline has passed.
    [[nodiscard]] TimePoint now() const {
        const LockGuard lock(mutex_);
        return clock_ == nullptr ? TimePoint::max() : clock_->now();
    }

    void shut() {
        const LockGuard lock(mutex_);
        if (engine_ != nullptr) last_context_tokens_ = engine_->limits().context_tokens_max;
        engine_ = nullptr;
        clock_ = nullptr;
    }

    /// Of the engine that would take a request now.
    [[nodiscard]] std::int32_t context_tokens_max() const {
        const LockGuard lock(mutex_);
        return engine_ == nullptr ? last_context_tokens_ : engine_->limits().context_tokens_max;
    }

  private:
    mutable Mutex mutex_;
    std::int32_t last_context_tokens_ HEARTH_GUARDED_BY(mutex_) = 0;  ///< once shut
    engine::Engine* engine_ HEARTH_GUARDED_BY(mutex_);
    const Clock* clock_ HEARTH_GUARDED_BY(mutex_);
};

}  // namespace hearth::assist

// EngineSwitch: an engine that gives way to a better one. New requests go to the newest; those in
// flight end where they began, and their engine with the last of them. Prefixes are not moved.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "core/base/mutex.h"
#include "core/engine/engine.h"

namespace hearth::engine {

/// Thread: any. Destruction ends all engines, the newest first.
class EngineSwitch final : public Engine {
  public:
    /// What a request failed of when its device was lost. Called on [engine]: quick, no exceptions.
    using OnLost = std::function<void(const Error&)>;

    /// `on_lost`: called before the asker hears of it, who is told to ask again.
    explicit EngineSwitch(std::shared_ptr<Engine> first, OnLost on_lost = {})
        : on_lost_(std::move(on_lost)) {
        move_to(std::move(first));
    }
    ~EngineSwitch() override;

    /// From here on `next` takes the requests.
    void move_to(std::shared_ptr<Engine> next);
    /// Lets go of engines that made way and have answered all their requests. Waits for their
    /// threads, which have nothing to do.
    void release_idle();

    Result<Ticket> submit(Request request) override;
    void cancel(Ticket ticket) override;
    /// Of the newest, and what the others still run.
    [[nodiscard]] EngineStatus status() const override;
    /// Of the newest.
    [[nodiscard]] const EngineLimits& limits() const override;

  private:
    struct Stage {
        std::shared_ptr<Engine> engine;  ///< null once it was let go
        EngineLimits limits;
    };

    void watch(Request& request) const;

    const OnLost on_lost_;
    mutable Mutex mutex_;
    std::deque<Stage> stages_ HEARTH_GUARDED_BY(mutex_);  ///< never shrinks: limits() refers to it
};

}  // namespace hearth::engine

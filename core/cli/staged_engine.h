// StagedEngine: where an accelerator is there, the processor answers until it has loaded, from the
// same mapped file. A load that fails leaves the processor in charge, and an accelerator that is
// lost gives way to it again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/mutex.h"
#include "core/base/result.h"
#include "core/cli/load_engine.h"
#include "core/engine/engine_switch.h"

namespace hearth::cli {

/// Thread: any. The registry, the clock and what on_change refers to outlive it; its end waits for
/// a load in progress.
class StagedEngine {
  public:
    /// One sentence whenever something was loaded, or was not; a warning where it is not what it
    /// could be. Called on the thread that loads.
    using OnChange = std::function<void(LogLevel level, const std::string& sentence)>;

    /// Both stages where no backend is named, an accelerator is there and the model fits the
    /// machine's memory; else load_engine. Requests that are with an accelerator when it is lost
    /// fail; behind them the processor serves, also where the accelerator was named.
    ///
    /// Errors: those of load_engine; not those of the second stage.
    static Result<std::unique_ptr<StagedEngine>> make(
        const std::shared_ptr<const model::Model>& model,
        const compute::BackendRegistry& registry,
        const LoadSettings& settings,
        const Clock& clock,
        OnChange on_change);
    ~StagedEngine();
    StagedEngine(const StagedEngine&) = delete;
    StagedEngine& operator=(const StagedEngine&) = delete;

    [[nodiscard]] engine::Engine& engine() { return *switch_; }

    /// What serves now.
    struct State {
        std::string backend;
        std::string placement;
        std::vector<std::string> warnings;
    };
    [[nodiscard]] State state() const;

    /// Frees stages that made way once they have answered all their requests; to be called now and
    /// then.
    void release_idle() { switch_->release_idle(); }

  private:
    /// What an engine is loaded from. The registry and the clock are borrowed.
    struct Source {
        std::shared_ptr<const model::Model> model;
        const compute::BackendRegistry& registry;
        LoadSettings settings;
        const Clock& clock;

        [[nodiscard]] Result<LoadedEngine> load(const std::string& backend) const;
    };

    explicit StagedEngine(OnChange on_change) : on_change_(std::move(on_change)) {}
    void take(LoadedEngine loaded);
    /// On its own thread: loads `accelerator`, where one is named, and stands by for its loss.
    void run(const Source& source, const std::string& accelerator) noexcept;
    /// The first stage goes on, and says why.
    void stay(const std::string& reason);
    /// Thread: engine.
    void note_loss(const Error& error) noexcept;
    /// False: the end came first.
    bool wait_for_loss();
    void fall_back(const Source& source);

    const OnChange on_change_;
    mutable Mutex mutex_;
    ConditionVariable changed_;
    State state_ HEARTH_GUARDED_BY(mutex_);
    bool is_lost_ HEARTH_GUARDED_BY(mutex_) = false;
    std::string loss_ HEARTH_GUARDED_BY(mutex_);  ///< why
    bool is_closing_ HEARTH_GUARDED_BY(mutex_) = false;
    std::unique_ptr<engine::EngineSwitch> switch_;  ///< fixed after make; its requests note a loss
    std::thread loader_;
};

}  // namespace hearth::cli

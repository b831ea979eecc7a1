#include "core/cli/staged_engine.h"

#include <exception>
#include <system_error>
#include <utility>

namespace hearth::cli {
namespace {

/// The best accelerator; empty where there is none.
std::string find_accelerator(const compute::BackendRegistry& registry) {
    for (std::string& name : registry.names()) {
        if (!registry.device_of(name).empty()) return std::move(name);
    }
    return {};
}

LoadSettings named(LoadSettings settings, const std::string& backend) {
    settings.backend = backend;
    return settings;
}

}  // namespace

Result<std::unique_ptr<StagedEngine>> StagedEngine::make(
    const std::shared_ptr<const model::Model>& model,
    const compute::BackendRegistry& registry,
    const LoadSettings& settings,
    const Clock& clock,
    OnChange on_change) {
    std::unique_ptr<StagedEngine> self(new StagedEngine(std::move(on_change)));
    const std::string accelerator =
        settings.backend.empty() ? find_accelerator(registry) : std::string();
    if (!accelerator.empty()) {
        auto first = load_engine(model, registry, named(settings, "cpu"), clock);
        // With warnings the processor would be slow, and keep the accelerator from the file.
        if (first && first->warnings.empty()) {
            first->placement += "; " + accelerator + " is loading";
            self->take(*std::move(first));
            try {
                self->loader_ = std::thread(
                    [self = self.get(),
                     model,
                     &registry,
                     settings = named(settings, accelerator),
                     &clock] { self->load_accelerator(model, registry, settings, clock); });
            } catch (const std::system_error& error) {
                self->stay(std::string("no thread to load ") + accelerator + ": " + error.what());
            }
            return self;
        }
    }
    HEARTH_TRY(LoadedEngine loaded, load_engine(model, registry, settings, clock));
    self->take(std::move(loaded));
    return self;
}

StagedEngine::~StagedEngine() {
    if (loader_.joinable()) loader_.join();
}

StagedEngine::State StagedEngine::state() const {
    const LockGuard lock(mutex_);
    return state_;
}

void StagedEngine::load_accelerator(const std::shared_ptr<const model::Model>& model,
                                    const compute::BackendRegistry& registry,
                                    const LoadSettings& settings,
                                    const Clock& clock) noexcept {
    try {
        auto loaded = load_engine(model, registry, settings, clock);
        if (loaded) return take(*std::move(loaded));
        stay(loaded.error().text);
    } catch (const std::exception&) {
        // No memory even for a sentence: the first stage goes on without one.
    }
}

void StagedEngine::stay(const std::string& reason) {
    const std::string sentence = "the processor goes on serving: " + reason;
    {
        const LockGuard lock(mutex_);
        state_.placement.resize(state_.placement.rfind("; "));
        state_.warnings.push_back(sentence);
    }
    on_change_(LogLevel::warning, sentence);
}

/// From here on `loaded` takes the requests.
void StagedEngine::take(LoadedEngine loaded) {
    State state{
        .backend = std::string(loaded.backend->name()) + " (" + loaded.backend->description() + ")",
        .placement = loaded.placement,
        .warnings = loaded.warnings};
    const auto owner = std::make_shared<LoadedEngine>(std::move(loaded));
    std::shared_ptr<engine::Engine> engine(owner, owner->engine.get());
    if (switch_ == nullptr) {
        switch_ = std::make_unique<engine::EngineSwitch>(std::move(engine));
    } else {
        switch_->move_to(std::move(engine));
    }
    std::string sentence = state.backend + ": " + state.placement;
    for (const std::string& warning : state.warnings) {
        sentence += "; " + warning;
    }
    const LogLevel level = state.warnings.empty() ? LogLevel::info : LogLevel::warning;
    {
        const LockGuard lock(mutex_);
        state_ = std::move(state);
    }
    on_change_(level, sentence);
}

}  // namespace hearth::cli

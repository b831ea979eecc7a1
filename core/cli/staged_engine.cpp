#include "core/cli/staged_engine.h"

#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace hearth::cli {
namespace {

constexpr const char* kProcessor = "cpu";

/// The best accelerator; empty where there is none.
std::string find_accelerator(const compute::BackendRegistry& registry) {
    for (std::string& name : registry.names()) {
        if (!registry.device_of(name).empty()) return std::move(name);
    }
    return {};
}

}  // namespace

Result<LoadedEngine> StagedEngine::Source::load(const std::string& backend) const {
    LoadSettings named = settings;
    named.backend = backend;
    return load_engine(model, registry, named, clock);
}

Result<std::unique_ptr<StagedEngine>> StagedEngine::make(
    const std::shared_ptr<const model::Model>& model,
    const compute::BackendRegistry& registry,
    const LoadSettings& settings,
    const Clock& clock,
    OnChange on_change) {
    std::unique_ptr<StagedEngine> self(new StagedEngine(std::move(on_change)));
    const Source source{model, registry, settings, clock};
    const std::string accelerator =
        settings.backend.empty() ? find_accelerator(registry) : std::string();
    const auto start = [&](const std::string& to_load) -> std::string {
        try {
            self->loader_ =
                std::thread([self = self.get(), source, to_load] { self->run(source, to_load); });
            return {};
        } catch (const std::system_error& error) {
            return error.what();
        }
    };
    if (!accelerator.empty()) {
        auto first = source.load(kProcessor);
        // With warnings the processor would be slow, and keep the accelerator from the file.
        if (first && first->warnings.empty()) {
            first->placement += "; " + accelerator + " is loading";
            self->take(*std::move(first));
            const std::string fault = start(accelerator);
            if (!fault.empty()) self->stay("no thread to load " + accelerator + ": " + fault);
            return self;
        }
    }
    HEARTH_TRY(LoadedEngine loaded, source.load(settings.backend));
    const bool can_be_lost = !registry.device_of(loaded.backend->name()).empty();
    self->take(std::move(loaded));
    // Without a thread there is no way back, and the daemon serves all the same.
    if (can_be_lost) static_cast<void>(start({}));
    return self;
}

StagedEngine::~StagedEngine() {
    {
        const LockGuard lock(mutex_);
        is_closing_ = true;
    }
    changed_.notify_all();
    if (loader_.joinable()) loader_.join();
}

StagedEngine::State StagedEngine::state() const {
    const LockGuard lock(mutex_);
    return state_;
}

void StagedEngine::run(const Source& source, const std::string& accelerator) noexcept {
    try {
        if (!accelerator.empty()) {
            auto loaded = source.load(accelerator);
            if (!loaded) return stay(loaded.error().text);
            take(*std::move(loaded));
        }
        if (wait_for_loss()) fall_back(source);
    } catch (const std::exception&) {
        // No memory even for a sentence: what serves goes on without one.
    }
}

void StagedEngine::note_loss(const Error& error) noexcept {
    {
        const LockGuard lock(mutex_);
        if (std::exchange(is_lost_, true)) return;
        try {
            loss_ = error.text;
        } catch (const std::bad_alloc&) {
            loss_.clear();
        }
    }
    changed_.notify_all();
}

bool StagedEngine::wait_for_loss() {
    const LockGuard lock(mutex_);
    while (!is_lost_ && !is_closing_) {
        changed_.wait(mutex_);
    }
    return !is_closing_;
}

void StagedEngine::fall_back(const Source& source) {
    std::string sentence;
    {
        const LockGuard lock(mutex_);
        sentence = state_.backend + " was lost, restart hearth to use it again: " + loss_;
    }
    auto loaded = source.load(kProcessor);
    if (loaded) {
        loaded->warnings.insert(loaded->warnings.begin(), sentence);
        return take(*std::move(loaded));
    }
    sentence += "; the processor cannot take over: " + loaded.error().text;
    {
        const LockGuard lock(mutex_);
        state_.warnings.push_back(sentence);
    }
    on_change_(LogLevel::error, sentence);
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
        switch_ = std::make_unique<engine::EngineSwitch>(
            std::move(engine), [this](const Error& error) { note_loss(error); });
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

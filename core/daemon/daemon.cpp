#include "core/daemon/daemon.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "core/assist/assist.h"
#include "core/base/thread.h"
#include "core/base/version.h"
#include "core/cli/backends.h"
#include "core/cli/staged_engine.h"
#include "core/daemon/peers.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/plugin_host/plugin_host.h"
#include "core/tokenizer/tokenizer.h"
#include "lsp/client/daemon_start.h"

namespace hearth::daemon {
namespace {

constexpr Duration kTick = std::chrono::seconds(2);
constexpr Duration kFinishPatience = std::chrono::milliseconds(500);
constexpr Duration kFinishPoll = std::chrono::milliseconds(5);
// A daemon that is ending closes its socket first and lets go of the folder last.
constexpr Duration kLockPatience = std::chrono::seconds(5);
constexpr Duration kLockPoll = std::chrono::milliseconds(10);
constexpr const char* kRoom = "daemon";

/// Held for the daemon's life: two daemons never share a runtime folder. One that no longer listens
/// is on its way out, and is waited for.
Result<lsp::FileDescriptor> lock_folder(const std::string& folder) {
    const std::string path = folder + "/hearthd.lock";
    lsp::FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.is_open())
        return fail(ErrorCode::io, "cannot open " + path + ": " + std::strerror(errno), kRoom);
    const TimePoint deadline = std::chrono::steady_clock::now() + kLockPatience;
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (lsp::connect_unix(lsp::socket_path(folder)) ||
            std::chrono::steady_clock::now() > deadline) {
            return fail(ErrorCode::unavailable,
                        "another daemon serves " + folder + "; use it, or end it with: hearth stop",
                        kRoom);
        }
        std::this_thread::sleep_for(kLockPoll);
    }
    return file;
}

plugin_host::PluginHostOptions to_plugin_options(const DaemonOptions& options) {
    plugin_host::PluginHostOptions out;
    out.folders = cli::plugin_folders(options.settings, options.program_folder);
    for (const auto& [id, values] : options.settings.plugins) {
        for (const auto& [name, value] : values) {
            out.settings.push_back({id, name, value});
        }
    }
    return out;
}

assist::AssistLimits to_assist_limits(const cli::Settings& settings) {
    assist::AssistLimits limits;
    limits.has_copies = settings.completion_copy;
    if (settings.completion_confidence) {
        limits.automatic_probability_min = *settings.completion_confidence;
        limits.invoked_probability_min =
            std::min(limits.invoked_probability_min, *settings.completion_confidence);
    }
    if (settings.line_judge_ms) {
        limits.line_judge_budget = std::chrono::milliseconds(*settings.line_judge_ms);
    }
    if (settings.line_search_ms) {
        limits.line_search_budget = std::chrono::milliseconds(*settings.line_search_ms);
    }
    if (settings.cold_prompt_ms) {
        limits.cold_prompt_budget = std::chrono::milliseconds(*settings.cold_prompt_ms);
    }
    if (settings.answer_confidence) {
        limits.explain_confidence_min = *settings.answer_confidence;
        limits.fix_probability_min = *settings.answer_confidence;
        limits.diagnosed_fix_probability_min = *settings.answer_confidence;
    }
    return limits;
}

/// How often an expert that stays with the host was found on the device.
std::string expert_text(const compute::ExpertUses& uses) {
    if (uses.in_all == 0) return {};
    return "; " + std::to_string(uses.on_device * 100 / uses.in_all) + " % of " +
           std::to_string(uses.in_all) + " uses found there";
}

/// Everything in the order in which it is made; C++ destroys it in reverse, which is the order of
/// shutdown: stop accepting, end the conversations, cancel jobs, drain the engine, destroy plugins,
/// free the device.
class RunningDaemon final : public Daemon {
  public:
    RunningDaemon(DaemonOptions options, Log& log)
        : options_(std::move(options)),
          log_(log),
          started_(clock_.now()),
          idle_since_(started_) {}

    Result<void> start() {
        HEARTH_TRY(lock_, lock_folder(options_.runtime_folder));
        HEARTH_TRY(
            model_path_,
            cli::find_model(options_.serve.model, options_.settings, options_.program_folder));
        HEARTH_CHECK(load_model());
        HEARTH_TRY(tokenizer_, tokenizer::Tokenizer::from_gguf(model_->file()));
        HEARTH_CHECK(start_engine());
        plugins_ = plugin_host::PluginHost::load(to_plugin_options(options_), log_, clock_);
        assistant_ =
            assist::Assistant::make({engine_->engine(), tokenizer_, *plugins_, log_, clock_},
                                    to_assist_limits(options_.settings));
        loop_ = lsp::IoLoop::make();
        peers_ = std::make_unique<Peers>(
            lsp::ServerParts{*assistant_,
                             log_,
                             clock_,
                             [this](std::function<void()> task) { loop_->post(std::move(task)); },
                             [this] { return status(); },
                             [this] { begin_stop(); }},
            lsp::ServerLimits{},
            Peers::Options{model_path_},
            [this] { begin_stop(); });
        HEARTH_TRY(listener_,
                   lsp::listen_unix(*loop_,
                                    lsp::socket_path(options_.runtime_folder),
                                    [this](std::shared_ptr<lsp::Connection> connection) {
                                        peers_->add(std::move(connection));
                                    }));
        loop_->on_stop_signal([this] { begin_stop(); });
        log_.info(kRoom,
                  "build " + std::string(build_id()) + " serves " + model_->config().name + " on " +
                      engine_->state().backend);
        return {};
    }

    ~RunningDaemon() override {
        // The assistant ends its jobs first, so that nothing posts to a loop that is gone; then the
        // sessions.
        if (assistant_ != nullptr) assistant_.reset();
        listener_.reset();
        peers_.reset();
        loop_.reset();
    }

    void run() override {
        loop_->post_after(kTick, [this] { tick(); });
        loop_->run();
        name_thread(Thread::main);
    }

  private:
    Result<void> load_model() {
        const std::string block = cli::find_prediction_block(
            options_.serve.prediction_block, options_.settings, model_path_);
        HEARTH_TRY(model_, model::load_model(model_path_, block));
        prediction_warning_ = cli::prediction_warning(*model_, block);
        if (!prediction_warning_.empty()) log_.warning(kRoom, prediction_warning_);
        return {};
    }

    Result<void> start_engine() {
        const cli::ServeOptions& serve = options_.serve;
        const cli::Settings& settings = options_.settings;
        backends_ = cli::find_backends(options_.program_folder);
        for (const std::string& left_out : backends_.left_out) {
            log_.info(kRoom, left_out);
        }
        cli::LoadSettings load{.backend = serve.backend.empty() ? settings.backend : serve.backend,
                               .threads = serve.threads != 0 ? serve.threads : settings.threads,
                               .limits = {},
                               .is_context_asked = settings.context_tokens != 0};
        load.limits.cache_type = cli::find_cache_type(serve.kv_cache, settings);
        load.limits.has_prediction = cli::wants_prediction(serve.prediction_block, settings);
        if (load.is_context_asked) load.limits.context_tokens_max = settings.context_tokens;
        const auto on_change = [this](LogLevel level, const std::string& text) {
            log_.write(level, kRoom, text);
        };
        HEARTH_TRY(engine_,
                   cli::StagedEngine::make(model_, backends_.registry, load, clock_, on_change));
        return {};
    }

    lsp::HearthStatus status() {
        lsp::HearthStatus out;
        out.version = version();
        out.build_id = build_id();
        out.model = model_path_;
        const cli::StagedEngine::State state = engine_->state();
        out.backend = state.backend;
        out.placement = state.placement + expert_text(engine_->engine().status().expert_uses);
        out.process_id = ::getpid();
        out.clients = static_cast<std::int64_t>(peers_->count());
        out.requests = static_cast<std::int64_t>(peers_->answered_count());
        out.uptime_s = to_ms(clock_.now() - started_) / 1000.0;
        const engine::EngineStatus engine = engine_->engine().status();
        out.running = engine.running;
        out.waiting = engine.waiting;
        out.steps = static_cast<std::int64_t>(engine.steps);
        out.steps_abandoned = static_cast<std::int64_t>(engine.steps_abandoned);
        out.tokens_drafted = static_cast<std::int64_t>(engine.tokens_drafted);
        out.tokens_guessed_right = static_cast<std::int64_t>(engine.tokens_guessed_right);
        out.tokens_predicted = static_cast<std::int64_t>(engine.tokens_predicted);
        out.tokens_predicted_right = static_cast<std::int64_t>(engine.tokens_predicted_right);
        out.left_out = backends_.left_out;
        if (!prediction_warning_.empty()) out.left_out.push_back(prediction_warning_);
        out.left_out.insert(out.left_out.end(), state.warnings.begin(), state.warnings.end());
        for (const plugin_host::PluginInfo& plugin : plugins_->plugins()) {
            if (plugin.state == plugin_host::PluginState::active) {
                out.plugins.push_back(plugin.id);
            } else {
                out.left_out.push_back(plugin.reason);
            }
        }
        return out;
    }

    /// Every two seconds: what has come up since, and whether anybody is here.
    void tick() {
        for (const std::string& text : plugins_->take_messages()) {
            peers_->show_message(lsp::kMessageWarning, "hearth: " + text);
        }
        peers_->drop_orphans();
        engine_->release_idle();
        const TimePoint now = clock_.now();
        if (peers_->count() > 0) idle_since_ = now;
        const std::chrono::minutes idle_max(options_.serve.idle_exit_minutes);
        if (options_.serve.idle_exit_minutes > 0 && now - idle_since_ >= idle_max) {
            log_.info(kRoom,
                      "no client for " + std::to_string(idle_max.count()) + " minutes: ending");
            return begin_stop();
        }
        loop_->post_after(kTick, [this] { tick(); });
    }

    void begin_stop() {
        if (std::exchange(is_stopping_, true)) return;
        listener_.reset();
        peers_->finish_all();
        stop_deadline_ = clock_.now() + kFinishPatience;
        await_finish();
    }

    /// Gives the last messages time to leave, then ends the loop.
    void await_finish() {
        if (peers_->count() == 0 || clock_.now() >= stop_deadline_) return loop_->stop();
        loop_->post_after(kFinishPoll, [this] { await_finish(); });
    }

    const DaemonOptions options_;
    Log& log_;
    const SteadyClock clock_;
    const TimePoint started_;
    TimePoint idle_since_;
    TimePoint stop_deadline_;
    bool is_stopping_ = false;

    lsp::FileDescriptor lock_;
    std::string model_path_;
    std::shared_ptr<const model::Model> model_;
    std::string prediction_warning_;  ///< why a block for multi-token prediction is of no use
    std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
    cli::Backends backends_;
    std::unique_ptr<cli::StagedEngine> engine_;
    std::unique_ptr<plugin_host::PluginHost> plugins_;
    std::unique_ptr<assist::Assistant> assistant_;
    std::unique_ptr<lsp::IoLoop> loop_;
    std::unique_ptr<Peers> peers_;
    std::unique_ptr<lsp::Listener> listener_;
};

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::start(const DaemonOptions& options, Log& log) {
    auto daemon = std::make_unique<RunningDaemon>(options, log);
    HEARTH_CHECK(daemon->start());
    return std::unique_ptr<Daemon>(std::move(daemon));
}

}  // namespace hearth::daemon

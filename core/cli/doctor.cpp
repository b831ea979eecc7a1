// hearth doctor: looks at everything that hearth needs on this machine, one line each, and says
// what to do about what is wrong. Starts nothing.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>

#include "core/base/version.h"
#include "core/cli/backends.h"
#include "core/cli/daemon_client.h"
#include "core/cli/daemon_commands.h"
#include "core/cli/settings.h"
#include "core/model/model.h"
#include "core/plugin_host/plugin_host.h"

namespace hearth::cli {
namespace {

/// The lines of one visit.
class Findings {
  public:
    void good(const std::string& what, const std::string& text) { say("ok", what, text); }
    /// Something that hearth does without.
    void note(const std::string& what, const std::string& text) { say("note", what, text); }
    void bad(const std::string& what, const std::string& text) {
        say("BAD", what, text);
        is_well_ = false;
    }

    [[nodiscard]] bool is_well() const { return is_well_; }

  private:
    static void say(const char* verdict, std::string what, const std::string& text) {
        what.resize(10, ' ');
        std::cout << std::string(verdict).append(6 - std::string_view(verdict).size(), ' ') << what
                  << text << "\n";
    }

    bool is_well_ = true;
};

Settings look_at_settings(Findings& findings) {
    const std::string path = settings_path();
    std::error_code error;
    Result<Settings> settings = load_settings(path);
    if (!settings) {
        findings.bad("settings", settings.error().text);
        return {};
    }
    findings.good("settings",
                  path + (std::filesystem::exists(path, error) ? "" : " (none: all defaults)"));
    return std::move(*settings);
}

void look_at_model(const Settings& settings, Findings& findings) {
    const Result<std::string> path = find_model("", settings, Program::folder());
    if (!path) return findings.bad("model", path.error().text);
    const auto model = model::load_model(*path);
    if (!model) return findings.bad("model", model.error().text);
    const model::ModelConfig& config = (*model)->config();
    findings.good("model",
                  *path + ": " + config.architecture + ", " +
                      std::to_string((*model)->file().size_bytes()) + " bytes, context " +
                      std::to_string(config.context_length) + " tokens");
}

/// The first backend that can serve is the one that will, where it has room for the model and the
/// settings name no other.
void look_at_backends(const Settings& settings, Findings& findings) {
    const Backends backends = find_backends(Program::folder());
    const compute::BackendOptions options{.thread_count = settings.threads};
    const std::vector<std::string> known = backends.registry.names();
    // What is named and not there is one line, and bad.
    std::string fault;
    if (!settings.backend.empty() && std::ranges::find(known, settings.backend) == known.end()) {
        fault = backends.registry.make(settings.backend, options).error().text;
        findings.bad("backend", fault);
    }
    for (const std::string& left_out : backends.left_out) {
        if (left_out != fault) findings.note("backend", left_out);
    }
    const std::vector<std::string> candidates =
        settings.backend.empty() ? backends.registry.candidates() : std::vector{settings.backend};
    std::string chosen;
    for (const std::string& name : known) {
        std::string device = backends.registry.device_of(name);
        if (device.empty()) {
            const auto backend = backends.registry.make(name, options);
            if (!backend) {
                findings.note("backend", name + ": " + backend.error().text);
                continue;
            }
            device = (*backend)->description();
        }
        const bool is_chosen =
            chosen.empty() && std::ranges::find(candidates, name) != candidates.end();
        if (is_chosen) chosen = name;
        findings.good("backend",
                      name + " (" + device + ")" + (is_chosen ? ", the one in use" : ""));
    }
    if (!chosen.empty() || !fault.empty()) return;
    const auto missing = backends.registry.make(settings.backend, options);
    if (!missing) findings.bad("backend", missing.error().text);
}

void look_at_plugins(const Settings& settings, Findings& findings) {
    plugin_host::PluginHostOptions options;
    options.folders = plugin_folders(settings, Program::folder());
    Log log(LogLevel::error);
    const SteadyClock clock;
    const auto host = plugin_host::PluginHost::load(options, log, clock);
    bool completes = false;
    for (const plugin_host::PluginInfo& plugin : host->plugins()) {
        const bool is_active = plugin.state == plugin_host::PluginState::active;
        if (is_active) {
            findings.good("plugin", plugin.id + " " + plugin.version);
        } else {
            findings.bad("plugin", plugin.path + ": " + plugin.reason);
        }
        completes = completes || (is_active && plugin.id == "hearth.complete");
    }
    if (!completes) {
        findings.bad("plugin",
                     "hearth.complete is not in " + options.folders.front() +
                         "; nothing will be completed: install hearth's own plugins there");
    }
}

void look_at_daemon(Findings& findings) {
    const Result<std::string> folder = lsp::ensure_runtime_folder();
    if (!folder) return findings.bad("socket", folder.error().text);
    findings.good("socket", lsp::socket_path(*folder) + ", which only you may use");
    const auto client = find_daemon(false);
    if (!client) return findings.note("daemon", "none runs; the first client starts it");
    const auto answer = (*client)->call("hearth/status", {}, std::chrono::seconds(10));
    if (!answer) return findings.bad("daemon", answer.error().text + "; end it with: hearth stop");
    const auto status = lsp::from_any<lsp::HearthStatus>(*answer);
    if (!status) return findings.bad("daemon", status.error().text);
    findings.good("daemon",
                  "process " + std::to_string(status->process_id) + " serves " + status->model +
                      " on " + status->backend);
    if (status->build_id != build_id()) {
        findings.note("daemon",
                      "it is of build " + status->build_id + ", this is " +
                          std::string(build_id()) + "; it is replaced once it is idle");
    }
}

int examine() {
    Findings findings;
    findings.good("build", std::string(build_id()));
    const Settings settings = look_at_settings(findings);
    look_at_model(settings, findings);
    look_at_backends(settings, findings);
    look_at_plugins(settings, findings);
    look_at_daemon(findings);
    return findings.is_well() ? kExitDone : kExitFailed;
}

}  // namespace

void add_doctor_command(Program& program) {
    program.add("doctor", "Look for what is wrong on this machine", [] { return examine(); });
}

}  // namespace hearth::cli

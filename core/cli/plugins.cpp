// hearth plugins list, hearth plugins check FILE: in process, without a daemon.
#include <iostream>

#include "core/cli/daemon_commands.h"
#include "core/cli/settings.h"
#include "core/plugin_host/plugin_host.h"

namespace hearth::cli {
namespace {

void print(const plugin_host::PluginInfo& plugin) {
    std::cout << (plugin.id.empty() ? "?" : plugin.id) << " " << plugin.version << "  "
              << plugin.path << "\n";
    for (const std::string& extension : plugin.extensions) {
        std::cout << "    " << extension << "\n";
    }
    if (plugin.state == plugin_host::PluginState::left_out)
        std::cout << "    left out: " << plugin.reason << "\n";
}

Result<int> list() {
    HEARTH_TRY(const Settings settings, load_settings(settings_path()));
    plugin_host::PluginHostOptions options;
    options.folders = plugin_folders(settings, Program::folder());
    Log log(LogLevel::error);
    const SteadyClock clock;
    const std::unique_ptr<plugin_host::PluginHost> host =
        plugin_host::PluginHost::load(options, log, clock);
    for (const plugin_host::PluginInfo& plugin : host->plugins()) {
        print(plugin);
    }
    return kExitDone;
}

Result<int> check(const std::string& path) {
    HEARTH_TRY(const std::vector<plugin_host::PluginInfo> plugins, plugin_host::check_plugin(path));
    for (const plugin_host::PluginInfo& plugin : plugins) {
        print(plugin);
    }
    return kExitDone;
}

}  // namespace

void add_plugins_commands(Program& program) {
    const std::string group = "List or check plugins";
    program.add("plugins", group, "list", "List what the daemon would load", [] { return list(); });
    const auto path = std::make_shared<std::string>();
    CLI::App* command =
        program.add("plugins", group, "check", "Load one library and walk its tables", [path] {
            return check(*path);
        });
    command->add_option("FILE", *path, "shared library")->required();
}

}  // namespace hearth::cli

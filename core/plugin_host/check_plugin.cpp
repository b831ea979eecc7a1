// `hearth plugins check FILE`: one library, walked without a daemon.
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "core/plugin_host/guard.h"
#include "core/plugin_host/library.h"
#include "core/plugin_host/plugin_host.h"
#include "core/plugin_host/start.h"

namespace hearth::plugin_host {
namespace {

/// Every lookup from two threads at once: the same pointer each time, and null for the unknown.
Result<void> check_lookups(const Plugin& plugin) {
    const auto first_wrong = [&plugin]() -> std::string {
        const auto look_up = [&plugin](const char* id) {
            return plugin.instance->get_extension(plugin.instance, id);
        };
        if (look_up("hearth.no-such-extension/0") != nullptr) return "hearth.no-such-extension/0";
        for (const std::string& id : plugin.info.extensions) {
            const void* const first = look_up(id.c_str());
            for (int i = 0; i < 100; ++i) {
                if (first == nullptr || look_up(id.c_str()) != first) return id;
            }
        }
        return {};
    };
    auto other = std::async(std::launch::async, first_wrong);
    std::string wrong = first_wrong();
    if (const std::string from_other = other.get(); wrong.empty()) wrong = from_other;
    if (wrong.empty()) return {};
    return fail(ErrorCode::corrupt,
                "plugin " + plugin.info.id + " of " + plugin.info.path + " answers the lookup of " +
                    wrong +
                    " wrongly: it must be the same table each time, and null for an "
                    "unknown id",
                "plugins");
}

}  // namespace

Result<std::vector<PluginInfo>> check_plugin(const std::string& path) {
    Log log(LogLevel::error);
    const SteadyClock clock;
    const auto ledger = std::make_shared<Ledger>(log, clock, 1);
    const auto pool = make_start_pool(clock);
    const TimeBudgets budgets;
    const Plugins plugins = start_within(*pool, budgets.init, path, {.ledger = ledger});
    Result<void> checked;
    std::vector<PluginInfo> infos;
    for (const std::shared_ptr<Plugin>& plugin : plugins) {
        infos.push_back(plugin->info);
        if (!checked) continue;
        if (plugin->instance == nullptr) {
            checked = fail(ErrorCode::unsupported, plugin->info.reason, "plugins");
        } else {
            checked = check_lookups(*plugin);
        }
    }
    bool is_clean = true;
    for (const std::shared_ptr<Plugin>& plugin : plugins) {
        if (plugin->instance == nullptr) continue;
        const bool is_destroyed = destroy_within(*pool, budgets.init, plugin);
        is_clean = is_clean && is_destroyed;
        if (checked && !is_destroyed) {
            checked = fail(ErrorCode::corrupt,
                           "plugin " + plugin->info.id + " of " + path +
                               " did not let itself be "
                               "destroyed within its time, or let an exception out",
                           "plugins");
        }
    }
    if (is_clean && !plugins.empty() && plugins.front()->library != nullptr) {
        plugins.front()->library->close();
    }
    ledger->close();
    HEARTH_CHECK(std::move(checked));
    return infos;
}

}  // namespace hearth::plugin_host

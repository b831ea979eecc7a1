// Plugin: one plugin of one library, running or left out. Internal to the room.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/plugin_host/plugin_host.h"
#include "plugins/abi/hearth/hearth.h"

namespace hearth::plugin_host {

class Ledger;
class Library;

/// The tables that an instance offers, each checked; null where it offers none.
struct ExtensionTables {
    const hearth_inline_completion* inline_completion = nullptr;
    const hearth_code_action* code_action = nullptr;
    const hearth_context_provider* context_provider = nullptr;
};

/// Shared: a call that never returned still stands in it.
struct Plugin {
    Plugin() = default;
    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;

    // Fixed after load; without an instance the plugin was left out at load.
    PluginInfo info = {};  ///< but for `state` and `reason`, which are the ledger's
    std::shared_ptr<Library> library = {};
    std::shared_ptr<Ledger> ledger = {};
    std::map<std::string, std::string, std::less<>> settings = {};
    hearth_host host = {};  ///< what the instance was created with; host_data is this plugin
    const hearth_plugin* instance = nullptr;
    ExtensionTables tables = {};

    std::shared_ptr<void> left_behind = {};  ///< what a start that hangs may still reach

    std::atomic<bool> is_host_open = false;  ///< from init on

    // Guarded by the ledger's mutex.
    int failures_in_a_row = 0;
    int stuck_count = 0;  ///< calls past their budget that have not returned
};

/// Fills plugin.host with the functions that the plugin may call (host_side.cpp). What it asks
/// within a job is served by the job's JobContext.
void make_host(Plugin& plugin);

}  // namespace hearth::plugin_host

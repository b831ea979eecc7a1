// Starting and stopping plugins on a thread of their own, so that one that hangs is left behind and
// the daemon starts, or stops, without it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/plugin_host/job_pool.h"
#include "core/plugin_host/library.h"
#include "core/plugin_host/plugin.h"

namespace hearth::plugin_host {

using Plugins = std::vector<std::shared_ptr<Plugin>>;

std::unique_ptr<JobPool> make_start_pool(const Clock& clock);

/// What start_library gives, or one refusal if that took longer than `budget`.
Plugins start_within(JobPool& pool, Duration budget, const std::string& path, StartOptions options);

/// False if the plugin did not let itself be destroyed: its library must stay open.
bool destroy_within(JobPool& pool, Duration budget, const std::shared_ptr<Plugin>& plugin);

}  // namespace hearth::plugin_host

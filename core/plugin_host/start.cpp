#include "core/plugin_host/start.h"

#include <atomic>
#include <functional>
#include <future>
#include <utility>

#include "core/base/mutex.h"

namespace hearth::plugin_host {
namespace {

/// Runs `work` on the pool and waits. False when it was left behind: it may still run, and may
/// touch only what it keeps alive.
bool run_within(JobPool& pool, Duration budget, std::function<void()> work) {
    struct Outcome {
        std::promise<bool> is_done;
        std::atomic<bool> is_decided = false;
        void decide(bool done) {
            if (!is_decided.exchange(true)) is_done.set_value(done);
        }
    };
    const auto outcome = std::make_shared<Outcome>();
    std::future<bool> is_done = outcome->is_done.get_future();
    const bool is_taken = pool.try_submit({.run =
                                               [outcome, work = std::move(work)] {
                                                   work();
                                                   outcome->decide(true);
                                               },
                                           .on_abandoned = [outcome] { outcome->decide(false); },
                                           .budget = budget});
    return is_taken && is_done.get();
}

/// One library's start, as the thread that does it and the one that waits share it.
struct Start {
    Mutex mutex;
    std::string id HEARTH_GUARDED_BY(mutex);  // whose code runs
    Plugins plugins;                          // once it has ended within its time
};

}  // namespace

std::unique_ptr<JobPool> make_start_pool(const Clock& clock) {
    constexpr std::int32_t kHangingMax = 64;
    return JobPool::make(
        "plugins", {.thread_count = 1, .queue_max = 1, .abandoned_max = kHangingMax}, clock);
}

Plugins start_within(JobPool& pool,
                     Duration budget,
                     const std::string& path,
                     StartOptions options) {
    const auto start = std::make_shared<Start>();
    const std::shared_ptr<Ledger> ledger = options.ledger;
    options.on_step = [start](const std::string& id) {
        const LockGuard lock(start->mutex);
        start->id = id;
    };
    const auto work = [start, path, options] { start->plugins = start_library(path, options); };
    if (run_within(pool, budget, work)) return std::move(start->plugins);
    const LockGuard lock(start->mutex);
    const auto budget_ms = std::chrono::duration_cast<std::chrono::milliseconds>(budget).count();
    auto refused = make_refused(path,
                                start->id,
                                "it did not finish its start within " + std::to_string(budget_ms) +
                                    " ms; ask its author to mend it, or remove the file",
                                ledger);
    refused->left_behind = start;
    return {refused};
}

bool destroy_within(JobPool& pool, Duration budget, const std::shared_ptr<Plugin>& plugin) {
    const auto is_destroyed = std::make_shared<std::atomic<bool>>(false);
    const bool is_back = run_within(pool, budget, [plugin, is_destroyed] {
        *is_destroyed = destroy_plugin(*plugin).has_value();
    });
    return is_back && *is_destroyed;
}

}  // namespace hearth::plugin_host

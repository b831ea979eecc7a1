// JobPool: a few named [job] threads and a bounded queue. A job that oversteps its time is
// abandoned: its asker is told, its thread is left behind and replaced, so that one bad plugin
// never takes a pool away.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/clock.h"

namespace hearth::plugin_host {

struct JobPoolOptions {
    std::int32_t thread_count = 2;
    std::int32_t queue_max = 32;  ///< waiting jobs; a full pool refuses
    /// Threads left behind before the pool refuses new jobs. Well above thread_count: one bad
    /// plugin may hang in all of them at once before it is left out.
    std::int32_t abandoned_max = 32;
};

/// Thread: any for submit; the destructor joins every thread that still answers and leaves the
/// abandoned ones.
class JobPool {
  public:
    /// `name` is for the debugger's list of threads. `clock` outlives the pool.
    static std::unique_ptr<JobPool> make(std::string name,
                                         const JobPoolOptions& options,
                                         const Clock& clock);

    virtual ~JobPool() = default;
    JobPool(const JobPool&) = delete;
    JobPool& operator=(const JobPool&) = delete;

    struct Job {
        std::function<void()> run;  ///< on a [job] thread; keeps alive what it touches
        /// On the pool's watch thread, once, if `run` oversteps `budget`; may be empty.
        std::function<void()> on_abandoned = {};
        Duration budget = std::chrono::hours(1);  ///< from the start of `run`
    };
    /// False when the queue is full, the pool is shutting down, or too many threads were left
    /// behind; the job is dropped. What was taken is run, also while the pool shuts down.
    [[nodiscard]] virtual bool try_submit(Job job) = 0;

    /// Looks at the budgets now, on the calling thread, and returns when each `on_abandoned` that
    /// was due has returned; not from within one. The watch thread does so by itself; this is for
    /// clocks that jump.
    virtual void check_budgets() = 0;

  protected:
    JobPool() = default;
};

}  // namespace hearth::plugin_host

#include "core/plugin_host/job_pool.h"

#include <pthread.h>

#include <algorithm>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/assert.h"
#include "core/base/mutex.h"
#include "core/base/thread.h"

namespace hearth::plugin_host {
namespace {

// Longer budgets are as good as none, and their sum with a time point must not overflow.
constexpr Duration kBudgetMax = std::chrono::hours(24 * 365);

/// One thread and what it is doing. Guarded by State::mutex.
struct Worker {
    std::thread thread;
    bool is_busy = false;
    bool is_abandoned = false;
    bool is_finished = false;
    TimePoint deadline = {};
    std::function<void()> on_abandoned = {};
};

/// What the pool and its threads share: an abandoned thread may come back after the pool is gone.
struct State {
    State(std::string pool_name, const JobPoolOptions& pool_options, const Clock& pool_clock)
        : name(std::move(pool_name)),
          options(pool_options),
          clock(pool_clock) {}

    const std::string name;
    const JobPoolOptions options;
    const Clock& clock;  // only while the pool lives: not on abandoned threads

    Mutex telling;  // held over the callbacks, taken before mutex
    Mutex mutex;
    ConditionVariable filled;    // workers wait for jobs
    ConditionVariable finished;  // the destructor waits for workers
    ConditionVariable watched;   // the watch thread waits for deadlines
    std::deque<JobPool::Job> queue HEARTH_GUARDED_BY(mutex);
    std::vector<std::shared_ptr<Worker>> workers HEARTH_GUARDED_BY(mutex);
    TimePoint watch_until HEARTH_GUARDED_BY(mutex) = TimePoint::max();
    std::int32_t abandoned_count HEARTH_GUARDED_BY(mutex) = 0;
    bool is_closing HEARTH_GUARDED_BY(mutex) = false;
    bool is_watching HEARTH_GUARDED_BY(mutex) = true;
};

/// Waits for a job and notes its deadline; empty when the pool closes and nothing is left to run.
std::function<void()> take_job(State& state, Worker& worker) {
    const LockGuard lock(state.mutex);
    while (state.queue.empty() && !state.is_closing) {
        state.filled.wait(state.mutex);
    }
    if (state.queue.empty()) {
        worker.is_finished = true;
        state.finished.notify_all();
        return {};
    }
    JobPool::Job job = std::move(state.queue.front());
    state.queue.pop_front();
    worker.is_busy = true;
    worker.deadline = state.clock.now() + std::min(job.budget, kBudgetMax);
    worker.on_abandoned = std::move(job.on_abandoned);
    if (worker.deadline < state.watch_until) state.watched.notify_one();
    return std::move(job.run);
}

/// False when the thread was abandoned meanwhile: it has been replaced and must end.
bool end_job(State& state, Worker& worker) {
    std::function<void()> unneeded;  // destroyed after the lock
    const LockGuard lock(state.mutex);
    if (worker.is_abandoned) return false;
    worker.is_busy = false;
    unneeded = std::exchange(worker.on_abandoned, {});
    return true;
}

void serve(const std::shared_ptr<State>& state, const std::shared_ptr<Worker>& worker) {
    name_thread(Thread::job);
    pthread_setname_np(pthread_self(), ("job-" + state->name).substr(0, 15).c_str());
    while (std::function<void()> run = take_job(*state, *worker)) {
        run();
        run = nullptr;  // what it kept alive goes before the next job comes
        if (!end_job(*state, *worker)) return;
    }
}

std::shared_ptr<Worker> make_worker(const std::shared_ptr<State>& state) {
    auto worker = std::make_shared<Worker>();
    worker->thread = std::thread([state, worker] { serve(state, worker); });
    return worker;
}

/// Leaves behind and replaces each thread that is past its deadline, then tells the askers.
void abandon_late_workers(const std::shared_ptr<State>& state) {
    const LockGuard telling(state->telling);
    std::vector<std::function<void()>> callbacks;
    {
        const LockGuard lock(state->mutex);
        const TimePoint now = state->clock.now();
        for (std::shared_ptr<Worker>& worker : state->workers) {
            if (!worker->is_busy || now < worker->deadline) continue;
            worker->is_abandoned = true;
            worker->thread.detach();
            callbacks.push_back(std::move(worker->on_abandoned));
            ++state->abandoned_count;
            worker = make_worker(state);
        }
    }
    for (const std::function<void()>& on_abandoned : callbacks) {
        if (on_abandoned) on_abandoned();
    }
}

void watch(const std::shared_ptr<State>& state) {
    pthread_setname_np(pthread_self(), ("watch-" + state->name).substr(0, 15).c_str());
    for (;;) {
        abandon_late_workers(state);
        const LockGuard lock(state->mutex);
        if (!state->is_watching) return;
        state->watch_until = TimePoint::max();
        for (const std::shared_ptr<Worker>& worker : state->workers) {
            if (worker->is_busy) {
                state->watch_until = std::min(state->watch_until, worker->deadline);
            }
        }
        if (state->watch_until == TimePoint::max()) {
            state->watched.wait(state->mutex);
        } else {
            // The pool's clock need not be the one that the operating system waits on.
            const Duration left = state->watch_until - state->clock.now();
            state->watched.wait_until(state->mutex, std::chrono::steady_clock::now() + left);
        }
    }
}

class ThreadedJobPool final : public JobPool {
  public:
    ThreadedJobPool(std::string name, const JobPoolOptions& options, const Clock& clock)
        : state_(std::make_shared<State>(std::move(name), options, clock)) {
        {
            const LockGuard lock(state_->mutex);
            for (std::int32_t i = 0; i < options.thread_count; ++i) {
                state_->workers.push_back(make_worker(state_));
            }
        }
        watch_thread_ = std::thread([state = state_] { watch(state); });
    }

    ~ThreadedJobPool() override {
        {
            const LockGuard lock(state_->mutex);
            state_->is_closing = true;
            state_->filled.notify_all();
            // A worker that oversteps while we wait is replaced, so this ends within the budgets.
            while (!std::ranges::all_of(state_->workers,
                                        [](const auto& worker) { return worker->is_finished; })) {
                state_->finished.wait(state_->mutex);
            }
            state_->is_watching = false;
            state_->watched.notify_all();
        }
        watch_thread_.join();
        std::vector<std::shared_ptr<Worker>> workers;
        {
            const LockGuard lock(state_->mutex);
            workers.swap(state_->workers);
        }
        for (const std::shared_ptr<Worker>& worker : workers) {
            worker->thread.join();
        }
    }

    bool try_submit(Job job) override {
        const LockGuard lock(state_->mutex);
        if (state_->is_closing || state_->abandoned_count >= state_->options.abandoned_max ||
            state_->queue.size() >= static_cast<std::size_t>(state_->options.queue_max)) {
            return false;
        }
        state_->queue.push_back(std::move(job));
        state_->filled.notify_one();
        return true;
    }

    void check_budgets() override { abandon_late_workers(state_); }

  private:
    const std::shared_ptr<State> state_;
    std::thread watch_thread_;
};

}  // namespace

std::unique_ptr<JobPool> JobPool::make(std::string name,
                                       const JobPoolOptions& options,
                                       const Clock& clock) {
    HEARTH_ASSERT(options.thread_count > 0 && options.queue_max > 0);
    return std::make_unique<ThreadedJobPool>(std::move(name), options, clock);
}

}  // namespace hearth::plugin_host

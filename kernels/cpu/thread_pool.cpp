#include "kernels/cpu/thread_pool.h"

#include "core/base/assert.h"
#include "core/base/thread.h"

namespace hearth::cpu {
namespace {

/// Some tens of microseconds: longer than a phase of a decode step, shorter than a reader notices.
constexpr int kSpins = 3000;

constexpr int kFieldBits = 31;
constexpr std::uint64_t kFieldMask = (std::uint64_t{1} << kFieldBits) - 1;

std::int64_t next_of(std::uint64_t ticket) {
    return static_cast<std::int64_t>(ticket & kFieldMask);
}
std::int64_t units_of(std::uint64_t ticket) {
    return static_cast<std::int64_t>((ticket >> kFieldBits) & kFieldMask);
}
std::uint32_t state_of(std::uint64_t ticket) {
    return static_cast<std::uint32_t>(ticket >> (2 * kFieldBits));
}

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(std::int32_t thread_count) : thread_count_(thread_count) {
    HEARTH_ASSERT(thread_count >= 1);
    for (std::int32_t thread = 1; thread < thread_count; ++thread) {
        threads_.emplace_back([this, thread] { work(thread); });
    }
}

ThreadPool::~ThreadPool() {
    publish(State::ended, 0);
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void ThreadPool::run(ParallelJob& job) {
    if (thread_count_ == 1) return run_alone(job);
    job_ = &job;
    open_next(0);
    take_part(0);
}

void ThreadPool::run_alone(ParallelJob& job) {
    while (const auto units = job.next_phase(0)) {
        for (std::int64_t unit = 0; unit < *units; ++unit) {
            job.run_unit(unit, 0);
        }
    }
}

void ThreadPool::work(std::int32_t thread) {
    name_thread(Thread::worker);
    take_part(thread);
}

void ThreadPool::take_part(std::int32_t thread) {
    const State last = thread == 0 ? State::idle : State::ended;
    for (;;) {
        const std::uint32_t seen = changes_.load(std::memory_order_acquire);
        std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
        if (state_of(ticket) == static_cast<std::uint32_t>(last)) return;
        if (next_of(ticket) >= units_of(ticket)) {
            await_change(changes_, seen);
            continue;
        }
        ticket = ticket_.fetch_add(1, std::memory_order_acq_rel);
        if (next_of(ticket) >= units_of(ticket)) continue;
        job_->run_unit(next_of(ticket), thread);
        if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == units_of(ticket)) {
            open_next(thread);
        }
    }
}

void ThreadPool::open_next(std::int32_t thread) {
    done_.store(0, std::memory_order_relaxed);
    std::optional<std::int64_t> units = 0;
    while (units.has_value() && *units == 0) {
        units = job_->next_phase(thread);
    }
    HEARTH_ASSERT(units.value_or(0) < kUnitsMax);
    publish(units.has_value() ? State::open : State::idle, units.value_or(0));
}

void ThreadPool::publish(State state, std::int64_t units) {
    ticket_.store(static_cast<std::uint64_t>(state) << (2 * kFieldBits) |
                      static_cast<std::uint64_t>(units) << kFieldBits,
                  std::memory_order_release);
    changes_.fetch_add(1, std::memory_order_release);
    changes_.notify_all();
}

void ThreadPool::await_change(const std::atomic<std::uint32_t>& counter, std::uint32_t from) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (counter.load(std::memory_order_acquire) != from) return;
        relax();
    }
    counter.wait(from, std::memory_order_acquire);
}

}  // namespace hearth::cpu

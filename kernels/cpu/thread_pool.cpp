#include "kernels/cpu/thread_pool.h"

#include "core/base/assert.h"
#include "core/base/thread.h"

namespace hearth::cpu {
namespace {

/// Some tens of microseconds: longer than a phase of a decode step, shorter than a reader notices.
constexpr int kSpins = 3000;

constexpr int kFieldBits = 32;
constexpr std::uint64_t kFirst = 1;
constexpr std::uint64_t kLast = std::uint64_t{1} << kFieldBits;

std::int64_t first_of(std::uint64_t left) {
    return static_cast<std::int64_t>(left % kLast);
}
std::int64_t end_of(std::uint64_t left) {
    return static_cast<std::int64_t>(left / kLast);
}

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

std::optional<std::int64_t> ThreadPool::Share::take_first() {
    std::uint64_t seen = left.load(std::memory_order_acquire);
    while (first_of(seen) < end_of(seen)) {
        if (left.compare_exchange_weak(seen, seen + kFirst, std::memory_order_acq_rel)) {
            return first_of(seen);
        }
    }
    return std::nullopt;
}

std::optional<std::int64_t> ThreadPool::Share::take_last() {
    std::uint64_t seen = left.load(std::memory_order_acquire);
    while (first_of(seen) < end_of(seen)) {
        if (left.compare_exchange_weak(seen, seen - kLast, std::memory_order_acq_rel)) {
            return end_of(seen) - 1;
        }
    }
    return std::nullopt;
}

ThreadPool::ThreadPool(std::int32_t thread_count)
    : thread_count_(thread_count),
      shares_(static_cast<std::size_t>(thread_count)) {
    HEARTH_ASSERT(thread_count >= 1);
    for (std::int32_t thread = 1; thread < thread_count; ++thread) {
        threads_.emplace_back([this, thread] { work(thread); });
    }
}

ThreadPool::~ThreadPool() {
    state_.store(State::ended, std::memory_order_relaxed);
    wake_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void ThreadPool::run(ParallelJob& job) {
    if (thread_count_ == 1) return run_alone(job);
    job_ = &job;
    state_.store(State::open, std::memory_order_relaxed);
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
        if (state_.load(std::memory_order_acquire) == last) return;
        const auto unit = take_unit(thread);
        if (!unit) {
            await_change(changes_, seen);
            continue;
        }
        job_->run_unit(*unit, thread);
        // The phase is open as long as a unit of it is not done.
        const std::int64_t units = units_.load(std::memory_order_relaxed);
        if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == units) open_next(thread);
    }
}

std::optional<std::int64_t> ThreadPool::take_unit(std::int32_t thread) {
    if (auto unit = shares_[static_cast<std::size_t>(thread)].take_first()) return unit;
    for (std::int32_t other = 1; other < thread_count_; ++other) {
        Share& share = shares_[static_cast<std::size_t>((thread + other) % thread_count_)];
        if (auto unit = share.take_last()) return unit;
    }
    return std::nullopt;
}

void ThreadPool::open_next(std::int32_t thread) {
    done_.store(0, std::memory_order_relaxed);
    std::optional<std::int64_t> units = 0;
    while (units.has_value() && *units == 0) {
        units = job_->next_phase(thread);
    }
    HEARTH_ASSERT(units.value_or(0) < kUnitsMax);
    if (units.has_value()) {
        // From its last store on others may be phases ahead: after it they are woken and no more.
        share_out(*units);
    } else {
        state_.store(State::idle, std::memory_order_release);
    }
    wake_all();
}

void ThreadPool::share_out(std::int64_t units) {
    units_.store(units, std::memory_order_relaxed);
    std::int64_t first = 0;
    for (std::int32_t thread = 0; thread < thread_count_; ++thread) {
        const std::int64_t end = units * (thread + 1) / thread_count_;
        shares_[static_cast<std::size_t>(thread)].left.store(
            static_cast<std::uint64_t>(end) * kLast + static_cast<std::uint64_t>(first),
            std::memory_order_release);
        first = end;
    }
}

void ThreadPool::wake_all() {
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

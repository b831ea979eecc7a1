// Mutex, LockGuard, ConditionVariable: the standard ones with Clang's capability attributes, so
// that `clang++ -fsyntax-only -Wthread-safety` finds a missing lock. The attributes are empty under
// g++.
#pragma once

#include <condition_variable>
#include <mutex>

#include "core/base/clock.h"

#if defined(__clang__)
#define HEARTH_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define HEARTH_THREAD_ATTRIBUTE(x)
#endif
#define HEARTH_CAPABILITY(name) HEARTH_THREAD_ATTRIBUTE(capability(name))
#define HEARTH_SCOPED_CAPABILITY HEARTH_THREAD_ATTRIBUTE(scoped_lockable)
#define HEARTH_GUARDED_BY(mutex) HEARTH_THREAD_ATTRIBUTE(guarded_by(mutex))
#define HEARTH_REQUIRES(...) HEARTH_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define HEARTH_ACQUIRE(...) HEARTH_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define HEARTH_RELEASE(...) HEARTH_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define HEARTH_NO_THREAD_SAFETY_ANALYSIS HEARTH_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace hearth {

class HEARTH_CAPABILITY("mutex") Mutex {
  public:
    void lock() HEARTH_ACQUIRE() { mutex_.lock(); }
    void unlock() HEARTH_RELEASE() { mutex_.unlock(); }

  private:
    std::mutex mutex_;
};

class HEARTH_SCOPED_CAPABILITY LockGuard {
  public:
    explicit LockGuard(Mutex& mutex) HEARTH_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~LockGuard() HEARTH_RELEASE() { mutex_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

  private:
    Mutex& mutex_;
};

/// Waits on a Mutex that the caller holds. Wake-ups may be spurious: wait in a loop over the
/// condition.
class ConditionVariable {
  public:
    void wait(Mutex& mutex) HEARTH_REQUIRES(mutex) { condition_.wait(mutex); }
    /// False when `deadline` has passed.
    bool wait_until(Mutex& mutex, TimePoint deadline) HEARTH_REQUIRES(mutex) {
        return condition_.wait_until(mutex, deadline) == std::cv_status::no_timeout;
    }
    void notify_one() { condition_.notify_one(); }
    void notify_all() { condition_.notify_all(); }

  private:
    std::condition_variable_any condition_;
};

}  // namespace hearth

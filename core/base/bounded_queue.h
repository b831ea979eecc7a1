// BoundedQueue: first in, first out, between threads, with a fixed room. Full means "refused", told
// to the pusher.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace hearth {

template <typename T>
class BoundedQueue {
  public:
    explicit BoundedQueue(std::size_t room) : room_(room) {}

    /// False, and the item is dropped, when the queue is full or closed.
    [[nodiscard]] bool try_push(T item) {
        {
            const LockGuard lock(mutex_);
            if (is_closed_ || items_.size() >= room_) return false;
            items_.push_back(std::move(item));
        }
        filled_.notify_one();
        return true;
    }

    /// Waits for an item; empty when the queue is closed and drained.
    std::optional<T> pop() {
        const LockGuard lock(mutex_);
        while (items_.empty() && !is_closed_) {
            filled_.wait(mutex_);
        }
        return take();
    }

    /// As pop, but also empty once `deadline` has passed.
    std::optional<T> pop_until(TimePoint deadline) {
        const LockGuard lock(mutex_);
        while (items_.empty() && !is_closed_) {
            if (!filled_.wait_until(mutex_, deadline)) break;
        }
        return take();
    }

    std::optional<T> try_pop() {
        const LockGuard lock(mutex_);
        return take();
    }

    /// Refuses further items; waiting readers drain what is there and then get nothing.
    void close() {
        {
            const LockGuard lock(mutex_);
            is_closed_ = true;
        }
        filled_.notify_all();
    }

    [[nodiscard]] std::size_t size() const {
        const LockGuard lock(mutex_);
        return items_.size();
    }

  private:
    std::optional<T> take() HEARTH_REQUIRES(mutex_) {
        if (items_.empty()) return std::nullopt;
        std::optional<T> item(std::move(items_.front()));
        items_.pop_front();
        return item;
    }

    const std::size_t room_;
    mutable Mutex mutex_;
    ConditionVariable filled_;
    std::deque<T> items_ HEARTH_GUARDED_BY(mutex_);
    bool is_closed_ HEARTH_GUARDED_BY(mutex_) = false;
};

}  // namespace hearth

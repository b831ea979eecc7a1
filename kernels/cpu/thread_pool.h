// ThreadPool: the CPU backend's own threads. The caller takes part as thread 0, so a pool of one
// has no threads and no barriers. Waiting threads spin for a moment and then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace hearth::cpu {

class ThreadPool {
  public:
    /// Starts `thread_count - 1` threads.
    explicit ThreadPool(std::int32_t thread_count);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    [[nodiscard]] std::int32_t thread_count() const { return thread_count_; }

    /// Calls body(thread) on every thread, the caller's being 0; returns when all have returned.
    ///
    /// Thread: one at a time.
    void run(const std::function<void(std::int32_t)>& body);

    /// Inside `run`, on every thread: waits until all have arrived. The last one calls `serial`
    /// alone, before any goes on.
    template <typename Serial>
    void barrier(Serial serial) {
        if (thread_count_ == 1) {
            serial();
            return;
        }
        const std::uint32_t round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == thread_count_ - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            serial();
            advance(round_);
        } else {
            await_change(round_, round);
        }
    }

  private:
    void work(std::int32_t thread);
    static void advance(std::atomic<std::uint32_t>& counter);
    static void await_change(const std::atomic<std::uint32_t>& counter, std::uint32_t from);

    const std::int32_t thread_count_;
    std::vector<std::thread> threads_;
    const std::function<void(std::int32_t)>* body_ = nullptr;  ///< published by start_; null: end
    alignas(64) std::atomic<std::uint32_t> start_{0};
    alignas(64) std::atomic<std::uint32_t> round_{0};
    alignas(64) std::atomic<std::int32_t> arrived_{0};
};

}  // namespace hearth::cpu

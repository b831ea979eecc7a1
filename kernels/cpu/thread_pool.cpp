#include "kernels/cpu/thread_pool.h"

#include "core/base/assert.h"
#include "core/base/thread.h"

namespace hearth::cpu {
namespace {

/// Some tens of microseconds: longer than a phase of a decode step, shorter than a reader notices.
constexpr int kSpins = 3000;

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
    body_ = nullptr;
    advance(start_);
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void ThreadPool::run(const std::function<void(std::int32_t)>& body) {
    if (thread_count_ > 1) {
        body_ = &body;
        advance(start_);
    }
    body(0);
    barrier([] {});
}

void ThreadPool::work(std::int32_t thread) {
    name_thread(Thread::worker);
    std::uint32_t seen = 0;
    for (;;) {
        await_change(start_, seen);
        ++seen;
        if (body_ == nullptr) return;
        (*body_)(thread);
        barrier([] {});
    }
}

void ThreadPool::advance(std::atomic<std::uint32_t>& counter) {
    counter.fetch_add(1, std::memory_order_release);
    counter.notify_all();
}

void ThreadPool::await_change(const std::atomic<std::uint32_t>& counter, std::uint32_t from) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (counter.load(std::memory_order_acquire) != from) return;
        relax();
    }
    counter.wait(from, std::memory_order_acquire);
}

}  // namespace hearth::cpu

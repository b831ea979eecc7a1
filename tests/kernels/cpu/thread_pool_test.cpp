#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <vector>

#include <catch2/catch.hpp>

#include "core/base/thread.h"

namespace hearth::cpu {
namespace {

TEST_CASE("every thread runs the body once a run, the caller as thread 0", "[cpu][thread_pool]") {
    for (const std::int32_t count : {1, 2, 3, 7}) {
        ThreadPool pool(count);
        const std::thread::id caller = std::this_thread::get_id();
        for (int run = 0; run < 50; ++run) {
            std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
            std::atomic<bool> is_right = true;
            pool.run([&](std::int32_t thread) {
                ++calls[static_cast<std::size_t>(thread)];
                const bool is_caller = std::this_thread::get_id() == caller;
                if (is_caller != (thread == 0)) is_right = false;
                if (!is_caller && current_thread() != Thread::worker) is_right = false;
            });
            CHECK(is_right);
            for (const auto& call : calls) {
                CHECK(call == 1);
            }
        }
    }
}

TEST_CASE("a barrier lets nobody pass before the serial part is done", "[cpu][thread_pool]") {
    for (const std::int32_t count : {1, 2, 5}) {
        ThreadPool pool(count);
        std::atomic<int> arrivals = 0;
        int serial_calls = 0;  // no atomic: the barrier orders it
        std::atomic<int> mistakes = 0;
        pool.run([&](std::int32_t) {
            for (int round = 1; round <= 200; ++round) {
                ++arrivals;
                pool.barrier([&] {
                    if (arrivals != round * count) ++mistakes;
                    ++serial_calls;
                });
                if (serial_calls != round) ++mistakes;
                pool.barrier([] {});
            }
        });
        CHECK(mistakes == 0);
        CHECK(serial_calls == 200);
    }
}

}  // namespace
}  // namespace hearth::cpu

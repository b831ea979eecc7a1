#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <vector>

#include <catch2/catch.hpp>

#include "core/base/thread.h"

namespace hearth::cpu {
namespace {

/// Phases of given sizes; counts what would be wrong.
class CountingJob final : public ParallelJob {
  public:
    explicit CountingJob(std::vector<std::int64_t> phases)
        : phases_(std::move(phases)),
          caller_(std::this_thread::get_id()) {}

    std::optional<std::int64_t> next_phase(std::int32_t thread) override {
        check_thread(thread);
        // Plain variables: the pool must order openings and units.
        if (opened_ > 0) {
            for (const auto& runs : runs_) {
                if (runs != 1) ++mistakes;
            }
        }
        if (opened_ == phases_.size()) return std::nullopt;
        runs_ = std::vector<std::atomic<int>>(static_cast<std::size_t>(phases_[opened_]));
        return phases_[opened_++];
    }

    void run_unit(std::int64_t unit, std::int32_t thread) override {
        check_thread(thread);
        ++runs_.at(static_cast<std::size_t>(unit));
    }

    std::atomic<int> mistakes = 0;
    [[nodiscard]] std::size_t opened() const { return opened_; }

  private:
    void check_thread(std::int32_t thread) {
        const bool is_caller = std::this_thread::get_id() == caller_;
        if (is_caller != (thread == 0)) ++mistakes;
        if (!is_caller && current_thread() != Thread::worker) ++mistakes;
    }

    const std::vector<std::int64_t> phases_;
    const std::thread::id caller_;
    std::size_t opened_ = 0;
    std::vector<std::atomic<int>> runs_;
};

TEST_CASE("every unit runs once, after all units of the phase before", "[cpu][thread_pool]") {
    std::vector<std::int64_t> phases;
    for (std::int64_t i = 0; i < 100; ++i) {
        phases.push_back(i % 7 == 3 ? 0 : 1 + i * i % 23);
    }
    for (const std::int32_t threads : {1, 2, 3, 7}) {
        ThreadPool pool(threads);
        for (int run = 0; run < 20; ++run) {
            CountingJob job(phases);
            pool.run(job);
            CHECK(job.mistakes == 0);
            CHECK(job.opened() == phases.size());
        }
    }
}

TEST_CASE("a job without work ends at once", "[cpu][thread_pool]") {
    for (const std::int32_t threads : {1, 2}) {
        ThreadPool pool(threads);
        for (const std::vector<std::int64_t>& phases : {std::vector<std::int64_t>{}, {0}, {0, 0}}) {
            CountingJob job(phases);
            pool.run(job);
            CHECK(job.mistakes == 0);
            CHECK(job.opened() == phases.size());
        }
    }
}

/// Its first phase is over only when two threads have met in it.
class MeetingJob final : public ParallelJob {
  public:
    std::optional<std::int64_t> next_phase(std::int32_t) override {
        return is_opened_ ? std::nullopt : (is_opened_ = true, std::optional<std::int64_t>(2));
    }
    void run_unit(std::int64_t, std::int32_t) override {
        ++present_;
        while (present_ < 2) {
            std::this_thread::yield();
        }
    }

  private:
    bool is_opened_ = false;
    std::atomic<int> present_ = 0;
};

TEST_CASE("units of a phase run at the same time", "[cpu][thread_pool]") {
    ThreadPool pool(2);
    MeetingJob job;
    pool.run(job);  // would never return on one thread
    SUCCEED();
}

}  // namespace
}  // namespace hearth::cpu

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

/// One phase; keeps the order in which each thread took its units.
class OrderJob final : public ParallelJob {
  public:
    OrderJob(std::int64_t units, std::int32_t threads)
        : taken(static_cast<std::size_t>(threads)),
          units_(units) {}

    std::optional<std::int64_t> next_phase(std::int32_t) override {
        return is_opened_ ? std::nullopt : (is_opened_ = true, std::optional<std::int64_t>(units_));
    }
    void run_unit(std::int64_t unit, std::int32_t thread) override {
        taken[static_cast<std::size_t>(thread)].push_back(unit);
        if (unit % 5 == 0) std::this_thread::yield();
    }

    std::vector<std::vector<std::int64_t>> taken;  ///< by thread

  private:
    std::int64_t units_;
    bool is_opened_ = false;
};

TEST_CASE("a thread takes its own neighbouring units in order, and the last ones of others",
          "[cpu][thread_pool]") {
    constexpr std::int64_t kUnits = 103;
    for (const std::int32_t threads : {2, 3, 5}) {
        ThreadPool pool(threads);
        for (int run = 0; run < 50; ++run) {
            OrderJob job(kUnits, threads);
            pool.run(job);
            const auto owner_of = [&](std::int64_t unit) {
                std::int32_t owner = 0;
                while (unit >= kUnits * (owner + 1) / threads) {
                    ++owner;
                }
                return owner;
            };
            for (std::int32_t thread = 0; thread < threads; ++thread) {
                const std::int64_t first = kUnits * thread / threads;
                // One that comes while units are shared out may find another's first.
                std::vector<std::int64_t> own, others;
                for (const std::int64_t unit : job.taken[static_cast<std::size_t>(thread)]) {
                    (owner_of(unit) == thread ? own : others).push_back(unit);
                }
                for (std::size_t i = 0; i < own.size(); ++i) {
                    CHECK(own[i] == first + static_cast<std::int64_t>(i));
                }
                for (std::size_t i = 1; i < others.size(); ++i) {
                    if (owner_of(others[i]) != owner_of(others[i - 1])) continue;
                    CHECK(others[i] < others[i - 1]);
                }
            }
        }
    }
}

}  // namespace
}  // namespace hearth::cpu

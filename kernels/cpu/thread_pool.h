// ThreadPool: the CPU backend's own threads. A job is a chain of phases, each of them a number of
// units; whoever finishes the last unit of a phase opens the next. Each thread has a run of
// neighbouring units, since what one reads lies behind what the one before it has read, and takes
// them in order; when it has none left, it takes the last ones of others. No phase waits for a
// thread that has not come: on a busy machine the caller goes on alone. The caller takes part as
// thread 0, so a pool of one has no threads and no atomics. Waiting threads spin for a moment and
// then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

namespace hearth::cpu {

class ParallelJob {
  public:
    ParallelJob() = default;
    ParallelJob(const ParallelJob&) = delete;
    ParallelJob& operator=(const ParallelJob&) = delete;
    virtual ~ParallelJob() = default;

    /// Opens the next phase and gives its number of units, below ThreadPool::kUnitsMax; empty: the
    /// job is done. Called by one thread at a time, after all units of the phase before.
    virtual std::optional<std::int64_t> next_phase(std::int32_t thread) = 0;
    /// Runs one unit of the open phase; units of one phase run at the same time.
    virtual void run_unit(std::int64_t unit, std::int32_t thread) = 0;
};

class ThreadPool {
  public:
    static constexpr std::int64_t kUnitsMax = std::int64_t{1} << 30;

    /// Starts `thread_count - 1` threads.
    explicit ThreadPool(std::int32_t thread_count);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    [[nodiscard]] std::int32_t thread_count() const { return thread_count_; }

    /// Returns when the job is done.   Thread: one at a time.
    void run(ParallelJob& job);

  private:
    enum class State : std::uint32_t { idle, open, ended };

    /// Units that a thread has left: the first one (32 bits) and behind the last one (32), in one
    /// word, so that its owner and others take from both ends.
    struct alignas(64) Share {
        std::optional<std::int64_t> take_first();
        std::optional<std::int64_t> take_last();

        std::atomic<std::uint64_t> left{0};
    };

    void run_alone(ParallelJob& job);
    void work(std::int32_t thread);
    /// Takes units until the job is done (or, for a worker, the pool ends).
    void take_part(std::int32_t thread);
    std::optional<std::int64_t> take_unit(std::int32_t thread);
    void open_next(std::int32_t thread);
    void share_out(std::int64_t units);
    void wake_all();
    static void await_change(const std::atomic<std::uint32_t>& counter, std::uint32_t from);

    const std::int32_t thread_count_;
    std::vector<std::thread> threads_;
    ParallelJob* job_ = nullptr;  ///< valid while a unit of it is held
    std::vector<Share> shares_;   ///< (thread_count)
    std::atomic<State> state_{State::idle};
    std::atomic<std::int64_t> units_{0};                 ///< of the open phase
    alignas(64) std::atomic<std::int64_t> done_{0};      ///< finished units of the open phase
    alignas(64) std::atomic<std::uint32_t> changes_{0};  ///< counts phases and states, to wait on
};

}  // namespace hearth::cpu

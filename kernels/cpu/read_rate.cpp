#include "kernels/cpu/read_rate.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>

namespace hearth::cpu {
namespace {

constexpr std::int64_t kUnitWords = std::int64_t{1} << 15;  // 256 KiB
constexpr int kSweeps = 5;

/// One phase per sweep; the first writes, so that every page is there.
class Sweep final : public ParallelJob {
  public:
    Sweep(std::uint64_t* words, std::int64_t count) : words_(words), count_(count) {}

    std::optional<std::int64_t> next_phase(std::int32_t /*thread*/) override {
        const auto now = std::chrono::steady_clock::now();
        if (sweep_ > 1)
            best_ = std::min(best_, std::chrono::duration<double>(now - begin_).count());
        begin_ = now;
        if (sweep_ > kSweeps) return std::nullopt;
        is_first_ = sweep_++ == 0;
        return (count_ + kUnitWords - 1) / kUnitWords;
    }

    void run_unit(std::int64_t unit, std::int32_t /*thread*/) override {
        std::uint64_t* begin = words_ + unit * kUnitWords;
        std::uint64_t* end = words_ + std::min(count_, (unit + 1) * kUnitWords);
        if (is_first_) return std::fill(begin, end, std::uint64_t{1});
        // Four sums, so that no addition waits for the one before.
        std::uint64_t sums[4] = {};
        for (; begin + 4 <= end; begin += 4) {
            for (int i = 0; i < 4; ++i) {
                sums[i] += begin[i];
            }
        }
        seen_ += sums[0] + sums[1] + sums[2] + sums[3];
    }

    [[nodiscard]] double best_seconds() const { return best_; }

  private:
    std::uint64_t* words_;
    std::int64_t count_;
    int sweep_ = 0;
    bool is_first_ = true;
    double best_ = 1e9;
    std::chrono::steady_clock::time_point begin_;
    std::atomic<std::uint64_t> seen_{0};  ///< keeps the reads
};

}  // namespace

double measure_read_rate(ThreadPool& pool, std::int64_t bytes) {
    const std::int64_t count = std::max<std::int64_t>(bytes / 8, 8);
    const std::unique_ptr<std::uint64_t[]> words(
        new (std::nothrow) std::uint64_t[static_cast<std::size_t>(count)]);
    if (words == nullptr) return 0.0;
    Sweep sweep(words.get(), count);
    pool.run(sweep);
    return static_cast<double>(count * 8) / std::max(sweep.best_seconds(), 1e-9);
}

}  // namespace hearth::cpu

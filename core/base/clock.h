// Time as a dependency: rooms that wait or measure are given a Clock, so that tests need no sleep.
#pragma once

#include <chrono>

namespace hearth {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

class Clock {
  public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    [[nodiscard]] virtual TimePoint now() const = 0;
};

class SteadyClock final : public Clock {
  public:
    [[nodiscard]] TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

/// Milliseconds with a fraction, as reports show them.
inline double to_ms(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace hearth

// A clock that stands still until a test moves it.
#pragma once

#include <atomic>

#include "core/base/clock.h"

namespace hearth::test {

class FakeClock final : public Clock {
  public:
    [[nodiscard]] TimePoint now() const override { return TimePoint(Duration(ticks_.load())); }
    void advance(Duration duration) { ticks_ += duration.count(); }

  private:
    std::atomic<Duration::rep> ticks_{1'000'000'000};
};

}  // namespace hearth::test

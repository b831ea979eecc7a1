// What changes as a run goes on: warm-up, a constant rate, a linear decay to zero, and four-bit
// rounding of the experts near the end. A pure function of progress, so that a run bounded by time
// always completes its decay.
#pragma once

#include <algorithm>

namespace hearth::trainer {

inline constexpr double kWarmUpShare = 0.02;
inline constexpr double kDecayBegin = 0.80;
inline constexpr double kRoundingBegin = 0.88;

/// How far a run is: the larger of its shares of tokens and of time, in [0, 1]. A limit of 0 is
/// none.
struct RunLimits {
    double tokens_max = 0;
    double seconds_max = 0;

    /// For a run that goes on where another's constant rate ended: its share is part of the whole.
    void add(double tokens, double seconds) {
        if (tokens_max > 0) tokens_max += tokens;
        if (seconds_max > 0) seconds_max += seconds;
    }

    [[nodiscard]] double progress(double tokens, double seconds) const {
        const double by_tokens = tokens_max > 0 ? tokens / tokens_max : 0;
        const double by_time = seconds_max > 0 ? seconds / seconds_max : 0;
        return std::clamp(std::max(by_tokens, by_time), 0.0, 1.0);
    }
};

/// Factor on the learning rates.
inline double rate_factor(double progress) {
    if (progress < kWarmUpShare) return std::max(0.02, progress / kWarmUpShare);
    if (progress < kDecayBegin) return 1;
    return std::max(0.0, (1 - progress) / (1 - kDecayBegin));
}

}  // namespace hearth::trainer

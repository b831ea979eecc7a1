// DraftWorth: whether guesses that cost time are worth it, from what steps with and without them
// took. It measures, keeps to the better way, and tries the other one now and then.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/base/clock.h"

namespace hearth::engine {

/// Apart for one sequence, two or three, four to seven, and so on: what a step of several costs is
/// another matter.
///
/// Thread: engine.
class DraftWorth {
  public:
    /// Steps of a trial; the first ones go without guesses, the next with them.
    static constexpr std::int32_t kTrialSteps = 4;
    /// Steps from one trial to the next: more and more as long as it changes nothing.
    static constexpr std::int32_t kPeriodMin = 64, kPeriodMax = 2048;

    /// Whether the next step of so many sequences should guess.
    [[nodiscard]] bool should_draft(std::size_t sequences) const {
        const Case& own = cases_[index_of(sequences)];
        return own.trial_left > 0 ? own.is_trial_drafting : own.is_drafting;
    }
    /// What a step gave that did what should_draft() said.
    void note(std::size_t sequences, std::int32_t tokens, Duration took);

  private:
    /// Of the last steps, the older the less.
    struct Rate {
        double seconds = 0.0, tokens = 0.0;
    };
    struct Case {
        Rate plain, drafting;
        std::int32_t trial_left = kTrialSteps;
        bool is_trial_drafting = false;
        bool is_measured = false;  ///< both ways
        bool is_drafting = false;
        std::int32_t period = kPeriodMin;
        std::int32_t period_left = kPeriodMin;

        [[nodiscard]] bool is_drafting_better() const {
            return drafting.seconds * plain.tokens <= plain.seconds * drafting.tokens;
        }
        void end_trial();
    };

    static std::size_t index_of(std::size_t sequences);

    std::array<Case, 6> cases_;
};

}  // namespace hearth::engine

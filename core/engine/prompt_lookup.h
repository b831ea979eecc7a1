// Prompt lookup: a guess how a text goes on, from how the same tokens went on earlier in it. A step
// that tries a guess computes several tokens at once and keeps what the model would have said
// itself, so a guess costs time but changes no text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hearth::engine {

/// Of one sequence. Guesses get longer while they are right, and need ever longer matches while
/// they are not.
///
/// Thread: engine.
class PromptLookup {
  public:
    /// What followed the longest run of tokens that stands at the end of `tokens` and before, the
    /// latest of equally long ones; at most `tokens_max`, empty where no run is long enough.
    /// Borrows from `tokens`, of which it reads the last kReachMax.
    [[nodiscard]] std::span<const std::int32_t> guess(std::span<const std::int32_t> tokens,
                                                      std::size_t tokens_max) const;
    /// How many tokens of a guess were tried, and how many from its start were right.
    void note(std::size_t tried, std::size_t right);

    static constexpr std::size_t kReachMax = 16384;  ///< some microseconds of each step
    static constexpr std::size_t kMatchMin = 3, kMatchMax = 48;
    static constexpr std::size_t kGuessMin = 2, kGuessMax = 16;

  private:
    std::size_t match_min_ = kMatchMin;
    std::size_t guess_max_ = 4;
};

}  // namespace hearth::engine

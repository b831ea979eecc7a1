// How a token is picked from a row of logits: what a step says to a device that picks by itself.
// The picking on the host, which every device has to match, is engine::Sampler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace hearth::compute {

/// How the next token is picked. The random number is a function of (seed, position): batch and
/// device do not matter. The filters apply in the order below, each to what the one before left;
/// the temperature reshapes the rest.
struct SamplingSettings {
    float temperature = 0.0F;  ///< 0: greedy, the rest is ignored
    std::int32_t top_k = 0;    ///< keep the k best; 0: all
    float top_p = 1.0F;  ///< keep the smallest set of best tokens whose probability reaches this
    float min_p = 0.0F;  ///< drop tokens below this share of the best one's probability
    std::uint64_t seed = 0;
};

/// What is picked, and for which place of its sequence.
struct PickOrder {
    SamplingSettings settings;
    std::int32_t position = 0;
    /// (mask_words(vocab_size)) which tokens may be picked, a bit each, lowest first; null: all.
    /// Probabilities are then those among them. Borrowed from the caller.
    const std::uint32_t* allowed = nullptr;
    bool wants_rivals = false;
};

constexpr std::int64_t mask_words(std::int64_t vocab_size) {
    constexpr std::int64_t kBits = 32;
    return (vocab_size + kBits - 1) / kBits;
}
constexpr bool is_allowed(const std::uint32_t* mask, std::int64_t token) {
    return (mask[token / 32] >> (token % 32) & 1U) != 0;
}
constexpr void allow(std::uint32_t* mask, std::int64_t token) {
    mask[token / 32] |= 1U << (token % 32);
}
/// What stands in for the logit of a token that may not be picked: finite, and nothing beside any
/// other.
inline constexpr float kForbiddenLogit = std::numeric_limits<float>::lowest();

/// A token that could have been picked, and how likely it was.
struct Rival {
    std::int32_t token = 0;
    float probability = 0.0F;  ///< as a pick's; 0: there is none
};

inline constexpr int kRivalsMax = 3;

struct Pick {
    std::int32_t token = 0;    ///< kNotFinite where a logit of the row is not finite
    float probability = 0.0F;  ///< at temperature 1, before any filter
    /// The likeliest others, likeliest first, ties to the lower token, none below
    /// kRivalProbabilityMin. Empty unless they were wanted.
    std::array<Rival, kRivalsMax> rivals = {};

    static constexpr std::int32_t kNotFinite = -1;
    static constexpr float kRivalProbabilityMin = 0.01F;
};

/// Uniform in [0, 1), a function of its arguments alone, on every device.   Source: the output
/// function of SplitMix64; Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// 2014.
constexpr double uniform_at(std::uint64_t seed, std::int32_t position) {
    const auto mix = [](std::uint64_t x) {
        x += 0x9E3779B97F4A7C15U;
        x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
        x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
        return x ^ (x >> 31U);
    };
    const std::uint64_t bits = mix(mix(seed) + static_cast<std::uint64_t>(position));
    return static_cast<double>(bits >> 11U) * 0x1.0p-53;
}

}  // namespace hearth::compute

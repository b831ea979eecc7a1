// Sampler: picks the next token from a row of logits. It has no state: the random number is a
// function of (seed, position), so neither the batch nor the device nor a retry changes a text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/engine/request.h"

namespace hearth::engine {

using compute::Pick;
using compute::PickOrder;
using compute::uniform_at;

class Sampler {
  public:
    explicit Sampler(std::int32_t vocab_size);

    /// The token for the order's place of its sequence. Greedy takes the best, ties to the lower
    /// number. Else the filters apply in the order top-k, top-p, min-p, each to the model's
    /// probabilities of what the one before left, and the temperature reshapes the rest, which the
    /// random number runs through in the order of the vocabulary.
    ///
    ///   logits   (vocab_size) f32
    ///
    /// Thread: engine.
    Pick pick(std::span<const float> logits, const PickOrder& order);

    /// The logarithm of the sum of all e^logit: a token's log probability is its logit less this.
    /// Nothing where a logit is not finite.   Thread: engine.
    std::optional<double> log_sum(std::span<const float> logits);

  private:
    struct Candidate {
        std::int32_t token = 0;
        float weight = 0.0F;  ///< exp(logit - best logit)
    };

    [[nodiscard]] std::span<const float> masked(std::span<const float> logits,
                                                const std::uint32_t* allowed);
    void find_rivals(double sum, Pick& pick) const;
    void filter(const SamplingSettings& settings, double sum);
    [[nodiscard]] std::int32_t draw(std::span<const float> logits,
                                    float best_logit,
                                    const SamplingSettings& settings,
                                    std::int32_t position);

    // Engine thread only; sized once.
    std::vector<float> weights_;
    std::vector<float> masked_;  ///< from the first mask on
    std::vector<Candidate> candidates_;
};

}  // namespace hearth::engine

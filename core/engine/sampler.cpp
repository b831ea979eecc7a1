#include "core/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "core/base/assert.h"
#include "core/base/thread.h"

namespace hearth::engine {
namespace {

std::uint64_t mix(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31U);
}

}  // namespace

double uniform_at(std::uint64_t seed, std::int32_t position) {
    const std::uint64_t bits = mix(mix(seed) + static_cast<std::uint64_t>(position));
    return static_cast<double>(bits >> 11U) * 0x1.0p-53;
}

Sampler::Sampler(std::int32_t vocab_size) : weights_(static_cast<std::size_t>(vocab_size)) {
    candidates_.reserve(weights_.size());
}

Result<Pick> Sampler::pick(std::span<const float> logits,
                           const SamplingSettings& settings,
                           std::int32_t position) {
    assert_on(Thread::engine);
    HEARTH_ASSERT(logits.size() == weights_.size());
    std::size_t best = 0;
    bool is_finite = true;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        is_finite = is_finite && std::isfinite(logits[i]);
        if (logits[i] > logits[best]) best = i;
    }
    if (!is_finite) {
        return fail(ErrorCode::internal,
                    "the model produced a number that is not finite for token " +
                        std::to_string(position) +
                        " of its sequence; check the model file, or try another backend",
                    "engine");
    }
    double sum = 0.0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        weights_[i] = std::exp(logits[i] - logits[best]);
        sum += static_cast<double>(weights_[i]);
    }
    auto token = static_cast<std::int32_t>(best);
    if (settings.temperature > 0.0F) {
        filter(settings);
        token = draw(settings, position);
    }
    const double weight = weights_[static_cast<std::size_t>(token)];
    return Pick{token, static_cast<float>(weight / sum)};
}

/// Leaves in candidates_ what may be picked, best first if anything was filtered.
void Sampler::filter(const SamplingSettings& settings) {
    candidates_.clear();
    for (std::size_t i = 0; i < weights_.size(); ++i) {
        candidates_.push_back({static_cast<std::int32_t>(i), weights_[i]});
    }
    const auto is_better = [](const Candidate& a, const Candidate& b) {
        return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
    };
    if (settings.top_k > 0 && static_cast<std::size_t>(settings.top_k) < candidates_.size()) {
        const auto end = candidates_.begin() + settings.top_k;
        std::ranges::partial_sort(candidates_, end, is_better);
        candidates_.erase(end, candidates_.end());
    }
    if (settings.top_p >= 1.0F && settings.min_p <= 0.0F) return;

    double sum = 0.0;
    for (const Candidate& candidate : candidates_) {
        sum += static_cast<double>(candidate.weight);
    }
    // A heap, because few of the many are kept: each pop puts the next best behind the heap.
    const auto is_worse = [&](const Candidate& a, const Candidate& b) { return is_better(b, a); };
    std::ranges::make_heap(candidates_, is_worse);
    double mass = 0.0;
    auto heap_end = candidates_.end();
    while (heap_end != candidates_.begin() && mass < static_cast<double>(settings.top_p) * sum) {
        // The best one's weight is exp(0) = 1.
        if (candidates_.front().weight < settings.min_p) break;
        std::ranges::pop_heap(candidates_.begin(), heap_end, is_worse);
        --heap_end;
        mass += static_cast<double>(heap_end->weight);
    }
    candidates_.erase(candidates_.begin(), heap_end);
    std::ranges::reverse(candidates_);
}

std::int32_t Sampler::draw(const SamplingSettings& settings, std::int32_t position) {
    double sum = 0.0;
    for (Candidate& candidate : candidates_) {
        // exp(x)^(1/T) = exp(x/T)
        candidate.weight = std::pow(candidate.weight, 1.0F / settings.temperature);
        sum += static_cast<double>(candidate.weight);
    }
    double rest = uniform_at(settings.seed, position) * sum;
    std::int32_t last = candidates_.front().token;
    for (const Candidate& candidate : candidates_) {
        if (candidate.weight <= 0.0F) continue;
        last = candidate.token;
        rest -= static_cast<double>(candidate.weight);
        if (rest < 0.0) break;
    }
    return last;
}

}  // namespace hearth::engine

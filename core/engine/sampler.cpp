#include "core/engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "core/base/assert.h"
#include "core/base/thread.h"

namespace hearth::engine {
namespace {

constexpr float kExponentMin = -87.0F;  ///< below, e^x is nothing beside the best token's 1
constexpr float kWeightMin = 2e-38F;    ///< above e^kExponentMin: what weighs less is never drawn

/// e^x for kExponentMin <= x <= 0, to a relative error of 3e-7. Without a branch, so that loops of
/// a known length become vector code, and our own, so that no text depends on a C library. Source:
/// Cody and Waite, "Software Manual for the Elementary Functions", 1980: e^x = 2^n * e^r with |r|
/// <= log(2) / 2.
[[gnu::always_inline]] inline float exp_of(float x) {
    constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: added and taken away it rounds
    constexpr float kLn2High = 0.693145752F;
    constexpr float kLn2Low = 1.42860677e-6F;
    const float n = (x * 1.44269504F + kRounder) - kRounder;
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float sum = 1.0F / 720.0F;
    sum = sum * r + 1.0F / 120.0F;
    sum = sum * r + 1.0F / 24.0F;
    sum = sum * r + 1.0F / 6.0F;
    sum = sum * r + 0.5F;
    sum = sum * r + 1.0F;
    sum = sum * r + 1.0F;
    return sum * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) * (1 << 23));
}

/// The compiler makes vector code of loops over lanes: their length is known and they write to
/// local arrays only.
constexpr std::size_t kLanes = 16;

struct Best {
    float logit = 0.0F;
    bool is_finite = false;  ///< all of them
};

Best find_best(std::span<const float> logits) {
    std::array<float, kLanes> best;
    std::array<float, kLanes> zero{};  // a number that is not finite, times 0, is not 0
    best.fill(logits[0]);
    const auto look = [&](float logit, std::size_t lane) {
        best[lane] = logit > best[lane] ? logit : best[lane];
        zero[lane] += logit * 0.0F;
    };
    std::size_t i = 0;
    for (; i + kLanes <= logits.size(); i += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            look(logits[i + lane], lane);
        }
    }
    for (; i < logits.size(); ++i) {
        look(logits[i], 0);
    }
    return {*std::ranges::max_element(best),
            std::ranges::all_of(zero, [](float value) { return value == 0.0F; })};
}

/// weights[i] = exp_of(std::max(logits[i] - best, kExponentMin)); returns their sum.
double weigh(std::span<const float> logits, float best, std::span<float> weights) {
    std::array<float, kLanes> run;
    std::array<float, kLanes> sums{};
    std::size_t i = 0;
    for (; i + kLanes <= logits.size(); i += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            const float exponent = logits[i + lane] - best;
            run[lane] = exponent > kExponentMin ? exponent : kExponentMin;
        }
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            run[lane] = exp_of(run[lane]);
        }
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            sums[lane] += run[lane];
        }
        std::ranges::copy(run, weights.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (; i < logits.size(); ++i) {
        weights[i] = exp_of(std::max(logits[i] - best, kExponentMin));
        sums[0] += weights[i];
    }
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

Sampler::Sampler(std::int32_t vocab_size) : weights_(static_cast<std::size_t>(vocab_size)) {
    candidates_.reserve(weights_.size());
}

std::span<const float> Sampler::masked(std::span<const float> logits,
                                       const std::uint32_t* allowed) {
    masked_.assign(logits.begin(), logits.end());
    for (std::size_t i = 0; i < masked_.size(); ++i) {
        if (!compute::is_allowed(allowed, static_cast<std::int64_t>(i))) {
            masked_[i] = compute::kForbiddenLogit;
        }
    }
    return masked_;
}

Pick Sampler::pick(std::span<const float> logits, const PickOrder& order) {
    assert_on(Thread::engine);
    HEARTH_ASSERT(logits.size() == weights_.size());
    if (order.allowed != nullptr) logits = masked(logits, order.allowed);
    const SamplingSettings& settings = order.settings;
    const Best best = find_best(logits);
    if (!best.is_finite) return {.token = Pick::kNotFinite};
    const double sum = weigh(logits, best.logit, weights_);
    std::int32_t token = 0;
    if (settings.temperature > 0.0F) {
        filter(settings, sum);
        token = draw(logits, best.logit, settings, order.position);
    } else {
        token = static_cast<std::int32_t>(std::ranges::find(logits, best.logit) - logits.begin());
    }
    const double weight = weights_[static_cast<std::size_t>(token)];
    Pick pick{.token = token, .probability = static_cast<float>(weight / sum)};
    if (order.wants_rivals) find_rivals(sum, pick);
    return pick;
}

std::optional<double> Sampler::log_sum(std::span<const float> logits) {
    assert_on(Thread::engine);
    const Best best = find_best(logits);
    if (!best.is_finite) return std::nullopt;
    return best.logit + std::log(weigh(logits, best.logit, weights_));
}

/// `sum` is that of all weights. Few tokens weigh enough to be looked at one by one.
void Sampler::find_rivals(double sum, Pick& pick) const {
    const auto weight_min = static_cast<float>(sum * Pick::kRivalProbabilityMin);
    const auto consider = [&](std::size_t token) {
        const auto probability = static_cast<float>(weights_[token] / sum);
        if (weights_[token] < weight_min || std::cmp_equal(token, pick.token)) return;
        auto place = std::ranges::find_if(
            pick.rivals, [&](const Rival& other) { return other.probability < probability; });
        if (place == pick.rivals.end()) return;
        std::shift_right(place, pick.rivals.end(), 1);
        *place = {static_cast<std::int32_t>(token), probability};
    };
    for (std::size_t begin = 0; begin < weights_.size(); begin += kLanes) {
        const std::size_t end = std::min(begin + kLanes, weights_.size());
        float heaviest = 0.0F;
        for (std::size_t i = begin; i < end; ++i) {
            heaviest = weights_[i] > heaviest ? weights_[i] : heaviest;
        }
        for (std::size_t i = begin; heaviest >= weight_min && i < end; ++i) {
            consider(i);
        }
    }
}

/// Leaves in candidates_ what may be picked. `sum` is that of all weights.
void Sampler::filter(const SamplingSettings& settings, double sum) {
    const auto top_p = static_cast<double>(settings.top_p);
    const bool has_top_k =
        settings.top_k > 0 && static_cast<std::size_t>(settings.top_k) < weights_.size();
    // All tokens below this share of 1 - top_p have less than 1 - top_p together: top_p never needs
    // them, and the heap below stays small. The best one's weight is 1, so min_p is a weight too.
    const auto needless =
        static_cast<float>((1.0 - top_p) * sum / static_cast<double>(weights_.size()));
    const float weight_min =
        std::max(kWeightMin, has_top_k ? 0.0F : std::max(settings.min_p, needless));
    // Without a branch: which tokens pass cannot be predicted.
    candidates_.resize(weights_.size());
    std::size_t count = 0;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
        candidates_[count] = {static_cast<std::int32_t>(i), weights_[i]};
        count += weights_[i] >= weight_min ? 1 : 0;
    }
    candidates_.resize(count);
    const auto is_better = [](const Candidate& a, const Candidate& b) {
        return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
    };
    if (has_top_k) {
        const auto end = candidates_.begin() + std::min(static_cast<std::ptrdiff_t>(settings.top_k),
                                                        std::ssize(candidates_));
        std::ranges::partial_sort(candidates_, end, is_better);
        candidates_.erase(end, candidates_.end());
        sum = 0.0;
        for (const Candidate& candidate : candidates_) {
            sum += static_cast<double>(candidate.weight);
        }
    }
    if (settings.top_p < 1.0F) {
        // A heap, because few of the many are kept: each pop puts the next best behind the heap.
        const auto is_worse = [&](const auto& a, const auto& b) { return is_better(b, a); };
        std::ranges::make_heap(candidates_, is_worse);
        auto heap_end = candidates_.end();
        for (double mass = 0.0; heap_end != candidates_.begin() && mass < top_p * sum;) {
            std::ranges::pop_heap(candidates_.begin(), heap_end, is_worse);
            --heap_end;
            mass += static_cast<double>(heap_end->weight);
        }
        candidates_.erase(candidates_.begin(), heap_end);
    }
    std::erase_if(candidates_, [&](const auto& item) { return item.weight < settings.min_p; });
    if (has_top_k || settings.top_p < 1.0F) std::ranges::sort(candidates_, {}, &Candidate::token);
}

std::int32_t Sampler::draw(std::span<const float> logits,
                           float best_logit,
                           const SamplingSettings& settings,
                           std::int32_t position) {
    double sum = 0.0;
    for (Candidate& candidate : candidates_) {
        const float logit = logits[static_cast<std::size_t>(candidate.token)];
        candidate.weight =
            exp_of(std::max((logit - best_logit) / settings.temperature, kExponentMin));
        sum += static_cast<double>(candidate.weight);
    }
    double rest = uniform_at(settings.seed, position) * sum;
    for (const Candidate& candidate : candidates_) {
        rest -= static_cast<double>(candidate.weight);
        if (rest < 0.0) return candidate.token;
    }
    return candidates_.back().token;
}

}  // namespace hearth::engine

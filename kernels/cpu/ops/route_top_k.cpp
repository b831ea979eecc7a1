// RouteTopK: scores, the groups that take part, the best experts, their weights.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/ops/ops.h"

namespace hearth::cpu {
namespace {

constexpr float kOut = -std::numeric_limits<float>::infinity();  ///< takes no part, or is taken

/// Of equals the first; a score that is not a number never wins over one that is.
std::int64_t best_of(std::span<const float> scores) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < scores.size(); ++i) {
        if (scores[i] > scores[best] || (std::isnan(scores[best]) && !std::isnan(scores[i]))) {
            best = i;
        }
    }
    return static_cast<std::int64_t>(best);
}

class RouteTopKOp final : public TokenOp {
  public:
    RouteTopKOp(const compute::RouteTopK& op, const compute::Tensor* bias)
        : op_(op),
          bias_(bias == nullptr ? nullptr : reinterpret_cast<const float*>(bias->bytes.data())),
          logits_(place_of(op.logits)),
          experts_(place_of(op.experts)),
          weights_(place_of(op.weights)) {
        reads(logits_);
        writes(experts_);
        writes(weights_);
    }

    void run(const Step& step, std::int64_t token, Scratch scratch) const override {
        const std::span<const float> logits(step.row<float>(logits_, token),
                                            static_cast<std::size_t>(op_.logits.dim));
        const std::span<float> scores(scratch.take<float>(op_.logits.dim), logits.size());
        const std::span<float> choice(scratch.take<float>(op_.logits.dim), logits.size());
        std::ranges::copy(logits, scores.begin());
        to_scores(scores);
        std::ranges::copy(scores, choice.begin());
        if (bias_ != nullptr) {
            for (std::size_t e = 0; e < choice.size(); ++e) {
                choice[e] += bias_[e];
            }
        }
        drop_groups(choice, scratch);
        pick(scores,
             choice,
             step.row<std::int32_t>(experts_, token),
             step.row<float>(weights_, token));
    }

    [[nodiscard]] std::int64_t scratch_bytes() const override {
        return 2 * Scratch::bytes<float>(op_.logits.dim) + Scratch::bytes<float>(op_.group_count) +
               Scratch::bytes<bool>(op_.group_count);
    }

  private:
    void to_scores(std::span<float> logits) const {
        if (op_.gating == compute::Gating::sigmoid) {
            for (float& x : logits) {
                x = 1.0F / (1.0F + std::exp(-x));
            }
            return;
        }
        const float largest = *std::max_element(logits.begin(), logits.end());
        float sum = 0.0F;
        for (float& x : logits) {
            x = std::exp(x - largest);
            sum += x;
        }
        for (float& x : logits) {
            x /= sum;
        }
    }

    /// Only the groups_used groups with the largest sums of their two best scores stay; of equals
    /// the first.
    void drop_groups(std::span<float> choice, Scratch scratch) const {
        if (op_.groups_used == op_.group_count) return;
        const auto group_count = static_cast<std::size_t>(op_.group_count);
        const std::size_t group_size = choice.size() / group_count;
        const std::span<float> group_scores(scratch.take<float>(op_.group_count), group_count);
        const std::span<bool> is_used(scratch.take<bool>(op_.group_count), group_count);
        for (std::size_t group = 0; group < group_count; ++group) {
            float best = kOut;
            float second = kOut;
            for (const float x : choice.subspan(group * group_size, group_size)) {
                second = std::max(second, std::min(best, x));
                best = std::max(best, x);
            }
            group_scores[group] = group_size > 1 ? best + second : best;
        }
        std::ranges::fill(is_used, false);
        for (std::int64_t i = 0; i < op_.groups_used; ++i) {
            const auto best = static_cast<std::size_t>(best_of(group_scores));
            is_used[best] = true;
            group_scores[best] = kOut;
        }
        for (std::size_t e = 0; e < choice.size(); ++e) {
            if (!is_used[e / group_size]) choice[e] = kOut;
        }
    }

    void pick(std::span<const float> scores,
              std::span<float> choice,
              std::int32_t* experts,
              float* weights) const {
        float sum = 0.0F;
        for (std::int64_t i = 0; i < op_.experts.dim; ++i) {
            const std::int64_t best = best_of(choice);
            choice[static_cast<std::size_t>(best)] = kOut;
            experts[i] = static_cast<std::int32_t>(best);
            weights[i] = scores[static_cast<std::size_t>(best)];
            sum += weights[i];
        }
        const float divisor =
            op_.normalise ? std::max(sum, compute::RouteTopK::kWeightSumMin) : 1.0F;
        for (std::int64_t i = 0; i < op_.weights.dim; ++i) {
            weights[i] = weights[i] / divisor * op_.scale;
        }
    }

    compute::RouteTopK op_;
    const float* bias_;
    Place logits_, experts_, weights_;
};

}  // namespace

std::unique_ptr<TokenOp> make_route_top_k(const compute::RouteTopK& op,
                                          const compute::Tensor* bias) {
    return std::make_unique<RouteTopKOp>(op, bias);
}

}  // namespace hearth::cpu

#include "kernels/reference/operations.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/base/assert.h"
#include "kernels/reference/dequantize.h"
#include "kernels/reference/quantize.h"

namespace hearth::reference {
namespace {

float dot(std::span<const float> a, std::span<const float> b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    return static_cast<float>(sum);
}

float silu(float x) {
    return x / (1.0F + std::exp(-x));
}

/// Row `index` of a weight, counted over all its outer axes, as floats in `scratch.row`.
std::span<const float> weight_row(const compute::Tensor& weight,
                                  std::int64_t index,
                                  const Scratch& scratch) {
    const auto row = scratch.row.first(static_cast<std::size_t>(weight.shape.dim(-1)));
    dequantize(
        weight.dtype, {weight.row(index), static_cast<std::size_t>(weight.row_size_bytes())}, row);
    return row;
}

/// Element `index` of an F32 vector; bytes of a file need not be aligned.
float element(const compute::Tensor& vector, std::int64_t index) {
    float value = 0.0F;
    std::copy_n(vector.bytes.data() + index * static_cast<std::int64_t>(sizeof(float)),
                sizeof(float),
                reinterpret_cast<std::byte*>(&value));
    return value;
}

/// scores become weights that sum to 1.
void softmax(std::span<float> scores) {
    const float best = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (float& score : scores) {
        score = std::exp(score - best);
        sum += static_cast<double>(score);
    }
    for (float& score : scores) {
        score = static_cast<float>(static_cast<double>(score) / sum);
    }
}

void add_scaled(std::span<float> sum, float factor, std::span<const float> values) {
    for (std::size_t i = 0; i < sum.size(); ++i) {
        sum[i] += factor * values[i];
    }
}

/// The place of the largest score that is not taken, the first of equals. Scores that are no
/// numbers come last, so that the result is always a place.
std::int64_t best_of(std::span<const float> scores, std::span<const float> taken) {
    std::int64_t best = -1;
    for (std::size_t i = 0; i < scores.size(); ++i) {
        if (taken[i] != 0.0F) continue;
        if (best < 0 || scores[i] > scores[static_cast<std::size_t>(best)]) {
            best = static_cast<std::int64_t>(i);
        }
    }
    HEARTH_ASSERT(best >= 0);
    return best;
}

}  // namespace

void embed(const compute::Embed& op,
           std::span<const std::int32_t> tokens,
           const compute::Tensor& table,
           Floats out) {
    for (std::int64_t t = 0; t < out.rows; ++t) {
        const std::int32_t token = tokens[static_cast<std::size_t>(t)];
        dequantize(table.dtype,
                   {table.row(token), static_cast<std::size_t>(table.row_size_bytes())},
                   out.row(t));
        for (float& value : out.row(t)) {
            value *= op.scale;
        }
    }
}

void rms_norm(const compute::RmsNorm& op, Floats x, const compute::Tensor& weight, Floats out) {
    const auto group_dim = static_cast<std::size_t>(op.group_dim);
    for (std::int64_t t = 0; t < x.rows; ++t) {
        for (std::size_t begin = 0; begin < static_cast<std::size_t>(x.dim); begin += group_dim) {
            const auto from = x.row(t).subspan(begin, group_dim);
            const auto to = out.row(t).subspan(begin, group_dim);
            double squares = 0.0;
            for (const float value : from) {
                squares += static_cast<double>(value) * static_cast<double>(value);
            }
            const double mean = squares / static_cast<double>(op.group_dim);
            const auto factor =
                static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(op.epsilon)));
            for (std::size_t i = 0; i < group_dim; ++i) {
                to[i] = from[i] * factor * element(weight, static_cast<std::int64_t>(i));
            }
        }
    }
}

void project(Floats x,
             const compute::Tensor& weight,
             const compute::Tensor* bias,
             Floats residual,
             Floats out,
             const Scratch& scratch) {
    for (std::int64_t column = 0; column < out.dim; ++column) {
        const auto row = weight_row(weight, column, scratch);
        const auto place = static_cast<std::size_t>(column);
        for (std::int64_t t = 0; t < x.rows; ++t) {
            float value = dot(x.row(t), row);
            if (bias != nullptr) value += element(*bias, column);
            if (residual.data != nullptr) value += residual.row(t)[place];
            out.row(t)[place] = value;
        }
    }
}

void rope(const compute::Rope& op, std::span<const std::int32_t> positions, Floats x) {
    const std::size_t pairs = op.frequencies.size();
    const bool is_interleaved = op.style == compute::RopeStyle::interleaved;
    for (std::int64_t t = 0; t < x.rows; ++t) {
        for (std::int64_t head = 0; head < op.heads; ++head) {
            const auto columns =
                x.row(t).subspan(static_cast<std::size_t>(head * op.head_dim + op.rotate_offset));
            for (std::size_t i = 0; i < pairs; ++i) {
                const double angle = static_cast<double>(positions[static_cast<std::size_t>(t)]) *
                                     static_cast<double>(op.frequencies[i]);
                const auto cosine = static_cast<float>(std::cos(angle)) * op.magnitude;
                const auto sine = static_cast<float>(std::sin(angle)) * op.magnitude;
                float& a = columns[is_interleaved ? 2 * i : i];
                float& b = columns[is_interleaved ? 2 * i + 1 : i + pairs];
                const float rotated = a * cosine - b * sine;
                b = a * sine + b * cosine;
                a = rotated;
            }
        }
    }
}

void attention_gqa(const compute::AttentionGqa& op,
                   const GqaInputs& inputs,
                   const StepPlaces& places,
                   ReferenceKvStore& kv,
                   Floats out,
                   const Scratch& scratch) {
    const auto head_dim = static_cast<std::size_t>(op.head_dim);
    const auto value_dim = static_cast<std::size_t>(op.value_dim);
    for (std::int64_t t = 0; t < out.rows; ++t) {
        const CacheRow row = places.row_of(t, places.positions[static_cast<std::size_t>(t)]);
        kv.store_key(op.layer, row, inputs.k.row(t));
        kv.store_value(op.layer, row, inputs.v.row(t));
    }
    for (std::int64_t t = 0; t < out.rows; ++t) {
        const std::int64_t length = places.positions[static_cast<std::size_t>(t)] + 1;
        const auto scores = scratch.scores.first(static_cast<std::size_t>(length));
        for (std::int64_t head = 0; head < op.heads; ++head) {
            const auto kv_head = static_cast<std::size_t>(head / (op.heads / op.kv_heads));
            const auto query =
                inputs.q.row(t).subspan(static_cast<std::size_t>(head) * head_dim, head_dim);
            const auto result =
                out.row(t).subspan(static_cast<std::size_t>(head) * value_dim, value_dim);
            for (std::int64_t p = 0; p < length; ++p) {
                const auto key = kv.key(op.layer, places.row_of(t, p));
                scores[static_cast<std::size_t>(p)] =
                    op.scale * dot(query, key.subspan(kv_head * head_dim, head_dim));
            }
            softmax(scores);
            std::ranges::fill(result, 0.0F);
            for (std::int64_t p = 0; p < length; ++p) {
                const auto value = kv.value(op.layer, places.row_of(t, p));
                add_scaled(result,
                           scores[static_cast<std::size_t>(p)],
                           value.subspan(kv_head * value_dim, value_dim));
            }
        }
    }
}

namespace {

/// A row as attention takes it, the latent and what is rotated.
class LatentRow {
  public:
    LatentRow(std::span<const float> latent, std::span<const float> rotated, bool is_rounded)
        : values_(latent.begin(), latent.end()) {
        values_.insert(values_.end(), rotated.begin(), rotated.end());
        if (!is_rounded) return;
        scale_ = round_part(std::span(values_).first(latent.size()));
        round_part(std::span(values_).subspan(latent.size()));
    }

    [[nodiscard]] std::span<const float> values() const { return values_; }
    /// What a step of the rounded latent is worth.
    [[nodiscard]] float scale() const { return scale_; }

  private:
    /// To seven bits and a sign of the largest.
    static float round_part(std::span<float> part) {
        constexpr float kMax = 127.0F;
        float largest = 1e-30F;
        for (const float value : part) {
            largest = std::max(largest, std::fabs(value));
        }
        for (float& value : part) {
            value = std::nearbyint(value * (kMax / largest)) * (largest / kMax);
        }
        return largest / kMax;
    }

    std::vector<float> values_;
    float scale_ = 1.0F;
};

/// The CPU backend rounds weights, times what a step of the row is worth, to eight bits of the
/// largest of 32 tokens.
void round_weights(std::span<float> weights, std::span<const float> scales) {
    constexpr std::size_t kTokens = 32;
    constexpr float kMax = 255.0F;
    for (std::size_t first = 0; first < weights.size(); first += kTokens) {
        const std::size_t end = std::min(first + kTokens, weights.size());
        float largest = 1e-30F;
        for (std::size_t i = first; i < end; ++i) {
            largest = std::max(largest, weights[i] * scales[i]);
        }
        for (std::size_t i = first; i < end; ++i) {
            const float steps = std::nearbyint(weights[i] * scales[i] * (kMax / largest));
            weights[i] = steps * (largest / kMax) / scales[i];
        }
    }
}

/// For one head of one token: `latent` holds the query in the latent space (q_nope times k_up) and
/// gets the weighted sum of the latents in its place.
void attend_latent(const compute::AttentionMla& op,
                   const MlaInputs& inputs,
                   std::span<const float> rotated_query,
                   std::int64_t token,
                   const StepPlaces& places,
                   ReferenceKvStore& kv,
                   std::span<float> latent,
                   const Scratch& scratch) {
    const std::int64_t length = places.positions[static_cast<std::size_t>(token)] + 1;
    const auto scores = scratch.scores.first(static_cast<std::size_t>(length));
    const LatentRow query(latent, rotated_query, inputs.rounds_attention);
    std::vector<LatentRow> rows;
    std::vector<float> scales;
    for (std::int64_t p = 0; p < length; ++p) {
        const auto key = kv.key(op.layer, places.row_of(token, p));
        rows.emplace_back(key.first(latent.size()),
                          key.subspan(latent.size(), rotated_query.size()),
                          inputs.rounds_attention);
        scales.push_back(rows.back().scale());
        scores[static_cast<std::size_t>(p)] = op.scale * dot(query.values(), rows.back().values());
    }
    softmax(scores);
    if (inputs.rounds_attention) round_weights(scores, scales);
    std::ranges::fill(latent, 0.0F);
    for (std::size_t p = 0; p < rows.size(); ++p) {
        add_scaled(latent, scores[p], rows[p].values().first(latent.size()));
    }
}

}  // namespace

void store_latent(const compute::AttentionMla& op,
                  Floats latent,
                  const StepPlaces& places,
                  ReferenceKvStore& kv) {
    for (std::int64_t t = 0; t < latent.rows; ++t) {
        const CacheRow row = places.row_of(t, places.positions[static_cast<std::size_t>(t)]);
        kv.store_key(op.layer, row, latent.row(t));
    }
}

void attention_mla(const compute::AttentionMla& op,
                   const MlaInputs& inputs,
                   const StepPlaces& places,
                   ReferenceKvStore& kv,
                   Floats out,
                   const Scratch& scratch) {
    const auto nope_dim = static_cast<std::size_t>(op.nope_dim);
    const auto rope_dim = static_cast<std::size_t>(op.rope_dim);
    const auto latent_dim = static_cast<std::size_t>(op.latent_dim);
    const auto query = [&](std::int64_t t, std::int64_t head) {
        return inputs.q.row(t).subspan(static_cast<std::size_t>(head) * (nope_dim + rope_dim));
    };
    const auto latent = [&](std::int64_t t, std::int64_t head) {
        return scratch.latent.subspan(static_cast<std::size_t>(t * op.heads + head) * latent_dim,
                                      latent_dim);
    };
    store_latent(op, inputs.latent, places, kv);
    for (std::int64_t head = 0; head < op.heads; ++head) {
        for (std::int64_t c = 0; c < op.latent_dim; ++c) {
            const auto row = weight_row(inputs.k_up, head * op.latent_dim + c, scratch);
            for (std::int64_t t = 0; t < out.rows; ++t) {
                latent(t, head)[static_cast<std::size_t>(c)] =
                    dot(query(t, head).first(nope_dim), row);
            }
        }
    }
    for (std::int64_t t = 0; t < out.rows; ++t) {
        for (std::int64_t head = 0; head < op.heads; ++head) {
            const auto rotated = query(t, head).subspan(nope_dim, rope_dim);
            attend_latent(op, inputs, rotated, t, places, kv, latent(t, head), scratch);
            if (inputs.rounds_mixed) round_activations(latent(t, head), latent(t, head));
        }
    }
    for (std::int64_t head = 0; head < op.heads; ++head) {
        for (std::int64_t v = 0; v < op.value_dim; ++v) {
            const std::int64_t column = head * op.value_dim + v;
            const auto row = weight_row(inputs.v_up, column, scratch);
            for (std::int64_t t = 0; t < out.rows; ++t) {
                out.row(t)[static_cast<std::size_t>(column)] = dot(latent(t, head), row);
            }
        }
    }
}

namespace {

/// Marks in `taken` the experts of all groups but the best ones.
void drop_groups(const compute::RouteTopK& op,
                 std::span<const float> biased,
                 std::span<float> taken) {
    const std::size_t groups = static_cast<std::size_t>(op.group_count);
    const std::size_t size = biased.size() / groups;
    for (std::int64_t round = 0; round < op.group_count - op.groups_used; ++round) {
        // The worst of the remaining groups goes; of equals the last.
        std::size_t worst = groups;
        float worst_score = 0.0F;
        for (std::size_t group = 0; group < groups; ++group) {
            if (taken[group * size] != 0.0F) continue;
            const auto members = biased.subspan(group * size, size);
            const auto used = taken.subspan(group * size, size);
            const auto first = static_cast<std::size_t>(best_of(members, used));
            float score = members[first];
            if (size > 1) {
                used[first] = 1.0F;
                score += members[static_cast<std::size_t>(best_of(members, used))];
                used[first] = 0.0F;
            }
            if (worst == groups || !(score > worst_score)) {
                worst = group;
                worst_score = score;
            }
        }
        std::ranges::fill(taken.subspan(worst * size, size), 1.0F);
    }
}

}  // namespace

void route_top_k(const compute::RouteTopK& op,
                 Floats logits,
                 const compute::Tensor* bias,
                 Ints experts,
                 Floats weights,
                 const Scratch& scratch) {
    const auto expert_count = static_cast<std::size_t>(logits.dim);
    const auto biased = scratch.row.first(expert_count);
    const auto taken = scratch.row.subspan(expert_count, expert_count);
    const auto scores = scratch.row.subspan(2 * expert_count, expert_count);
    for (std::int64_t t = 0; t < logits.rows; ++t) {
        std::ranges::copy(logits.row(t), scores.begin());
        if (op.gating == compute::Gating::softmax) {
            softmax(scores);
        } else {
            for (float& score : scores) {
                score = 1.0F / (1.0F + std::exp(-score));
            }
        }
        for (std::size_t e = 0; e < expert_count; ++e) {
            biased[e] =
                scores[e] + (bias != nullptr ? element(*bias, static_cast<std::int64_t>(e)) : 0.0F);
        }
        std::ranges::fill(taken, 0.0F);
        drop_groups(op, biased, taken);
        double sum = 0.0;
        for (std::size_t i = 0; i < static_cast<std::size_t>(experts.dim); ++i) {
            const std::int64_t best = best_of(biased, taken);
            taken[static_cast<std::size_t>(best)] = 1.0F;
            experts.row(t)[i] = static_cast<std::int32_t>(best);
            weights.row(t)[i] = scores[static_cast<std::size_t>(best)];
            sum += static_cast<double>(weights.row(t)[i]);
        }
        const float divisor =
            op.normalise ? std::max(static_cast<float>(sum), compute::RouteTopK::kWeightSumMin)
                         : 1.0F;
        for (float& weight : weights.row(t)) {
            weight = weight / divisor * op.scale;
        }
    }
}

namespace {

/// The weight of `expert` for one token; null: not chosen.
const float* share_of(std::int32_t expert,
                      std::span<const std::int32_t> chosen,
                      std::span<const float> weights) {
    const auto place = std::ranges::find(chosen, expert);
    return place == chosen.end() ? nullptr
                                 : &weights[static_cast<std::size_t>(place - chosen.begin())];
}

}  // namespace

void experts(const ExpertsInputs& inputs, Floats residual, Floats out, const Scratch& scratch) {
    const std::int64_t ffn_dim = inputs.gate.shape.dim(1);
    const auto hidden = [&](std::int64_t t) {
        return scratch.hidden.subspan(static_cast<std::size_t>(t * ffn_dim),
                                      static_cast<std::size_t>(ffn_dim));
    };
    for (std::int64_t t = 0; t < out.rows; ++t) {
        if (residual.data == nullptr) {
            std::ranges::fill(out.row(t), 0.0F);
        } else if (residual.data != out.data) {
            std::ranges::copy(residual.row(t), out.row(t).begin());
        }
    }
    for (std::int32_t expert = 0; expert < inputs.gate.shape.dim(0); ++expert) {
        const auto share = [&](std::int64_t t) {
            return share_of(expert, inputs.experts.row(t), inputs.weights.row(t));
        };
        bool is_used = false;
        for (std::int64_t t = 0; t < out.rows && !is_used; ++t) {
            is_used = share(t) != nullptr;
        }
        if (!is_used) continue;
        for (const compute::Tensor* weight : {&inputs.gate, &inputs.up}) {
            for (std::int64_t f = 0; f < ffn_dim; ++f) {
                const auto row = weight_row(*weight, expert * ffn_dim + f, scratch);
                for (std::int64_t t = 0; t < out.rows; ++t) {
                    if (share(t) == nullptr) continue;
                    float& value = hidden(t)[static_cast<std::size_t>(f)];
                    const float product = dot(inputs.x.row(t), row);
                    value = weight == &inputs.gate ? silu(product) : value * product;
                }
            }
        }
        for (std::int64_t t = 0; t < out.rows && inputs.rounds_hidden; ++t) {
            if (share(t) != nullptr) round_activations(hidden(t), hidden(t));
        }
        for (std::int64_t column = 0; column < out.dim; ++column) {
            const auto row = weight_row(inputs.down, expert * out.dim + column, scratch);
            for (std::int64_t t = 0; t < out.rows; ++t) {
                const float* weight = share(t);
                if (weight == nullptr) continue;
                out.row(t)[static_cast<std::size_t>(column)] += *weight * dot(hidden(t), row);
            }
        }
    }
}

void swiglu(Floats gate, Floats up, Floats out) {
    for (std::int64_t t = 0; t < out.rows; ++t) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(out.dim); ++i) {
            out.row(t)[i] = silu(gate.row(t)[i]) * up.row(t)[i];
        }
    }
}

void add(Floats a, Floats b, Floats out) {
    for (std::int64_t t = 0; t < out.rows; ++t) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(out.dim); ++i) {
            out.row(t)[i] = a.row(t)[i] + b.row(t)[i];
        }
    }
}

void logits(const compute::Logits& op,
            Floats x,
            std::span<const std::int32_t> logit_rows,
            const compute::Tensor& weight,
            Floats out,
            const Scratch& scratch) {
    for (std::int64_t token = 0; token < out.dim; ++token) {
        const auto row = weight_row(weight, token, scratch);
        for (std::int64_t i = 0; i < out.rows; ++i) {
            const auto hidden = x.row(logit_rows[static_cast<std::size_t>(i)]);
            out.row(i)[static_cast<std::size_t>(token)] = op.scale * dot(hidden, row);
        }
    }
}

}  // namespace hearth::reference

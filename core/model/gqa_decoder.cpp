#include "core/model/gqa_decoder.h"

#include <cmath>
#include <utility>
#include <vector>

#include "core/model/feed_forward.h"
#include "core/model/rope_scaling.h"

namespace hearth::model {
namespace {

using compute::kNone;
using compute::Plan;
using compute::Slice;
using compute::WeightId;

/// The numbers beyond ModelConfig.
struct GqaNumbers {
    std::int64_t head_dim = 0;
    std::int64_t value_dim = 0;
    std::int64_t ffn_dim = 0;  ///< of an expert where there are experts
    std::vector<float> rope_frequencies;
    float rope_magnitude = 1.0F;
};

struct GqaLayer {
    WeightId attention_norm, q, k, v, q_bias, k_bias, v_bias, q_norm, k_norm, output, output_bias;
    WeightId ffn_norm;
    DenseWeights dense;  ///< the whole feed-forward, or the shared expert
    ExpertWeights experts;
};

struct GqaWeights {
    WeightId embedding, output_norm, head;
    std::vector<GqaLayer> layers;
};

Result<GqaNumbers> read_numbers(const Metadata& metadata,
                                const ModelConfig& config,
                                Weights& weights) {
    GqaNumbers numbers;
    const std::int64_t even_split = config.hidden_dim / config.head_count;
    HEARTH_TRY(numbers.head_dim, metadata.count("attention.key_length", {1}, even_split));
    HEARTH_TRY(numbers.value_dim, metadata.count("attention.value_length", {1}, even_split));
    std::optional<std::int64_t> ffn_dim;
    if (config.expert_count > 0) {
        HEARTH_TRY(const std::int64_t expert_ffn_dim,
                   metadata.count("expert_feed_forward_length", {0}, 0));
        if (expert_ffn_dim > 0) ffn_dim = expert_ffn_dim;
    }
    if (!ffn_dim) {
        HEARTH_TRY(ffn_dim, metadata.count("feed_forward_length", {1}));
    }
    numbers.ffn_dim = *ffn_dim;

    HEARTH_TRY(const RopeScaling scaling, RopeScaling::read(metadata));
    HEARTH_TRY(const std::int64_t rope_dims,
               metadata.count("rope.dimension_count", {2, numbers.head_dim}, numbers.head_dim));
    HEARTH_TRY(numbers.rope_frequencies, rope_frequencies(scaling, rope_dims));
    numbers.rope_magnitude = static_cast<float>(scaling.attention_factor * scaling.magnitude(1.0) /
                                                scaling.magnitude(scaling.mscale_all_dim));
    // Llama 3.1 and later divide each frequency by a number of its own.
    if (weights.has("rope_freqs.weight")) {
        HEARTH_TRY(const auto divisors, weights.read_floats("rope_freqs.weight", {rope_dims / 2}));
        for (std::size_t i = 0; i < divisors.size(); ++i) {
            numbers.rope_frequencies[i] /= divisors[i];
        }
    }
    return numbers;
}

/// Takes the tensors of one file by the numbers of its metadata.
class GqaTaker {
  public:
    GqaTaker(Weights& weights,
             const ModelConfig& config,
             const GqaNumbers& numbers,
             const GqaTraits& traits)
        : weights_(weights),
          config_(config),
          numbers_(numbers),
          traits_(traits) {}

    Result<GqaWeights> take() {
        GqaWeights taken{};
        HEARTH_TRY(taken.embedding,
                   weights_.take("token_embd.weight", {config_.vocab_size, config_.hidden_dim}));
        HEARTH_TRY(taken.output_norm,
                   weights_.take_vector("output_norm.weight", config_.hidden_dim));
        HEARTH_TRY(
            taken.head,
            weights_.take_optional("output.weight", {config_.vocab_size, config_.hidden_dim}));
        if (taken.head == kNone) taken.head = taken.embedding;
        for (std::int32_t layer = 0; layer < config_.layer_count; ++layer) {
            HEARTH_TRY(auto one, take_layer("blk." + std::to_string(layer) + "."));
            taken.layers.push_back(one);
        }
        return taken;
    }

  private:
    Result<GqaLayer> take_layer(const std::string& prefix) {
        const std::int64_t hidden = config_.hidden_dim;
        const std::int64_t q_dim = config_.head_count * numbers_.head_dim;
        const std::int64_t k_dim = config_.kv_head_count * numbers_.head_dim;
        const std::int64_t v_dim = config_.kv_head_count * numbers_.value_dim;
        const std::int64_t out_dim = config_.head_count * numbers_.value_dim;
        GqaLayer layer{};
        HEARTH_TRY(layer.attention_norm, weights_.take_vector(prefix + "attn_norm.weight", hidden));
        HEARTH_TRY(layer.q, weights_.take(prefix + "attn_q.weight", {q_dim, hidden}));
        HEARTH_TRY(layer.k, weights_.take(prefix + "attn_k.weight", {k_dim, hidden}));
        HEARTH_TRY(layer.v, weights_.take(prefix + "attn_v.weight", {v_dim, hidden}));
        HEARTH_TRY(layer.q_bias, vector(prefix + "attn_q.bias", q_dim, traits_.needs_qkv_bias));
        HEARTH_TRY(layer.k_bias, vector(prefix + "attn_k.bias", k_dim, traits_.needs_qkv_bias));
        HEARTH_TRY(layer.v_bias, vector(prefix + "attn_v.bias", v_dim, traits_.needs_qkv_bias));
        layer.q_norm = layer.k_norm = kNone;
        if (traits_.needs_head_norms) {
            HEARTH_TRY(layer.q_norm,
                       weights_.take_vector(prefix + "attn_q_norm.weight", numbers_.head_dim));
            HEARTH_TRY(layer.k_norm,
                       weights_.take_vector(prefix + "attn_k_norm.weight", numbers_.head_dim));
        }
        HEARTH_TRY(layer.output, weights_.take(prefix + "attn_output.weight", {hidden, out_dim}));
        HEARTH_TRY(layer.output_bias, vector(prefix + "attn_output.bias", hidden, false));
        HEARTH_TRY(layer.ffn_norm, weights_.take_vector(prefix + "ffn_norm.weight", hidden));
        const FeedForwardDims dims{.hidden_dim = hidden, .ffn_dim = numbers_.ffn_dim};
        if (config_.expert_count > 0) {
            HEARTH_TRY(layer.experts, take_experts(weights_, prefix, config_.expert_count, dims));
            if (traits_.shared_ffn_dim > 0) {
                HEARTH_TRY(
                    layer.dense,
                    take_dense(weights_, prefix, "_shexp", {hidden, traits_.shared_ffn_dim}));
            }
        } else {
            HEARTH_TRY(layer.dense, take_dense(weights_, prefix, "", dims));
        }
        return layer;
    }

    Result<WeightId> vector(const std::string& name, std::int64_t dim, bool is_needed) {
        return is_needed ? weights_.take_vector(name, dim)
                         : weights_.take_optional_vector(name, dim);
    }

    Weights& weights_;
    const ModelConfig& config_;
    const GqaNumbers& numbers_;
    const GqaTraits& traits_;
};

class GqaDecoder final : public LoadedModel {
  public:
    GqaDecoder(File file,
               ModelConfig config,
               Weights weights,
               GqaNumbers numbers,
               GqaWeights ids,
               GqaTraits traits)
        : LoadedModel(std::move(file), std::move(config), std::move(weights)),
          numbers_(std::move(numbers)),
          ids_(std::move(ids)),
          traits_(traits) {}

    [[nodiscard]] Plan plan(std::int32_t tokens_max) const override {
        const ModelConfig& c = config();
        const std::int64_t q_dim = c.head_count * numbers_.head_dim;
        const std::int64_t k_dim = c.kv_head_count * numbers_.head_dim;
        const std::int64_t v_dim = c.kv_head_count * numbers_.value_dim;
        Plan plan;
        plan.tokens_max = tokens_max;
        plan.positions_max = c.context_length;
        plan.vocab_size = c.vocab_size;
        plan.kv = {.layer_count = c.layer_count, .key_dim = k_dim, .value_dim = v_dim};
        const bool is_dense = c.expert_count == 0;
        const std::int64_t dense_ffn_dim = is_dense ? numbers_.ffn_dim : traits_.shared_ffn_dim;
        const Routing routing{.expert_count = c.expert_count,
                              .experts_per_token = c.experts_per_token};
        const Values values{.x = plan.add_value("x", c.hidden_dim),
                            .normed = plan.add_value("normed", c.hidden_dim),
                            .q = plan.add_value("q", q_dim),
                            .k = plan.add_value("k", k_dim),
                            .v = plan.add_value("v", v_dim),
                            .mixed = plan.add_value("mixed", c.head_count * numbers_.value_dim),
                            .ffn = add_feed_forward_values(plan, dense_ffn_dim, routing)};

        plan.operations.push_back(compute::Embed{
            .table = ids_.embedding, .out = values.x, .scale = traits_.embedding_scale});
        for (std::size_t i = 0; i < ids_.layers.size(); ++i) {
            const GqaLayer& layer = ids_.layers[i];
            norm_stream(plan, values, layer.attention_norm);
            record_attention(plan, values, layer, static_cast<std::int32_t>(i));
            norm_stream(plan, values, layer.ffn_norm);
            if (!is_dense) {
                record_experts(plan, layer.experts, routing, values.ffn, values.normed, values.x);
            }
            if (dense_ffn_dim > 0) {
                record_dense(plan, layer.dense, dense_ffn_dim, values.ffn, values.normed, values.x);
            }
        }
        norm_stream(plan, values, ids_.output_norm);
        plan.operations.push_back(
            compute::Logits{.x = values.normed, .weight = ids_.head, .scale = traits_.logit_scale});
        return plan;
    }

  private:
    struct Values {
        Slice x, normed, q, k, v, mixed;
        FeedForwardValues ffn;
    };

    void norm_stream(Plan& plan, const Values& values, WeightId weight) const {
        plan.operations.push_back(
            compute::RmsNorm{.x = values.x,
                             .weight = weight,
                             .out = values.normed,
                             .group_dim = values.x.dim,
                             .epsilon = config().norm_epsilon * traits_.epsilon_scale});
    }

    void norm_heads(Plan& plan, const Slice& x, WeightId weight) const {
        plan.operations.push_back(compute::RmsNorm{.x = x,
                                                   .weight = weight,
                                                   .out = x,
                                                   .group_dim = numbers_.head_dim,
                                                   .epsilon = config().norm_epsilon});
    }

    void rotate(Plan& plan, const Slice& x, std::int64_t heads) const {
        plan.operations.push_back(compute::Rope{.x = x,
                                                .heads = heads,
                                                .head_dim = numbers_.head_dim,
                                                .rotate_offset = 0,
                                                .style = traits_.rope_style,
                                                .frequencies = numbers_.rope_frequencies,
                                                .magnitude = numbers_.rope_magnitude});
    }

    void record_attention(Plan& plan,
                          const Values& values,
                          const GqaLayer& layer,
                          std::int32_t index) const {
        const auto project = [&](WeightId weight, WeightId bias, const Slice& out) {
            plan.operations.push_back(
                compute::Project{.x = values.normed, .weight = weight, .out = out, .bias = bias});
        };
        project(layer.q, layer.q_bias, values.q);
        project(layer.k, layer.k_bias, values.k);
        project(layer.v, layer.v_bias, values.v);
        if (traits_.needs_head_norms) {
            norm_heads(plan, values.q, layer.q_norm);
            norm_heads(plan, values.k, layer.k_norm);
        }
        rotate(plan, values.q, config().head_count);
        rotate(plan, values.k, config().kv_head_count);
        plan.operations.push_back(compute::AttentionGqa{
            .q = values.q,
            .k = values.k,
            .v = values.v,
            .out = values.mixed,
            .layer = index,
            .heads = config().head_count,
            .kv_heads = config().kv_head_count,
            .head_dim = numbers_.head_dim,
            .value_dim = numbers_.value_dim,
            .scale = traits_.score_scale > 0.0F
                         ? traits_.score_scale
                         : 1.0F / std::sqrt(static_cast<float>(numbers_.head_dim))});
        plan.operations.push_back(compute::Project{.x = values.mixed,
                                                   .weight = layer.output,
                                                   .out = values.x,
                                                   .bias = layer.output_bias,
                                                   .residual = values.x});
    }

    GqaNumbers numbers_;
    GqaWeights ids_;
    GqaTraits traits_;
};

}  // namespace

Result<std::shared_ptr<const Model>> make_gqa_decoder(const File& file,
                                                      const std::string& architecture,
                                                      const GqaTraits& traits) {
    const Metadata metadata(*file, architecture);
    HEARTH_TRY(ModelConfig config, metadata.config());
    if (traits.needs_experts && config.expert_count == 0) {
        return fail(ErrorCode::corrupt,
                    file->path() + " is of architecture " + architecture + " but has no experts",
                    "model");
    }
    Weights weights(*file);
    HEARTH_TRY(GqaNumbers numbers, read_numbers(metadata, config, weights));
    HEARTH_TRY(GqaWeights ids, GqaTaker(weights, config, numbers, traits).take());
    HEARTH_CHECK(weights.check_all_used(config.layer_count));
    return std::shared_ptr<const Model>(std::make_shared<GqaDecoder>(
        file, std::move(config), std::move(weights), std::move(numbers), std::move(ids), traits));
}

}  // namespace hearth::model

// Reading and taking. Traps, each where it is met: the context scaling enters the score scale
// squared; a file before the split of attn_kv_b holds key and value rows interleaved by head; the
// weight scale 0 means 1.
#include "core/model/deepseek2_parts.h"

#include <cmath>
#include <utility>

#include "core/compute/dequantize.h"
#include "core/model/rope_scaling.h"

namespace hearth::model {
namespace {

using compute::kNone;
using compute::Tensor;
using compute::WeightId;

Result<void> read_attention(const Metadata& metadata, Deepseek2Numbers& numbers) {
    HEARTH_TRY(numbers.latent_dim, metadata.count("attention.kv_lora_rank", {1}));
    HEARTH_TRY(numbers.query_rank, metadata.count("attention.q_lora_rank", {0}, 0));
    // Files made for latent attention keep the sizes of one head apart; older ones have no others.
    HEARTH_TRY(std::int64_t key_dim, metadata.count("attention.key_length_mla", {0}, 0));
    if (key_dim == 0) {
        HEARTH_TRY(key_dim, metadata.count("attention.key_length", {2}));
    }
    HEARTH_TRY(numbers.value_dim, metadata.count("attention.value_length_mla", {0}, 0));
    if (numbers.value_dim == 0) {
        HEARTH_TRY(numbers.value_dim, metadata.count("attention.value_length", {1}));
    }
    HEARTH_TRY(numbers.rope_dim, metadata.count("rope.dimension_count", {2, key_dim - 1}));
    numbers.nope_dim = key_dim - numbers.rope_dim;

    HEARTH_TRY(const RopeScaling scaling, RopeScaling::read(metadata));
    HEARTH_TRY(numbers.rope_frequencies, rope_frequencies(scaling, numbers.rope_dim));
    // cos and sin get mscale / mscale_all_dim's magnitude, which is 1 for the models of this
    // family since both are the same number; a file without it has mscale 1 and no correction of
    // the scores.
    const double magnitude = scaling.mscale_all_dim != 0.0 ? 1.0 : scaling.magnitude(1.0);
    numbers.rope_magnitude = static_cast<float>(scaling.attention_factor * magnitude);
    const double correction = scaling.magnitude(scaling.mscale_all_dim);
    numbers.score_scale =
        static_cast<float>(correction * correction / std::sqrt(static_cast<double>(key_dim)));
    return {};
}

Result<void> read_feed_forward(const Metadata& metadata,
                               const ModelConfig& config,
                               Deepseek2Numbers& numbers) {
    const std::int64_t layer_count = config.layer_count;
    HEARTH_TRY(numbers.dense_layer_count,
               metadata.count("leading_dense_block_count", {0, layer_count}, 0));
    if (config.expert_count == 0) numbers.dense_layer_count = layer_count;
    if (numbers.dense_layer_count > 0) {
        HEARTH_TRY(numbers.dense_ffn_dim, metadata.count("feed_forward_length", {1}));
    }
    if (numbers.dense_layer_count == layer_count) return {};

    HEARTH_TRY(numbers.expert_ffn_dim, metadata.count("expert_feed_forward_length", {1}));
    HEARTH_TRY(const std::int64_t shared_count, metadata.count("expert_shared_count", {0, 256}, 0));
    numbers.shared_ffn_dim = shared_count * numbers.expert_ffn_dim;
    Routing& routing = numbers.routing;
    routing.expert_count = config.expert_count;
    routing.experts_per_token = config.experts_per_token;
    // 0 and absent: files from before the key, all of which gate by softmax.
    HEARTH_TRY(const std::int64_t gating, metadata.count("expert_gating_func", {0, 2}, 0));
    routing.gating = gating == 2 ? compute::Gating::sigmoid : compute::Gating::softmax;
    HEARTH_TRY(routing.normalise, metadata.flag("expert_weights_norm", false));
    HEARTH_TRY(const double scale, metadata.real("expert_weights_scale", 1.0));
    routing.scale = scale == 0.0 ? 1.0F : static_cast<float>(scale);
    HEARTH_TRY(const std::int64_t groups,
               metadata.count("expert_group_count", {0, config.expert_count}, 0));
    if (groups > 1) {
        routing.group_count = groups;
        HEARTH_TRY(routing.groups_used, metadata.count("expert_group_used_count", {1, groups}));
    }
    return {};
}

/// Takes the tensors of one file by the numbers of its metadata.
class Deepseek2Taker {
  public:
    Deepseek2Taker(Weights& weights, const ModelConfig& config, const Deepseek2Numbers& numbers)
        : weights_(weights),
          config_(config),
          n_(numbers) {}

    Result<Deepseek2Weights> take() {
        const compute::Shape table{config_.vocab_size, config_.hidden_dim};
        Deepseek2Weights taken{};
        HEARTH_TRY(taken.embedding, weights_.take("token_embd.weight", table));
        HEARTH_TRY(taken.output_norm,
                   weights_.take_vector("output_norm.weight", config_.hidden_dim));
        HEARTH_TRY(taken.head, weights_.take_optional("output.weight", table));
        if (taken.head == kNone) taken.head = taken.embedding;
        for (std::int32_t index = 0; index < config_.layer_count; ++index) {
            const std::string prefix = "blk." + std::to_string(index) + ".";
            Deepseek2Layer layer{};
            layer.is_dense = index < n_.dense_layer_count;
            HEARTH_CHECK(take_layer(prefix, layer));
            taken.layers.push_back(layer);
        }
        return taken;
    }

    Result<Deepseek2Prediction> take_prediction(const Deepseek2Weights& trunk) {
        const std::string prefix = "blk." + std::to_string(config_.layer_count) + ".";
        const std::string nextn = prefix + "nextn.";
        const std::int64_t hidden = config_.hidden_dim;
        const compute::Shape table{config_.vocab_size, hidden};
        const auto or_else = [](WeightId own, WeightId other) {
            return own == kNone ? other : own;
        };
        Deepseek2Prediction taken{};
        HEARTH_TRY(taken.join, weights_.take(nextn + "eh_proj.weight", {hidden, 2 * hidden}));
        HEARTH_TRY(taken.embedding_norm, weights_.take_vector(nextn + "enorm.weight", hidden));
        HEARTH_TRY(taken.row_norm, weights_.take_vector(nextn + "hnorm.weight", hidden));
        HEARTH_TRY(const WeightId output_norm,
                   weights_.take_optional_vector(nextn + "shared_head_norm.weight", hidden));
        HEARTH_TRY(const WeightId embedding,
                   weights_.take_optional(nextn + "embed_tokens.weight", table));
        HEARTH_TRY(const WeightId head,
                   weights_.take_optional(nextn + "shared_head_head.weight", table));
        taken.output_norm = or_else(output_norm, trunk.output_norm);
        taken.embedding = or_else(embedding, trunk.embedding);
        taken.head = or_else(head, trunk.head);
        taken.layer.is_dense = n_.dense_layer_count == config_.layer_count;
        HEARTH_CHECK(take_layer(prefix, taken.layer));
        return taken;
    }

  private:
    Result<void> take_layer(const std::string& prefix, Deepseek2Layer& layer) {
        HEARTH_CHECK(take_attention(prefix, layer));
        return take_feed_forward(prefix, layer);
    }

    Result<void> take_attention(const std::string& prefix, Deepseek2Layer& layer) {
        const std::int64_t hidden = config_.hidden_dim;
        const std::int64_t q_dim = config_.head_count * (n_.nope_dim + n_.rope_dim);
        HEARTH_TRY(layer.attention_norm, weights_.take_vector(prefix + "attn_norm.weight", hidden));
        if (n_.query_rank > 0) {
            HEARTH_TRY(layer.q_a,
                       weights_.take(prefix + "attn_q_a.weight", {n_.query_rank, hidden}));
            HEARTH_TRY(layer.q_a_norm,
                       weights_.take_vector(prefix + "attn_q_a_norm.weight", n_.query_rank));
            HEARTH_TRY(layer.q, weights_.take(prefix + "attn_q_b.weight", {q_dim, n_.query_rank}));
        } else {
            layer.q_a = layer.q_a_norm = kNone;
            HEARTH_TRY(layer.q, weights_.take(prefix + "attn_q.weight", {q_dim, hidden}));
        }
        HEARTH_TRY(
            layer.latent,
            weights_.take(prefix + "attn_kv_a_mqa.weight", {n_.latent_dim + n_.rope_dim, hidden}));
        HEARTH_TRY(layer.latent_norm,
                   weights_.take_vector(prefix + "attn_kv_a_norm.weight", n_.latent_dim));
        if (!weights_.has(prefix + "attn_k_b.weight") &&
            weights_.has(prefix + "attn_kv_b.weight")) {
            HEARTH_CHECK(split_kv_b(prefix, layer));
        } else {
            HEARTH_TRY(layer.k_up,
                       weights_.take(prefix + "attn_k_b.weight",
                                     {config_.head_count, n_.latent_dim, n_.nope_dim}));
            HEARTH_TRY(layer.v_up,
                       weights_.take(prefix + "attn_v_b.weight",
                                     {config_.head_count, n_.value_dim, n_.latent_dim}));
        }
        HEARTH_TRY(layer.output,
                   weights_.take(prefix + "attn_output.weight",
                                 {hidden, config_.head_count * n_.value_dim}));
        return {};
    }

    /// The older layout: for each head nope_dim rows that make keys, then value_dim rows that make
    /// values, all of latent_dim columns. Values keep their rows as they are; keys are wanted the
    /// other way round, which no block type survives, so they become floats.
    Result<void> split_kv_b(const std::string& prefix, Deepseek2Layer& layer) {
        const std::int64_t heads = config_.head_count;
        const std::int64_t head_rows = n_.nope_dim + n_.value_dim;
        HEARTH_TRY(const Tensor* both,
                   weights_.read(prefix + "attn_kv_b.weight", {heads * head_rows, n_.latent_dim}));
        const std::int64_t row_bytes = both->row_size_bytes();
        std::vector<std::byte> value_rows;
        std::vector<float> keys(static_cast<std::size_t>(heads * n_.latent_dim * n_.nope_dim));
        std::vector<float> row(static_cast<std::size_t>(n_.latent_dim));
        for (std::int64_t head = 0; head < heads; ++head) {
            for (std::int64_t k = 0; k < n_.nope_dim; ++k) {
                compute::dequantize(
                    both->dtype,
                    {both->row(head * head_rows + k), static_cast<std::size_t>(row_bytes)},
                    row);
                for (std::int64_t c = 0; c < n_.latent_dim; ++c) {
                    keys[static_cast<std::size_t>((head * n_.latent_dim + c) * n_.nope_dim + k)] =
                        row[static_cast<std::size_t>(c)];
                }
            }
            const std::byte* first = both->row(head * head_rows + n_.nope_dim);
            value_rows.insert(value_rows.end(), first, first + n_.value_dim * row_bytes);
        }
        const auto key_bytes = std::as_bytes(std::span(keys));
        layer.k_up = weights_.add_derived(prefix + "attn_k_b.weight",
                                          compute::Dtype::f32,
                                          {heads, n_.latent_dim, n_.nope_dim},
                                          {key_bytes.begin(), key_bytes.end()});
        layer.v_up = weights_.add_derived(prefix + "attn_v_b.weight",
                                          both->dtype,
                                          {heads, n_.value_dim, n_.latent_dim},
                                          std::move(value_rows));
        return {};
    }

    Result<void> take_feed_forward(const std::string& prefix, Deepseek2Layer& layer) {
        const std::int64_t hidden = config_.hidden_dim;
        HEARTH_TRY(layer.ffn_norm, weights_.take_vector(prefix + "ffn_norm.weight", hidden));
        if (layer.is_dense) {
            HEARTH_TRY(layer.dense, take_dense(weights_, prefix, "", {hidden, n_.dense_ffn_dim}));
            return {};
        }
        HEARTH_TRY(
            layer.experts,
            take_experts(weights_, prefix, n_.routing.expert_count, {hidden, n_.expert_ffn_dim}));
        if (n_.shared_ffn_dim > 0) {
            HEARTH_TRY(layer.dense,
                       take_dense(weights_, prefix, "_shexp", {hidden, n_.shared_ffn_dim}));
        }
        return {};
    }

    Weights& weights_;
    const ModelConfig& config_;
    const Deepseek2Numbers& n_;
};

}  // namespace

Result<Deepseek2Numbers> read_deepseek2_numbers(const Metadata& metadata,
                                                const ModelConfig& config) {
    Deepseek2Numbers numbers;
    HEARTH_CHECK(read_attention(metadata, numbers));
    HEARTH_CHECK(read_feed_forward(metadata, config, numbers));
    return numbers;
}

Result<Deepseek2Weights> take_deepseek2(Weights& weights,
                                        const ModelConfig& config,
                                        const Deepseek2Numbers& numbers) {
    return Deepseek2Taker(weights, config, numbers).take();
}

Result<Deepseek2Prediction> take_deepseek2_prediction(Weights& weights,
                                                      const ModelConfig& config,
                                                      const Deepseek2Numbers& numbers,
                                                      const Deepseek2Weights& trunk) {
    return Deepseek2Taker(weights, config, numbers).take_prediction(trunk);
}

}  // namespace hearth::model

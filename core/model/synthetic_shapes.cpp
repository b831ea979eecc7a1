#include "core/model/synthetic_shapes.h"

#include <array>
#include <utility>

namespace hearth::model {
namespace {

using Entry = formats::GgufFile::Entry;

// Numbers of the published configurations; the ds2 shapes and `tiny` are ours.
constexpr std::array<SyntheticShape, 8> kShapes = {{
    {.name = "tiny",
     .architecture = "deepseek2",
     .vocab_size = 512,
     .hidden_dim = 256,
     .layer_count = 3,
     .context_length = 4096,
     .head_count = 4,
     .latent_dim = 256,
     .nope_dim = 32,
     .rope_dim = 16,
     .value_dim = 32,
     .dense_layer_count = 1,
     .dense_ffn_dim = 256,
     .expert_count = 4,
     .experts_per_token = 2,
     .expert_ffn_dim = 96,  // no multiple of 256: the fallbacks are met
     .shared_expert_count = 1},
    {.name = "tiny-mtp",  // with a block for multi-token prediction
     .architecture = "deepseek2",
     .vocab_size = 512,
     .hidden_dim = 256,
     .layer_count = 3,
     .context_length = 4096,
     .head_count = 4,
     .query_rank = 64,
     .latent_dim = 96,
     .nope_dim = 32,
     .rope_dim = 16,
     .value_dim = 32,
     .dense_layer_count = 1,
     .dense_ffn_dim = 256,
     .expert_count = 6,
     .experts_per_token = 2,
     .expert_ffn_dim = 96,
     .shared_expert_count = 1,
     .is_tied = true,
     .has_prediction_block = true},
    {.name = "ds2-small",
     .architecture = "deepseek2",
     .vocab_size = 32256,
     .hidden_dim = 512,
     .layer_count = 12,
     .context_length = 32768,
     .head_count = 8,
     .latent_dim = 128,
     .nope_dim = 64,
     .rope_dim = 32,
     .value_dim = 64,
     .dense_layer_count = 1,
     .dense_ffn_dim = 1536,
     .expert_count = 16,
     .experts_per_token = 4,
     .expert_ffn_dim = 256,
     .shared_expert_count = 1,
     .is_tied = true},
    {.name = "ds2-lite4",
     .architecture = "deepseek2",
     .vocab_size = 102400,
     .hidden_dim = 2048,
     .layer_count = 4,
     .context_length = 163840,
     .head_count = 16,
     .latent_dim = 512,
     .nope_dim = 128,
     .rope_dim = 64,
     .value_dim = 128,
     .dense_layer_count = 1,
     .dense_ffn_dim = 10944,
     .expert_count = 64,
     .experts_per_token = 6,
     .expert_ffn_dim = 1408,
     .shared_expert_count = 2,
     .yarn_log_multiplier = 0.0707},
    {.name = "deepseek-v2-lite",
     .architecture = "deepseek2",
     .vocab_size = 102400,
     .hidden_dim = 2048,
     .layer_count = 27,
     .context_length = 163840,
     .head_count = 16,
     .latent_dim = 512,
     .nope_dim = 128,
     .rope_dim = 64,
     .value_dim = 128,
     .dense_layer_count = 1,
     .dense_ffn_dim = 10944,
     .expert_count = 64,
     .experts_per_token = 6,
     .expert_ffn_dim = 1408,
     .shared_expert_count = 2,
     .yarn_log_multiplier = 0.0707},
    {.name = "deepseek-v3-slice",  // one dense layer and four with experts, of 3 and 58
     .architecture = "deepseek2",
     .vocab_size = 129280,
     .hidden_dim = 7168,
     .layer_count = 5,
     .context_length = 163840,
     .head_count = 128,
     .query_rank = 1536,
     .latent_dim = 512,
     .nope_dim = 128,
     .rope_dim = 64,
     .value_dim = 128,
     .dense_layer_count = 1,
     .dense_ffn_dim = 18432,
     .expert_count = 256,
     .experts_per_token = 8,
     .expert_ffn_dim = 2048,
     .shared_expert_count = 1,
     .yarn_log_multiplier = 0.1,
     .has_sigmoid_gating = true},
    {.name = "qwen3-30b-a3b",
     .architecture = "qwen3moe",
     .vocab_size = 151936,
     .hidden_dim = 2048,
     .layer_count = 48,
     .context_length = 40960,
     .head_count = 32,
     .kv_head_count = 4,
     .head_dim = 128,
     .expert_count = 128,
     .experts_per_token = 8,
     .expert_ffn_dim = 768,
     .rope_base = 1e6},
    {.name = "granite-1b",  // Granite 3.1 1B-A400M
     .architecture = "granitemoe",
     .vocab_size = 49155,
     .hidden_dim = 1024,
     .layer_count = 24,
     .context_length = 131072,
     .head_count = 16,
     .kv_head_count = 8,
     .head_dim = 64,
     .expert_count = 32,
     .experts_per_token = 8,
     .expert_ffn_dim = 512,
     .rope_base = 1.5e6,
     .is_tied = true},
}};

class TensorList {
  public:
    explicit TensorList(const SyntheticShape& shape) : s_(shape) {}

    std::vector<SyntheticTensor> list() && {
        const compute::Shape table{s_.vocab_size, s_.hidden_dim};
        add("token_embd.weight", table, s_.is_tied ? TensorRole::head : TensorRole::embedding);
        add("output_norm.weight", {s_.hidden_dim}, TensorRole::norm);
        if (!s_.is_tied) add("output.weight", table, TensorRole::head);
        const std::int64_t layer_count = s_.layer_count + (s_.has_prediction_block ? 1 : 0);
        for (layer_ = 0; layer_ < layer_count; ++layer_) {
            prefix_ = "blk." + std::to_string(layer_) + ".";
            if (layer_ == s_.layer_count) add_prediction();
            add("attn_norm.weight", {s_.hidden_dim}, TensorRole::norm);
            if (s_.latent_dim > 0) {
                add_latent_attention();
            } else {
                add_grouped_attention();
            }
            add("ffn_norm.weight", {s_.hidden_dim}, TensorRole::norm);
            if (layer_ < s_.dense_layer_count) {
                add_dense("", s_.dense_ffn_dim);
                continue;
            }
            add_experts();
            if (s_.shared_expert_count > 0) {
                add_dense("_shexp", s_.shared_expert_count * s_.expert_ffn_dim);
            }
        }
        return std::move(tensors_);
    }

  private:
    void add(const std::string& name, const compute::Shape& shape, TensorRole role) {
        tensors_.push_back({prefix_ + name, shape, role, layer_});
    }

    void add_latent_attention() {
        const std::int64_t q_dim = s_.head_count * (s_.nope_dim + s_.rope_dim);
        if (s_.query_rank > 0) {
            add("attn_q_a.weight", {s_.query_rank, s_.hidden_dim}, TensorRole::matrix);
            add("attn_q_a_norm.weight", {s_.query_rank}, TensorRole::norm);
            add("attn_q_b.weight", {q_dim, s_.query_rank}, TensorRole::matrix);
        } else {
            add("attn_q.weight", {q_dim, s_.hidden_dim}, TensorRole::matrix);
        }
        add("attn_kv_a_mqa.weight",
            {s_.latent_dim + s_.rope_dim, s_.hidden_dim},
            TensorRole::matrix);
        add("attn_kv_a_norm.weight", {s_.latent_dim}, TensorRole::norm);
        add("attn_k_b.weight", {s_.head_count, s_.latent_dim, s_.nope_dim}, TensorRole::matrix);
        add("attn_v_b.weight", {s_.head_count, s_.value_dim, s_.latent_dim}, TensorRole::matrix);
        add("attn_output.weight",
            {s_.hidden_dim, s_.head_count * s_.value_dim},
            TensorRole::matrix);
    }

    void add_prediction() {
        add("nextn.eh_proj.weight", {s_.hidden_dim, 2 * s_.hidden_dim}, TensorRole::matrix);
        for (const char* name : {"enorm", "hnorm", "shared_head_norm"}) {
            add(std::string("nextn.") + name + ".weight", {s_.hidden_dim}, TensorRole::norm);
        }
    }

    void add_grouped_attention() {
        const std::int64_t q_dim = s_.head_count * s_.head_dim;
        const std::int64_t kv_dim = s_.kv_head_count * s_.head_dim;
        add("attn_q.weight", {q_dim, s_.hidden_dim}, TensorRole::matrix);
        add("attn_k.weight", {kv_dim, s_.hidden_dim}, TensorRole::matrix);
        add("attn_v.weight", {kv_dim, s_.hidden_dim}, TensorRole::matrix);
        if (s_.architecture == "qwen3moe") {
            add("attn_q_norm.weight", {s_.head_dim}, TensorRole::norm);
            add("attn_k_norm.weight", {s_.head_dim}, TensorRole::norm);
        }
        add("attn_output.weight", {s_.hidden_dim, q_dim}, TensorRole::matrix);
    }

    void add_dense(const std::string& suffix, std::int64_t ffn_dim) {
        add("ffn_gate" + suffix + ".weight", {ffn_dim, s_.hidden_dim}, TensorRole::matrix);
        add("ffn_up" + suffix + ".weight", {ffn_dim, s_.hidden_dim}, TensorRole::matrix);
        add("ffn_down" + suffix + ".weight", {s_.hidden_dim, ffn_dim}, TensorRole::matrix);
    }

    void add_experts() {
        const compute::Shape in{s_.expert_count, s_.expert_ffn_dim, s_.hidden_dim};
        const compute::Shape out{s_.expert_count, s_.hidden_dim, s_.expert_ffn_dim};
        add("ffn_gate_inp.weight", {s_.expert_count, s_.hidden_dim}, TensorRole::router);
        if (s_.has_sigmoid_gating) add("exp_probs_b.bias", {s_.expert_count}, TensorRole::bias);
        add("ffn_gate_exps.weight", in, TensorRole::experts);
        add("ffn_up_exps.weight", in, TensorRole::experts);
        add("ffn_down_exps.weight", out, TensorRole::experts);
    }

    const SyntheticShape& s_;
    std::vector<SyntheticTensor> tensors_;
    std::string prefix_;
    std::int64_t layer_ = -1;
};

/// Adds `ARCHITECTURE.key` to a file's metadata.
class MetadataList {
  public:
    MetadataList(const SyntheticShape& shape, std::string name) : s_(shape) {
        entries_.push_back({"general.architecture", std::string(s_.architecture)});
        entries_.push_back({"general.name", std::move(name)});
    }

    std::vector<Entry> list() && {
        count("context_length", s_.context_length);
        count("embedding_length", s_.hidden_dim);
        count("block_count", s_.layer_count + (s_.has_prediction_block ? 1 : 0));
        if (s_.has_prediction_block) count("nextn_predict_layers", 1);
        count("vocab_size", s_.vocab_size);
        count("attention.head_count", s_.head_count);
        add("attention.layer_norm_rms_epsilon", 1e-6);
        add("rope.freq_base", s_.rope_base);
        count("expert_count", s_.expert_count);
        count("expert_used_count", s_.experts_per_token);
        count("expert_feed_forward_length", s_.expert_ffn_dim);
        if (s_.latent_dim > 0) {
            add_deepseek2();
        } else {
            count("attention.head_count_kv", s_.kv_head_count);
            count("attention.key_length", s_.head_dim);
            count("attention.value_length", s_.head_dim);
            count("feed_forward_length", s_.expert_ffn_dim);
        }
        if (s_.architecture == "granitemoe") {
            add("embedding_scale", 12.0);
            add("residual_scale", 0.22);
            add("attention.scale", 0.015625);
            add("logit_scale", 6.0);
        }
        return std::move(entries_);
    }

  private:
    void add(const std::string& key, formats::GgufValue value) {
        entries_.push_back({std::string(s_.architecture) + "." + key, std::move(value)});
    }
    void count(const std::string& key, std::int64_t value) {
        add(key, static_cast<std::uint64_t>(value));
    }

    void add_deepseek2() {
        count("attention.head_count_kv", 1);
        if (s_.query_rank > 0) count("attention.q_lora_rank", s_.query_rank);
        count("attention.kv_lora_rank", s_.latent_dim);
        count("attention.key_length", s_.latent_dim + s_.rope_dim);
        count("attention.value_length", s_.latent_dim);
        count("attention.key_length_mla", s_.nope_dim + s_.rope_dim);
        count("attention.value_length_mla", s_.value_dim);
        count("rope.dimension_count", s_.rope_dim);
        count("leading_dense_block_count", s_.dense_layer_count);
        count("feed_forward_length", s_.dense_ffn_dim);
        count("expert_shared_count", s_.shared_expert_count);
        count("expert_gating_func", s_.has_sigmoid_gating ? 2 : 1);
        add("expert_weights_norm", s_.has_sigmoid_gating);
        add("expert_weights_scale", s_.has_sigmoid_gating ? 2.5 : 1.0);
        if (s_.has_sigmoid_gating) {
            count("expert_group_count", 8);
            count("expert_group_used_count", 4);
        }
        if (s_.yarn_log_multiplier > 0.0) {
            add("rope.scaling.type", std::string("yarn"));
            add("rope.scaling.factor", 40.0);
            count("rope.scaling.original_context_length", 4096);
            add("rope.scaling.yarn_log_multiplier", s_.yarn_log_multiplier);
        }
    }

    const SyntheticShape& s_;
    std::vector<Entry> entries_;
};

}  // namespace

std::span<const SyntheticShape> synthetic_shapes() {
    return kShapes;
}

std::vector<SyntheticTensor> tensors_of(const SyntheticShape& shape) {
    return TensorList(shape).list();
}

std::vector<formats::GgufFile::Entry> metadata_of(const SyntheticShape& shape, std::string name) {
    return MetadataList(shape, std::move(name)).list();
}

}  // namespace hearth::model

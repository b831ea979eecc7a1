#include "tests/support/tiny_model.h"

#include <cmath>
#include <deque>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "core/formats/gguf_writer.h"
#include "kernels/reference/quantize.h"
#include "tests/support/tiny_vocabulary.h"

namespace hearth::test {
namespace {

using compute::Dtype;
using compute::Shape;

/// SplitMix64 and a sum of uniforms: the same normal-like numbers on every machine, without libm.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    float normal() {
        // Twelve uniforms have variance 1; exact in double.
        double sum = -6.0;
        for (int i = 0; i < 12; ++i) {
            sum += static_cast<double>(next() >> 11) * 0x1p-53;
        }
        return static_cast<float>(sum);
    }

  private:
    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    std::uint64_t state_;
};

class Builder {
  public:
    explicit Builder(const TinyModelOptions& options)
        : options_(options),
          random_(options.seed),
          vocabulary_(make_tiny_vocabulary()) {}

    std::vector<std::byte> build() {
        writer_.add_string("general.architecture", options_.architecture);
        writer_.add_string("general.name", "tiny-" + options_.architecture);
        add_tokenizer(writer_, vocabulary_, options_.pre_tokenizer);
        count("context_length", options_.context_length);
        count("embedding_length", options_.hidden_dim);
        count("block_count", options_.layer_count);
        count("vocab_size", vocab_size());
        count("attention.head_count", heads());
        real("attention.layer_norm_rms_epsilon", 1e-6F);
        real("rope.freq_base", 10000.0F);
        matrix("token_embd.weight", {vocab_size(), hidden()}, 1.0F);
        if (!options_.has_tied_head) add_head();
        vector("output_norm.weight", hidden());
        if (options_.architecture == "deepseek2") {
            add_deepseek2();
        } else {
            add_gqa();
        }
        return writer_.to_bytes();
    }

  private:
    [[nodiscard]] std::int64_t hidden() const { return options_.hidden_dim; }
    [[nodiscard]] std::int64_t vocab_size() const {
        return static_cast<std::int64_t>(vocabulary_.tokens.size());
    }
    [[nodiscard]] static std::int64_t heads() { return 4; }
    [[nodiscard]] static std::int64_t kv_heads() { return 2; }
    [[nodiscard]] static std::int64_t expert_count() { return 8; }
    [[nodiscard]] std::int64_t dense_ffn_dim() const { return 2 * hidden(); }
    [[nodiscard]] std::int64_t expert_ffn_dim() const { return hidden() >= 256 ? 256 : 32; }
    [[nodiscard]] static std::string layer_prefix(std::int32_t layer) {
        return "blk." + std::to_string(layer) + ".";
    }

    void count(const std::string& key, std::int64_t value) {
        writer_.add_u32(options_.architecture + "." + key, static_cast<std::uint32_t>(value));
    }
    void real(const std::string& key, float value) {
        writer_.add_f32(options_.architecture + "." + key, value);
    }

    void add_head() {
        const auto columns = static_cast<std::size_t>(hidden());
        std::vector<float> values(vocabulary_.tokens.size() * columns);
        for (std::size_t i = 0; i < values.size(); ++i) {
            const float value = random_.normal();
            values[i] = vocabulary_.is_printable[i / columns] ? value : 0.0F;
        }
        tensor("output.weight", options_.dtype, {vocab_size(), hidden()}, values);
    }

    void add_deepseek2() {
        const std::int64_t nope_dim = hidden() / 4;
        const std::int64_t rope_dim = 8;
        const std::int64_t value_dim = hidden() / 4;
        const std::int64_t latent_dim = hidden() / 2;
        const std::int64_t query_rank = hidden() / 2;
        const bool is_old = options_.has_unsplit_kv_b;
        count("attention.head_count_kv", is_old ? heads() : 1);
        count("attention.q_lora_rank", is_old ? 0 : query_rank);
        count("attention.kv_lora_rank", latent_dim);
        count("attention.key_length", is_old ? nope_dim + rope_dim : latent_dim + rope_dim);
        count("attention.value_length", is_old ? value_dim : latent_dim);
        if (!is_old) {
            count("attention.key_length_mla", nope_dim + rope_dim);
            count("attention.value_length_mla", value_dim);
        }
        count("rope.dimension_count", rope_dim);
        count("leading_dense_block_count", 1);
        count("feed_forward_length", dense_ffn_dim());
        add_deepseek2_routing();
        if (options_.has_prediction_block) add_prediction_block();
        for (std::int32_t layer = 0; layer < options_.layer_count; ++layer) {
            const std::string prefix = layer_prefix(layer);
            const std::int64_t q_dim = heads() * (nope_dim + rope_dim);
            vector(prefix + "attn_norm.weight", hidden());
            if (is_old) {
                matrix(prefix + "attn_q.weight", {q_dim, hidden()});
            } else {
                matrix(prefix + "attn_q_a.weight", {query_rank, hidden()});
                vector(prefix + "attn_q_a_norm.weight", query_rank);
                matrix(prefix + "attn_q_b.weight", {q_dim, query_rank});
            }
            matrix(prefix + "attn_kv_a_mqa.weight", {latent_dim + rope_dim, hidden()});
            vector(prefix + "attn_kv_a_norm.weight", latent_dim);
            if (is_old) {
                matrix(prefix + "attn_kv_b.weight", {heads() * (nope_dim + value_dim), latent_dim});
            } else {
                matrix(prefix + "attn_k_b.weight", {heads(), latent_dim, nope_dim});
                matrix(prefix + "attn_v_b.weight", {heads(), value_dim, latent_dim});
            }
            matrix(prefix + "attn_output.weight", {hidden(), heads() * value_dim});
            vector(prefix + "ffn_norm.weight", hidden());
            if (layer == 0) {
                add_dense(prefix, "", dense_ffn_dim());
            } else {
                add_experts(prefix);
                if (!options_.has_softmax_gating) {
                    vector(prefix + "exp_probs_b.bias", expert_count(), 0.0F);
                }
                add_dense(prefix, "_shexp", expert_ffn_dim());
            }
        }
    }

    void add_prediction_block() {
        count("nextn_predict_layers", 1);
        const std::string prefix = layer_prefix(options_.layer_count - 1) + "nextn.";
        matrix(prefix + "eh_proj.weight", {hidden(), 2 * hidden()});
        for (const char* name : {"enorm", "hnorm", "shared_head_norm"}) {
            vector(prefix + name + ".weight", hidden());
        }
    }
    void add_deepseek2_routing() {
        count("expert_feed_forward_length", expert_ffn_dim());
        count("expert_count", expert_count());
        count("expert_used_count", 2);
        count("expert_shared_count", 1);
        count("expert_gating_func", options_.has_softmax_gating ? 1 : 2);
        real("expert_weights_scale", options_.has_softmax_gating ? 1.0F : 2.5F);
        writer_.add_bool("deepseek2.expert_weights_norm", !options_.has_softmax_gating);
        if (options_.has_selection_groups) {
            count("expert_group_count", 4);
            count("expert_group_used_count", 2);
        }
    }

    void add_gqa() {
        const std::int64_t head_dim = hidden() / heads();
        const bool is_granite = options_.architecture == "granitemoe";
        const bool has_experts = options_.architecture == "qwen3moe" || is_granite;
        count("attention.head_count_kv", kv_heads());
        count("attention.key_length", head_dim);
        count("attention.value_length", head_dim);
        count("rope.dimension_count", head_dim);
        count("feed_forward_length", dense_ffn_dim());
        if (has_experts) {
            count("expert_count", expert_count());
            count("expert_used_count", 2);
            count("expert_feed_forward_length", expert_ffn_dim());
        }
        if (is_granite) add_granite_factors();
        for (std::int32_t layer = 0; layer < options_.layer_count; ++layer) {
            const std::string prefix = layer_prefix(layer);
            vector(prefix + "attn_norm.weight", hidden());
            for (const auto& [name, rows] : {std::pair("attn_q", heads() * head_dim),
                                             std::pair("attn_k", kv_heads() * head_dim),
                                             std::pair("attn_v", kv_heads() * head_dim)}) {
                matrix(prefix + name + ".weight", {rows, hidden()});
                if (options_.architecture == "qwen2") vector(prefix + name + ".bias", rows, 0.0F);
            }
            if (options_.architecture == "qwen3moe") {
                vector(prefix + "attn_q_norm.weight", head_dim);
                vector(prefix + "attn_k_norm.weight", head_dim);
            }
            matrix(prefix + "attn_output.weight", {hidden(), heads() * head_dim});
            vector(prefix + "ffn_norm.weight", hidden());
            if (has_experts) {
                add_experts(prefix);
                if (options_.has_shared_expert) add_dense(prefix, "_shexp", dense_ffn_dim());
            } else {
                add_dense(prefix, "", dense_ffn_dim());
            }
        }
    }

    void add_granite_factors() {
        real("embedding_scale", 12.0F);
        real("residual_scale", 0.22F);
        real("attention.scale", 0.125F);
        real("logit_scale", 0.5F);
        if (options_.has_shared_expert) {
            count("expert_shared_feed_forward_length", dense_ffn_dim());
        }
    }

    void add_dense(const std::string& prefix, const std::string& suffix, std::int64_t ffn_dim) {
        matrix(prefix + "ffn_gate" + suffix + ".weight", {ffn_dim, hidden()});
        matrix(prefix + "ffn_up" + suffix + ".weight", {ffn_dim, hidden()});
        matrix(prefix + "ffn_down" + suffix + ".weight", {hidden(), ffn_dim});
    }

    void add_experts(const std::string& prefix) {
        const std::int64_t ffn_dim = expert_ffn_dim();
        const Shape router{expert_count(), hidden()};
        tensor(prefix + "ffn_gate_inp.weight", Dtype::f32, router, normal(router, spread(router)));
        if (options_.has_merged_gate_up) {
            matrix(prefix + "ffn_gate_up_exps.weight", {expert_count(), 2 * ffn_dim, hidden()});
        } else {
            matrix(prefix + "ffn_gate_exps.weight", {expert_count(), ffn_dim, hidden()});
            matrix(prefix + "ffn_up_exps.weight", {expert_count(), ffn_dim, hidden()});
        }
        matrix(prefix + "ffn_down_exps.weight", {expert_count(), hidden(), ffn_dim});
    }

    /// A deviation that keeps the size of what passes through.
    static float spread(const Shape& shape) {
        return 1.0F / std::sqrt(static_cast<float>(shape.dim(-1)));
    }

    std::vector<float> normal(const Shape& shape, float deviation, float mean = 0.0F) {
        std::vector<float> values(static_cast<std::size_t>(shape.elements()));
        for (float& value : values) {
            value = mean + deviation * random_.normal();
        }
        return values;
    }

    void matrix(const std::string& name, const Shape& shape) { matrix(name, shape, spread(shape)); }
    void matrix(const std::string& name, const Shape& shape, float deviation) {
        tensor(name, options_.dtype, shape, normal(shape, deviation));
    }
    /// Norm weights lie around 1, biases around 0.
    void vector(const std::string& name, std::int64_t dim, float mean = 1.0F) {
        tensor(name, Dtype::f32, {dim}, normal({dim}, 0.1F, mean));
    }

    void tensor(const std::string& name,
                Dtype wanted,
                const Shape& shape,
                const std::vector<float>& values) {
        Dtype dtype = wanted;
        for (const Dtype fallback : {Dtype::q8_0, Dtype::f16}) {
            if (shape.dim(-1) % compute::traits(dtype).elements != 0) dtype = fallback;
        }
        const std::int64_t row = compute::row_bytes(dtype, shape.dim(-1));
        auto& bytes =
            bytes_.emplace_back(static_cast<std::size_t>(row * (shape.elements() / shape.dim(-1))));
        reference::quantize(dtype, values, bytes);
        writer_.add_tensor(name, dtype, shape, bytes);
    }

    const TinyModelOptions& options_;
    Random random_;
    TinyVocabulary vocabulary_;
    formats::GgufWriter writer_;
    std::deque<std::vector<std::byte>> bytes_;  ///< of the tensors: a deque never moves them
};

/// A model and the bytes it borrows.
struct InMemory {
    std::vector<std::byte> bytes;
    std::shared_ptr<const model::Model> model;
};

}  // namespace

std::vector<std::byte> tiny_model_bytes(const TinyModelOptions& options) {
    return Builder(options).build();
}

std::string write_tiny_model(const std::string& path, const TinyModelOptions& options) {
    const auto bytes = tiny_model_bytes(options);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path);
    return path;
}

std::shared_ptr<const model::Model> tiny_model(const TinyModelOptions& options) {
    auto holder = std::make_shared<InMemory>();
    holder->bytes = tiny_model_bytes(options);
    auto file = formats::GgufFile::parse(holder->bytes, "tiny-" + options.architecture);
    if (!file) throw std::runtime_error(file.error().text);
    auto model = model::make_model(*file);
    if (!model) throw std::runtime_error(model.error().text);
    holder->model = std::move(model).value();
    return {holder, holder->model.get()};
}

}  // namespace hearth::test

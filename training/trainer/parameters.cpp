#include "training/trainer/parameters.h"

#include <cmath>
#include <random>

namespace hearth::trainer {
namespace {

class LayoutBuilder {
  public:
    LayoutBuilder(ParameterLayout& layout, std::string prefix)
        : layout_(layout),
          prefix_(std::move(prefix)) {}

    std::size_t norm(const char* name, std::size_t width) {
        return add({.name = name, .kind = ParameterKind::norm, .columns = width});
    }

    std::size_t add(Parameter parameter) {
        parameter.name = prefix_ + parameter.name;
        parameter.offset = layout_.elements;
        layout_.elements += parameter.elements();
        layout_.parameters.push_back(std::move(parameter));
        return layout_.parameters.back().offset;
    }

  private:
    ParameterLayout& layout_;
    const std::string prefix_;
};

void add_attention(LayoutBuilder& builder, const ModelShape& s, LayerOffsets& at) {
    at.attention_norm = builder.norm("attn_norm.weight", s.hidden_dim);
    at.query_a =
        builder.add({.name = "attn_q_a.weight", .rows = s.query_rank, .columns = s.hidden_dim});
    at.query_a_norm = builder.norm("attn_q_a_norm.weight", s.query_rank);
    at.query_b = builder.add(
        {.name = "attn_q_b.weight", .rows = s.head_count * s.head_dim(), .columns = s.query_rank});
    at.latent_a = builder.add({.name = "attn_kv_a_mqa.weight",
                               .rows = s.latent_rank + s.rope_dim,
                               .columns = s.hidden_dim});
    at.latent_norm = builder.norm("attn_kv_a_norm.weight", s.latent_rank);
    at.key_b = builder.add({.name = "attn_k_b.weight",
                            .count = s.head_count,
                            .rows = s.latent_rank,
                            .columns = s.nope_dim});
    at.value_b = builder.add({.name = "attn_v_b.weight",
                              .count = s.head_count,
                              .rows = s.value_dim,
                              .columns = s.latent_rank});
    at.output = builder.add({.name = "attn_output.weight",
                             .rows = s.hidden_dim,
                             .columns = s.head_count * s.value_dim,
                             .starts_at_zero = true});
}

void add_experts(LayoutBuilder& builder, const ModelShape& s, LayerOffsets& at) {
    at.router = builder.add({.name = "ffn_gate_inp.weight",
                             .kind = ParameterKind::router,
                             .rows = s.expert_count,
                             .columns = s.hidden_dim});
    at.routing_bias = builder.add({.name = "exp_probs_b.bias",
                                   .kind = ParameterKind::routing_bias,
                                   .columns = s.expert_count});
    const auto expert = [&](const char* name, std::size_t rows, std::size_t columns, bool writes) {
        return builder.add({.name = name,
                            .count = s.expert_count,
                            .rows = rows,
                            .columns = columns,
                            .is_routed_expert = true,
                            .starts_at_zero = writes});
    };
    at.gate = expert("ffn_gate_exps.weight", s.expert_ffn_dim, s.hidden_dim, false);
    at.up = expert("ffn_up_exps.weight", s.expert_ffn_dim, s.hidden_dim, false);
    at.down = expert("ffn_down_exps.weight", s.hidden_dim, s.expert_ffn_dim, true);
    at.shared_gate = builder.add(
        {.name = "ffn_gate_shexp.weight", .rows = s.shared_ffn_dim(), .columns = s.hidden_dim});
    at.shared_up = builder.add(
        {.name = "ffn_up_shexp.weight", .rows = s.shared_ffn_dim(), .columns = s.hidden_dim});
    at.shared_down = builder.add({.name = "ffn_down_shexp.weight",
                                  .rows = s.hidden_dim,
                                  .columns = s.shared_ffn_dim(),
                                  .starts_at_zero = true});
}

void add_dense(LayoutBuilder& builder, const ModelShape& s, LayerOffsets& at) {
    at.gate =
        builder.add({.name = "ffn_gate.weight", .rows = s.dense_ffn_dim, .columns = s.hidden_dim});
    at.up =
        builder.add({.name = "ffn_up.weight", .rows = s.dense_ffn_dim, .columns = s.hidden_dim});
    at.down = builder.add({.name = "ffn_down.weight",
                           .rows = s.hidden_dim,
                           .columns = s.dense_ffn_dim,
                           .starts_at_zero = true});
}

}  // namespace

ParameterLayout::ParameterLayout(const ModelShape& shape) {
    LayoutBuilder whole(*this, "");
    embedding = whole.add({.name = "token_embd.weight",
                           .kind = ParameterKind::embedding,
                           .rows = shape.vocab_size,
                           .columns = shape.hidden_dim});
    for (std::size_t layer = 0; layer < shape.layer_count; ++layer) {
        LayoutBuilder builder(*this, "blk." + std::to_string(layer) + ".");
        LayerOffsets at;
        at.is_dense = layer < shape.dense_layer_count;
        add_attention(builder, shape, at);
        at.ffn_norm = builder.norm("ffn_norm.weight", shape.hidden_dim);
        if (at.is_dense) {
            add_dense(builder, shape, at);
        } else {
            add_experts(builder, shape, at);
        }
        layers.push_back(at);
    }
    output_norm = whole.norm("output_norm.weight", shape.hidden_dim);
}

ParameterLayout ParameterLayout::make_mtp(const ModelShape& shape) {
    ParameterLayout layout;
    LayoutBuilder builder(layout, "blk." + std::to_string(shape.layer_count) + ".");
    builder.add({.name = "nextn.eh_proj.weight",
                 .rows = shape.hidden_dim,
                 .columns = 2 * shape.hidden_dim});
    builder.norm("nextn.enorm.weight", shape.hidden_dim);
    builder.norm("nextn.hnorm.weight", shape.hidden_dim);
    LayerOffsets at;
    add_attention(builder, shape, at);
    at.ffn_norm = builder.norm("ffn_norm.weight", shape.hidden_dim);
    add_experts(builder, shape, at);
    layout.layers.push_back(at);
    builder.norm("nextn.shared_head_norm.weight", shape.hidden_dim);
    return layout;
}

std::vector<float> make_weights(const ParameterLayout& layout, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<float> weights(layout.elements, 0.0F);
    for (const Parameter& parameter : layout.parameters) {
        float* values = weights.data() + parameter.offset;
        if (parameter.kind == ParameterKind::norm) {
            std::fill(values, values + parameter.elements(), 1.0F);
        }
        if (parameter.kind == ParameterKind::norm || parameter.starts_at_zero ||
            parameter.kind == ParameterKind::routing_bias)
            continue;
        const float width = static_cast<float>(parameter.columns);
        const float deviation =
            parameter.kind == ParameterKind::matrix ? 1.0F / std::sqrt(width) : 0.02F;
        std::normal_distribution<float> normal(0.0F, deviation);
        for (std::size_t i = 0; i < parameter.elements(); ++i) {
            values[i] = normal(random);
        }
    }
    return weights;
}

}  // namespace hearth::trainer

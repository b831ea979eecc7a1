// Any bytes as the file of a model: what is accepted makes a sound plan for every step size, and a
// backend that runs it stays inside its weights.
#include <memory>

#include "core/formats/gguf_writer.h"
#include "core/model/model.h"
#include "kernels/reference/reference_backend.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/model_runner.h"

namespace {

using namespace hearth;
using compute::Dtype;
using compute::Shape;

/// Models of one layer whose axes are as short as they can be.
class SmallModel {
  public:
    explicit SmallModel(std::string architecture, bool has_prediction_block = false)
        : architecture_(std::move(architecture)),
          layer_count_(has_prediction_block ? 2 : 1) {
        writer_.add_string("general.architecture", architecture_);
        count("block_count", layer_count_);
        count("context_length", 64);
        count("embedding_length", 4);
        count("attention.head_count", 2);
        count("feed_forward_length", 3);
        writer_.add_f32(architecture_ + ".attention.layer_norm_rms_epsilon", 1e-5F);
        tensor("token_embd.weight", {5, 4});
        tensor("output_norm.weight", {4});
        layer_tensor("attn_norm.weight", {4});
        layer_tensor("ffn_norm.weight", {4});
        if (has_prediction_block) {
            count("nextn_predict_layers", 1);
            tensor("blk.1.nextn.eh_proj.weight", {4, 8});
            tensor("blk.1.nextn.enorm.weight", {4});
            tensor("blk.1.nextn.hnorm.weight", {4});
            tensor("blk.1.nextn.shared_head_norm.weight", {4});
        }
    }

    SmallModel& gqa() {
        count("attention.head_count_kv", 1);
        count("attention.key_length", 2);
        layer_tensor("attn_q.weight", {4, 4});
        layer_tensor("attn_k.weight", {2, 4});
        layer_tensor("attn_v.weight", {2, 4});
        layer_tensor("attn_output.weight", {4, 4});
        return *this;
    }
    SmallModel& biases() {
        layer_tensor("attn_q.bias", {4});
        layer_tensor("attn_k.bias", {2});
        layer_tensor("attn_v.bias", {2});
        return *this;
    }
    SmallModel& head_norms() {
        layer_tensor("attn_q_norm.weight", {2});
        layer_tensor("attn_k_norm.weight", {2});
        return *this;
    }
    /// With the older, joined layout of the key and value matrices, or without.
    SmallModel& mla(bool is_old) {
        count("attention.head_count_kv", 1);
        count("attention.kv_lora_rank", 3);
        count("attention.q_lora_rank", is_old ? 0 : 2);
        count("attention.key_length", 4);
        count("attention.value_length", 2);
        count("rope.dimension_count", 2);
        if (is_old) {
            layer_tensor("attn_q.weight", {8, 4});
            layer_tensor("attn_kv_b.weight", {8, 3});
        } else {
            layer_tensor("attn_q_a.weight", {2, 4});
            layer_tensor("attn_q_a_norm.weight", {2});
            layer_tensor("attn_q_b.weight", {8, 2});
            layer_tensor("attn_k_b.weight", {2, 3, 2});
            layer_tensor("attn_v_b.weight", {2, 2, 3});
        }
        layer_tensor("attn_kv_a_mqa.weight", {5, 4});
        layer_tensor("attn_kv_a_norm.weight", {3});
        layer_tensor("attn_output.weight", {4, 4});
        return *this;
    }
    SmallModel& dense(const std::string& suffix = "") {
        layer_tensor("ffn_gate" + suffix + ".weight", {3, 4});
        layer_tensor("ffn_up" + suffix + ".weight", {3, 4});
        layer_tensor("ffn_down" + suffix + ".weight", {4, 3});
        return *this;
    }
    SmallModel& experts(bool is_merged) {
        count("expert_count", 4);
        count("expert_used_count", 2);
        count("expert_feed_forward_length", 3);
        layer_tensor("ffn_gate_inp.weight", {4, 4});
        if (is_merged) {
            layer_tensor("ffn_gate_up_exps.weight", {4, 6, 4});
        } else {
            layer_tensor("ffn_gate_exps.weight", {4, 3, 4});
            layer_tensor("ffn_up_exps.weight", {4, 3, 4});
        }
        layer_tensor("ffn_down_exps.weight", {4, 4, 3});
        return *this;
    }
    SmallModel& shared_expert_beside_factors() {
        count("expert_shared_feed_forward_length", 3);
        for (const char* factor : {".residual_scale", ".embedding_scale", ".logit_scale"}) {
            writer_.add_f32(architecture_ + factor, 0.25F);
        }
        return dense("_shexp");
    }
    SmallModel& shared_expert_in_groups() {
        count("expert_shared_count", 1);
        count("expert_gating_func", 2);
        count("expert_group_count", 2);
        count("expert_group_used_count", 1);
        writer_.add_bool(architecture_ + ".expert_weights_norm", true);
        layer_tensor("exp_probs_b.bias", {4});
        return dense("_shexp");
    }
    SmallModel& yarn() {
        writer_.add_string(architecture_ + ".rope.scaling.type", "yarn");
        writer_.add_f32(architecture_ + ".rope.scaling.factor", 4.0F);
        count("rope.scaling.original_context_length", 16);
        return *this;
    }

    [[nodiscard]] std::string bytes() const { return fuzz::to_text(writer_.to_bytes()); }

  private:
    void count(const std::string& key, std::uint32_t value) {
        writer_.add_u32(architecture_ + "." + key, value);
    }
    void layer_tensor(const std::string& name, const Shape& shape) {
        for (std::uint32_t layer = 0; layer < layer_count_; ++layer) {
            tensor("blk." + std::to_string(layer) + "." + name, shape);
        }
    }
    void tensor(const std::string& name, const Shape& shape) {
        const auto bytes = static_cast<std::size_t>(shape.elements()) * sizeof(float);
        owned_.push_back(std::make_unique<std::vector<std::byte>>(bytes, std::byte{0x3E}));
        writer_.add_tensor(name, Dtype::f32, shape, *owned_.back());
    }

    const std::string architecture_;
    const std::uint32_t layer_count_;
    formats::GgufWriter writer_;
    std::vector<std::unique_ptr<std::vector<std::byte>>> owned_;
};

/// A step of three tokens, and one after it.
void run(const std::shared_ptr<const model::Model>& model) {
    const auto backend = reference::make_reference_backend();
    test::ModelRunner runner(model, *backend, {.tokens_max = 3, .sequence_tokens_max = 16});
    const std::int32_t last = model->config().vocab_size - 1;
    const auto vocab_size = static_cast<std::size_t>(model->config().vocab_size);
    HEARTH_ASSERT(runner.run({{0, {0, last, last / 2}}}).size() == 3 * vocab_size);
    HEARTH_ASSERT(runner.run_last({{0, {last}}}).size() == vocab_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto file = formats::GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    if (!file) return 0;
    const auto model = model::make_model(*file);
    if (!model) {
        HEARTH_ASSERT(!model.error().text.empty());
        return 0;
    }
    for (const std::int32_t tokens_max : {1, 7, 2048}) {
        HEARTH_ASSERT(validate((*model)->plan(tokens_max), (*model)->weights()).has_value());
    }
    if (const auto plans = (*model)->prediction(7, 2)) {
        for (const compute::Plan* plan : {&plans->trunk, &plans->store, &plans->draft}) {
            HEARTH_ASSERT(validate(*plan, (*model)->weights()).has_value());
        }
    }
    run(*model);
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    return {
        SmallModel("llama").gqa().dense().bytes(),
        SmallModel("llama").gqa().yarn().experts(false).bytes(),
        SmallModel("qwen2").gqa().biases().dense().bytes(),
        SmallModel("qwen3moe").gqa().head_norms().experts(true).bytes(),
        SmallModel("granitemoe").gqa().experts(false).shared_expert_beside_factors().bytes(),
        SmallModel("deepseek2").mla(true).dense().bytes(),
        SmallModel("deepseek2").mla(false).yarn().experts(false).shared_expert_in_groups().bytes(),
        SmallModel("deepseek2", true).mla(false).experts(false).shared_expert_in_groups().bytes()};
}

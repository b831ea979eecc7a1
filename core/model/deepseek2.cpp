// deepseek2 (V2, V2-Lite, Coder-V2, V3, and our own models): multi-head latent attention, leading
// dense layers, then routed and shared experts; behind them, where the model's file or one beside
// it has it, a block for multi-token prediction.
#include <algorithm>
#include <utility>

#include "core/model/architecture.h"
#include "core/model/deepseek2_parts.h"

namespace hearth::model {
namespace {

using compute::kNone;
using compute::Plan;
using compute::Slice;
using compute::WeightId;

/// The block, and the file beside the model that keeps it.
struct Prediction {
    std::optional<Deepseek2Prediction> ids;
    File file;          ///< null: the model's own
    std::string fault;  ///< why there is none
};

class Deepseek2 final : public LoadedModel {
  public:
    Deepseek2(File file,
              ModelConfig config,
              Weights weights,
              Deepseek2Numbers numbers,
              Deepseek2Weights ids,
              Prediction prediction)
        : LoadedModel(std::move(file), std::move(config), std::move(weights)),
          n_(std::move(numbers)),
          ids_(std::move(ids)),
          prediction_(std::move(prediction)) {}

    [[nodiscard]] Plan plan(std::int32_t tokens_max) const override {
        return trunk(tokens_max, config().layer_count);
    }

    [[nodiscard]] std::optional<PredictionPlans> prediction(
        std::int32_t tokens_max, std::int32_t drafts_max) const override {
        if (!prediction_.ids) return std::nullopt;
        PredictionPlans plans{.trunk = trunk(tokens_max, config().layer_count + 1),
                              .store = block(tokens_max, Part::store),
                              .draft = block(drafts_max, Part::whole)};
        plans.trunk.rows_out = std::get<compute::Logits>(plans.trunk.operations.back()).x;
        return plans;
    }

    [[nodiscard]] std::string prediction_fault() const override { return prediction_.fault; }

  private:
    enum class Part { store, whole };

    struct Values {
        Slice x, normed, q_a, q, latent, mixed;
        FeedForwardValues ffn;
    };

    [[nodiscard]] Plan empty_plan(std::int32_t tokens_max, std::int32_t layer_count) const {
        Plan plan;
        plan.tokens_max = tokens_max;
        plan.positions_max = config().context_length;
        plan.vocab_size = config().vocab_size;
        plan.kv = {.layer_count = layer_count,
                   .key_dim = n_.latent_dim + n_.rope_dim,
                   .value_dim = 0,
                   .rounded_latent_dim = rounds_queries() ? n_.latent_dim : 0};
        return plan;
    }

    [[nodiscard]] bool rounds_queries() const {
        const auto rounds = [&](const Deepseek2Layer& layer) {
            return compute::traits(weights()[static_cast<std::size_t>(layer.k_up)].dtype)
                .is_quantised;
        };
        return std::ranges::all_of(ids_.layers, rounds) &&
               (!prediction_.ids || rounds(prediction_.ids->layer));
    }

    [[nodiscard]] Values add_values(Plan& plan) const {
        const ModelConfig& c = config();
        return {.x = plan.add_value("x", c.hidden_dim),
                .normed = plan.add_value("normed", c.hidden_dim),
                .q_a = n_.query_rank > 0 ? plan.add_value("q_a", n_.query_rank) : Slice{},
                .q = plan.add_value("q", c.head_count * (n_.nope_dim + n_.rope_dim)),
                .latent = plan.add_value("latent", n_.latent_dim + n_.rope_dim),
                .mixed = plan.add_value("mixed", c.head_count * n_.value_dim),
                .ffn = add_feed_forward_values(
                    plan, std::max(n_.dense_ffn_dim, n_.shared_ffn_dim), n_.routing)};
    }

    /// The model over a cache of `layer_count` layers.
    [[nodiscard]] Plan trunk(std::int32_t tokens_max, std::int32_t layer_count) const {
        Plan plan = empty_plan(tokens_max, layer_count);
        const Values values = add_values(plan);
        plan.operations.push_back(compute::Embed{.table = ids_.embedding, .out = values.x});
        for (std::size_t i = 0; i < ids_.layers.size(); ++i) {
            record_layer(plan, values, ids_.layers[i], static_cast<std::int32_t>(i));
        }
        norm(plan, values.x, ids_.output_norm, values.normed);
        plan.operations.push_back(compute::Logits{.x = values.normed, .weight = ids_.head});
        return plan;
    }

    /// The block for multi-token prediction over the same cache, or what it leaves in it.
    [[nodiscard]] Plan block(std::int32_t tokens_max, Part part) const {
        const Deepseek2Prediction& ids = *prediction_.ids;
        const std::int64_t hidden = config().hidden_dim;
        const std::int32_t layer = config().layer_count;
        Plan plan = empty_plan(tokens_max, layer + 1);
        const Values values = add_values(plan);
        const Slice joined = plan.add_value("joined", 2 * hidden);
        const Slice word{joined.id, 0, hidden};
        const Slice row{joined.id, hidden, hidden};
        plan.rows_in = plan.add_value("row", hidden);
        plan.operations.push_back(compute::Embed{.table = ids.embedding, .out = word});
        norm(plan, word, ids.embedding_norm, word);
        norm(plan, plan.rows_in, ids.row_norm, row);
        plan.operations.push_back(
            compute::Project{.x = joined, .weight = ids.join, .out = values.x});
        if (part == Part::whole) {
            record_layer(plan, values, ids.layer, layer);
            norm(plan, values.x, ids.output_norm, values.normed);
        } else {
            norm(plan, values.x, ids.layer.attention_norm, values.normed);
            record_latent(plan, values, ids.layer);
            rotate_shared_key(plan, values);
            plan.operations.push_back(attention(values, layer));
        }
        plan.operations.push_back(compute::Logits{.x = values.normed, .weight = ids.head});
        return plan;
    }

    void record_layer(Plan& plan,
                      const Values& values,
                      const Deepseek2Layer& layer,
                      std::int32_t index) const {
        norm(plan, values.x, layer.attention_norm, values.normed);
        record_attention(plan, values, layer, index);
        norm(plan, values.x, layer.ffn_norm, values.normed);
        if (!layer.is_dense) {
            record_experts(plan, layer.experts, n_.routing, values.ffn, values.normed, values.x);
        }
        const std::int64_t ffn_dim = layer.is_dense ? n_.dense_ffn_dim : n_.shared_ffn_dim;
        if (ffn_dim > 0) {
            record_dense(plan, layer.dense, ffn_dim, values.ffn, values.normed, values.x);
        }
    }

    void norm(Plan& plan, const Slice& x, WeightId weight, const Slice& out) const {
        plan.operations.push_back(compute::RmsNorm{.x = x,
                                                   .weight = weight,
                                                   .out = out,
                                                   .group_dim = x.dim,
                                                   .epsilon = config().norm_epsilon});
    }

    void rotate(Plan& plan, const Slice& x, std::int64_t heads, std::int64_t rotate_offset) const {
        plan.operations.push_back(compute::Rope{.x = x,
                                                .heads = heads,
                                                .head_dim = rotate_offset + n_.rope_dim,
                                                .rotate_offset = rotate_offset,
                                                .style = compute::RopeStyle::interleaved,
                                                .frequencies = n_.rope_frequencies,
                                                .magnitude = n_.rope_magnitude});
    }

    static void project(Plan& plan, const Slice& x, WeightId weight, const Slice& out) {
        plan.operations.push_back(compute::Project{.x = x, .weight = weight, .out = out});
    }

    /// What the cache keeps of a token, but for the rotation of the key that its heads share.
    void record_latent(Plan& plan, const Values& values, const Deepseek2Layer& layer) const {
        const Slice latent{values.latent.id, 0, n_.latent_dim};
        project(plan, values.normed, layer.latent, values.latent);
        norm(plan, latent, layer.latent_norm, latent);
    }
    void rotate_shared_key(Plan& plan, const Values& values) const {
        rotate(plan, {values.latent.id, n_.latent_dim, n_.rope_dim}, 1, 0);
    }

    /// One that only stores what the cache keeps: it has no queries yet, and nothing comes of it.
    [[nodiscard]] compute::AttentionMla attention(const Values& values, std::int32_t index) const {
        return {.q = {},
                .latent = values.latent,
                .out = {},
                .k_up = kNone,
                .v_up = kNone,
                .layer = index,
                .heads = config().head_count,
                .nope_dim = n_.nope_dim,
                .rope_dim = n_.rope_dim,
                .latent_dim = n_.latent_dim,
                .value_dim = n_.value_dim,
                .scale = n_.score_scale};
    }

    void record_attention(Plan& plan,
                          const Values& values,
                          const Deepseek2Layer& layer,
                          std::int32_t index) const {
        if (n_.query_rank > 0) {
            project(plan, values.normed, layer.q_a, values.q_a);
            norm(plan, values.q_a, layer.q_a_norm, values.q_a);
            project(plan, values.q_a, layer.q, values.q);
        } else {
            project(plan, values.normed, layer.q, values.q);
        }
        // Norms and rotations side by side: a backend makes one kernel of them.
        record_latent(plan, values, layer);
        rotate(plan, values.q, config().head_count, n_.nope_dim);
        rotate_shared_key(plan, values);
        compute::AttentionMla op = attention(values, index);
        op.q = values.q;
        op.out = values.mixed;
        op.k_up = layer.k_up;
        op.v_up = layer.v_up;
        plan.operations.push_back(op);
        plan.operations.push_back(compute::Project{
            .x = values.mixed, .weight = layer.output, .out = values.x, .residual = values.x});
    }

    Deepseek2Numbers n_;
    Deepseek2Weights ids_;
    Prediction prediction_;
};

/// Whether a file beside the model holds a block that was made for it.   Errors: invalid_argument.
Result<void> check_fit(const formats::GgufFile& file, const ModelConfig& config) {
    const auto misfit = [&](const std::string& what, const std::string& wanted) {
        return fail(ErrorCode::invalid_argument,
                    file.path() + " " + what + ", but " + config.name + " wants " + wanted,
                    "model");
    };
    const std::string* architecture = file.find_string("general.architecture");
    if (architecture == nullptr || *architecture != "deepseek2") {
        return misfit("is not of architecture deepseek2", "a block of its own architecture");
    }
    const std::string* name = file.find_string("general.name");
    if (name == nullptr || *name != config.name) {
        return misfit("is made for \"" + (name == nullptr ? "" : *name) + "\"", "its own");
    }
    struct Number {
        const char* key;
        std::int64_t wanted;
    };
    for (const auto& [key, wanted] : {Number{"nextn_predict_layers", 1},
                                      Number{"block_count", config.layer_count + 1},
                                      Number{"embedding_length", config.hidden_dim},
                                      Number{"vocab_size", config.vocab_size}}) {
        const auto found = file.find_integer(std::string("deepseek2.") + key);
        if (found == wanted) continue;
        return misfit("has " + (found ? std::to_string(*found) : "nothing") + " as " + key,
                      std::to_string(wanted));
    }
    return {};
}

/// The block from the file that `source` names, else from the model's own, which has it where
/// `is_own`. One that is not sound leaves no trace in `weights`.
Prediction take_prediction(const PredictionSource& source,
                           bool is_own,
                           Weights& weights,
                           const ModelConfig& config,
                           const Deepseek2Numbers& numbers,
                           const Deepseek2Weights& ids) {
    if (!source.fault.empty()) return {.ids = {}, .file = {}, .fault = source.fault};
    if (source.file == nullptr && !is_own) return {};
    const std::size_t trunk_count = weights.tensors().size();
    const auto take = [&]() -> Result<Deepseek2Prediction> {
        if (source.file != nullptr) {
            HEARTH_CHECK(check_fit(*source.file, config));
            weights.go_on_with(*source.file);
        }
        return take_deepseek2_prediction(weights, config, numbers, ids);
    };
    auto taken = take();
    if (taken) return {.ids = *taken, .file = source.file, .fault = {}};
    weights.forget_behind(trunk_count);
    return {.ids = {}, .file = {}, .fault = taken.error().text};
}

}  // namespace

Result<std::shared_ptr<const Model>> make_deepseek2(const File& file,
                                                    const PredictionSource& source) {
    const Metadata metadata(*file, "deepseek2");
    HEARTH_TRY(ModelConfig config, metadata.config());
    // Layers for multi-token prediction stand at the end and are counted with the others.
    HEARTH_TRY(const std::int64_t prediction_layers,
               metadata.count("nextn_predict_layers", {0, config.layer_count - 1}, 0));
    config.layer_count -= static_cast<std::int32_t>(prediction_layers);
    HEARTH_TRY(Deepseek2Numbers numbers, read_deepseek2_numbers(metadata, config));
    Weights weights(*file);
    HEARTH_TRY(Deepseek2Weights ids, take_deepseek2(weights, config, numbers));
    HEARTH_CHECK(weights.check_all_used(config.layer_count));
    Prediction prediction =
        take_prediction(source, prediction_layers > 0, weights, config, numbers, ids);
    return std::shared_ptr<const Model>(std::make_shared<Deepseek2>(file,
                                                                    std::move(config),
                                                                    std::move(weights),
                                                                    std::move(numbers),
                                                                    std::move(ids),
                                                                    std::move(prediction)));
}

}  // namespace hearth::model

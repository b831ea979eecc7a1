// granitemoe: grouped-query attention with adjacent rotation pairs and routed experts, beside them
// a shared one in some models. Four factors set it apart: on the embedding, the attention scores,
// the logits, and on whatever a layer adds to the residual stream.
#include <cmath>

#include "core/model/gqa_decoder.h"

namespace hearth::model {
namespace {

/// A factor of the file; 0 and absent mean `fallback`.
Result<float> read_factor(const Metadata& metadata, const char* key, float fallback) {
    HEARTH_TRY(const double value, metadata.real(key, 0.0));
    if (value < 0.0) {
        return fail(ErrorCode::corrupt,
                    "metadata granitemoe." + std::string(key) + " is " + std::to_string(value) +
                        ", but a factor is above 0",
                    "model");
    }
    return value == 0.0 ? fallback : static_cast<float>(value);
}

}  // namespace

Result<std::shared_ptr<const Model>> make_granitemoe(const File& file) {
    const Metadata metadata(*file, "granitemoe");
    GqaTraits traits{.rope_style = compute::RopeStyle::interleaved, .needs_experts = true};
    HEARTH_TRY(const float residual, read_factor(metadata, "residual_scale", 1.0F));
    HEARTH_TRY(const float embedding, read_factor(metadata, "embedding_scale", 1.0F));
    HEARTH_TRY(const float logits, read_factor(metadata, "logit_scale", 1.0F));
    HEARTH_TRY(traits.score_scale, read_factor(metadata, "attention.scale", 0.0F));
    // The stream x = e + r * (a + b + ...) is kept as x / r: then each layer adds its result as it
    // is, and the norms, which are all that reads the stream, give the same with epsilon / r^2.
    traits.embedding_scale = embedding / residual;
    traits.epsilon_scale = 1.0F / (residual * residual);
    traits.logit_scale = 1.0F / logits;
    HEARTH_TRY(traits.shared_ffn_dim, metadata.count("expert_shared_feed_forward_length", {0}, 0));
    HEARTH_TRY(const bool is_rotated, metadata.flag("rope.scaling.finetuned", true));
    if (!is_rotated) {
        return fail(ErrorCode::unsupported,
                    file->path() + " is a granitemoe without rotary positions, which is not known",
                    "model");
    }
    return make_gqa_decoder(file, "granitemoe", traits);
}

}  // namespace hearth::model

#include "training/trainer/shape.h"

#include <string>

namespace hearth::trainer {

Result<ModelShape> make_shape(std::string_view preset) {
    ModelShape shape;
    shape.vocab_size = 16384;
    shape.hidden_dim = 256;
    shape.dense_layer_count = 1;
    shape.head_count = 4;
    shape.nope_dim = 64;
    shape.rope_dim = 32;
    shape.value_dim = 64;
    shape.experts_per_token = 2;
    shape.expert_weights_scale = 1.5F;
    if (preset == "tiny-cpu") {
        shape.layer_count = 4;
        shape.query_rank = shape.latent_rank = 128;
        shape.dense_ffn_dim = 512;
        shape.expert_ffn_dim = 128;
        shape.expert_count = 8;
        return shape;
    }
    if (preset == "c1") {
        shape.layer_count = 6;
        shape.query_rank = shape.latent_rank = 256;
        shape.dense_ffn_dim = 768;
        shape.expert_ffn_dim = 256;
        shape.expert_count = 16;
        return shape;
    }
    if (preset == "h2") {
        shape.hidden_dim = 512;
        shape.layer_count = 8;
        shape.head_count = 8;
        shape.query_rank = shape.latent_rank = 256;
        shape.dense_ffn_dim = 1536;
        shape.expert_ffn_dim = 256;
        shape.expert_count = 16;
        shape.shared_expert_count = 2;
        return shape;
    }
    return fail(ErrorCode::not_found,
                "no shape is called '" + std::string(preset) + "'; use tiny-cpu, c1 or h2",
                "trainer");
}

Result<void> validate(const ModelShape& shape) {
    // Shapes come from files too: below these no product of widths overflows.
    constexpr std::size_t kWidthMax = 65536;
    constexpr std::size_t kLayersMax = 1024;
    const auto refuse = [](const char* text) {
        return fail(ErrorCode::invalid_argument, text, "trainer");
    };
    for (const std::size_t width : {shape.vocab_size,
                                    shape.hidden_dim,
                                    shape.layer_count,
                                    shape.head_count,
                                    shape.nope_dim,
                                    shape.rope_dim,
                                    shape.value_dim,
                                    shape.query_rank,
                                    shape.latent_rank}) {
        if (width == 0) return refuse("a width of the shape is zero; set every one");
        if (width > kWidthMax) return refuse("a width of the shape is above 65536; lower it");
    }
    for (const std::size_t width :
         {shape.dense_ffn_dim, shape.expert_ffn_dim, shape.shared_ffn_dim(), shape.expert_count}) {
        if (width > kWidthMax) return refuse("a width of the shape is above 65536; lower it");
    }
    if (shape.layer_count > kLayersMax) return refuse("there are more than 1024 layers");
    if (shape.rope_dim % 2 != 0)
        return refuse("rope_dim is odd; pairs are rotated, so make it even");
    if (shape.dense_layer_count > shape.layer_count)
        return refuse("there are more dense layers than layers");
    if (shape.dense_layer_count > 0 && shape.dense_ffn_dim == 0)
        return refuse("a dense layer needs dense_ffn_dim");
    if (shape.dense_layer_count < shape.layer_count &&
        (shape.expert_ffn_dim == 0 || shape.experts_per_token == 0 ||
         shape.shared_expert_count == 0 || shape.experts_per_token > shape.expert_count))
        return refuse(
            "experts need expert_ffn_dim, a shared one and 1..expert_count experts_per_token");
    // Readers of GGUF take 26 and 27 layers for the "lite" models without a query rank.
    if (shape.layer_count == 26 || shape.layer_count == 27)
        return refuse("26 and 27 layers are read as another model; take another count");
    return {};
}

}  // namespace hearth::trainer

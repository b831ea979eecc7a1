#include "training/trainer/model_file.h"

#include <deque>
#include <sstream>
#include <vector>

#include "core/compute/dequantize.h"
#include "core/formats/gguf.h"
#include "core/formats/gguf_writer.h"
#include "kernels/reference/quantize.h"

namespace hearth::trainer {
namespace {

using compute::Dtype;

constexpr std::int64_t kSigmoidGating = 2;
constexpr std::int32_t kNormalToken = 1;
constexpr std::int32_t kControlToken = 3;

Dtype stored_dtype(const Parameter& parameter, const ModelFileOptions& options) {
    const auto fits = [&](Dtype dtype) {
        return static_cast<std::int64_t>(parameter.columns) % compute::traits(dtype).elements == 0;
    };
    Dtype wanted = options.matrix_dtype;
    if (parameter.is_routed_expert) {
        wanted = options.expert_dtype;
    } else if (parameter.kind == ParameterKind::embedding) {
        wanted = options.embedding_dtype;
    } else if (parameter.kind != ParameterKind::matrix) {
        return Dtype::f32;
    }
    if (fits(wanted)) return wanted;
    return fits(Dtype::q8_0) ? Dtype::q8_0 : Dtype::f32;
}

compute::Shape stored_shape(const Parameter& parameter) {
    const auto dim = [](std::size_t value) { return static_cast<std::int64_t>(value); };
    if (parameter.kind == ParameterKind::norm || parameter.kind == ParameterKind::routing_bias)
        return {dim(parameter.columns)};
    if (parameter.count == 1) return {dim(parameter.rows), dim(parameter.columns)};
    return {dim(parameter.count), dim(parameter.rows), dim(parameter.columns)};
}

void add_shape(const ModelShape& shape, std::uint32_t context_length, formats::GgufWriter& writer) {
    const auto add = [&](const char* key, std::size_t value) {
        writer.add_u32(std::string("deepseek2.") + key, static_cast<std::uint32_t>(value));
    };
    add("block_count", shape.layer_count);
    add("context_length", context_length);
    add("embedding_length", shape.hidden_dim);
    add("feed_forward_length", shape.dense_ffn_dim);
    add("vocab_size", shape.vocab_size);
    add("leading_dense_block_count", shape.dense_layer_count);
    add("attention.head_count", shape.head_count);
    // The cache holds one latent row per token: to a reader that is one KV head of its width.
    add("attention.head_count_kv", 1);
    add("attention.q_lora_rank", shape.query_rank);
    add("attention.kv_lora_rank", shape.latent_rank);
    add("attention.key_length", shape.latent_rank + shape.rope_dim);
    add("attention.value_length", shape.latent_rank);
    add("attention.key_length_mla", shape.head_dim());
    add("attention.value_length_mla", shape.value_dim);
    add("rope.dimension_count", shape.rope_dim);
    add("expert_count", shape.expert_count);
    add("expert_used_count", shape.experts_per_token);
    add("expert_shared_count", shape.shared_expert_count);
    add("expert_feed_forward_length", shape.expert_ffn_dim);
    add("expert_gating_func", kSigmoidGating);
    writer.add_bool("deepseek2.expert_weights_norm", true);
    writer.add_f32("deepseek2.expert_weights_scale", shape.expert_weights_scale);
    writer.add_f32("deepseek2.attention.layer_norm_rms_epsilon", shape.norm_epsilon);
    writer.add_f32("deepseek2.rope.freq_base", shape.rope_base);
}

Result<void> add_tokenizer(const training::TokenizerFile& tokenizer, formats::GgufWriter& writer) {
    const std::size_t size = tokenizer.vocab_size();
    std::vector<std::int32_t> types(size, kNormalToken);
    for (std::size_t id = size - tokenizer.special_count(); id < size; ++id) {
        types[id] = kControlToken;
    }
    writer.add_string("tokenizer.ggml.model", "gpt2");
    writer.add_string("tokenizer.ggml.pre", tokenizer.pre_tokenizer());
    writer.add_strings("tokenizer.ggml.tokens", tokenizer.gguf_tokens());
    writer.add_i32s("tokenizer.ggml.token_type", types);
    writer.add_strings("tokenizer.ggml.merges", tokenizer.gguf_merges());
    struct Role {
        const char* key;
        const char* token;
    };
    for (const Role& role : {Role{"bos_token_id", "<|endoftext|>"},
                             Role{"eos_token_id", "<|endoftext|>"},
                             Role{"eot_token_id", "<|endoftext|>"},
                             Role{"padding_token_id", "<|fim_pad|>"},
                             Role{"fim_pre_token_id", "<|fim_prefix|>"},
                             Role{"fim_suf_token_id", "<|fim_suffix|>"},
                             Role{"fim_mid_token_id", "<|fim_middle|>"},
                             Role{"fim_pad_token_id", "<|fim_pad|>"},
                             Role{"fim_rep_token_id", "<|repo_name|>"},
                             Role{"fim_sep_token_id", "<|file_sep|>"}}) {
        const auto id = tokenizer.find_special(role.token);
        if (!id)
            return fail(ErrorCode::invalid_argument,
                        std::string("the tokenizer has no ") + role.token,
                        "trainer");
        writer.add_u32(std::string("tokenizer.ggml.") + role.key, *id);
    }
    writer.add_bool("tokenizer.ggml.add_bos_token", false);
    return {};
}

struct FileParts {
    ModelShape shape;  // as its keys say it
    std::uint32_t mtp_layers = 0;
    ParameterLayout layout;
    std::span<const float> weights;
    const training::TokenizerFile& tokenizer;
    const ModelFileOptions& options;
};

Result<void> write_file(const FileParts& parts, const std::string& path) {
    const auto& [shape, mtp_layers, layout, weights, tokenizer, options] = parts;
    if (tokenizer.vocab_size() != shape.vocab_size)
        return fail(ErrorCode::invalid_argument,
                    "the tokenizer has " + std::to_string(tokenizer.vocab_size()) +
                        " tokens, the model " + std::to_string(shape.vocab_size),
                    "trainer");
    formats::GgufWriter writer;
    writer.add_string("general.architecture", "deepseek2");
    writer.add_string("general.type", "model");
    writer.add_string("general.name", options.name);
    writer.add_string("general.description", options.description);
    writer.add_string("general.license", "apache-2.0");
    writer.add_u32("general.quantization_version", 2);
    writer.add_string("hearth.infill_mark", options.infill_mark);
    add_shape(shape, options.context_length, writer);
    if (mtp_layers > 0) writer.add_u32("deepseek2.nextn_predict_layers", mtp_layers);
    HEARTH_CHECK(add_tokenizer(tokenizer, writer));
    std::deque<std::vector<std::byte>> stored;  // the writer borrows them
    for (const Parameter& parameter : layout.parameters) {
        const Dtype dtype = stored_dtype(parameter, options);
        const auto values = weights.subspan(parameter.offset, parameter.elements());
        std::vector<std::byte>& bytes = stored.emplace_back(static_cast<std::size_t>(
            compute::row_bytes(dtype, static_cast<std::int64_t>(values.size()))));
        reference::quantize(dtype, values, bytes);
        writer.add_tensor(parameter.name, dtype, stored_shape(parameter), bytes);
    }
    return writer.write(path);
}

/// Reads the keys that `add_shape` wrote.
Result<ModelShape> read_shape(const formats::GgufFile& file) {
    ModelShape shape;
    struct Field {
        const char* key;
        std::size_t& into;
    };
    std::size_t key_length = 0;
    std::size_t shared_count = 0;
    std::size_t gating = 0;
    for (const Field& field : {Field{"block_count", shape.layer_count},
                               Field{"embedding_length", shape.hidden_dim},
                               Field{"feed_forward_length", shape.dense_ffn_dim},
                               Field{"vocab_size", shape.vocab_size},
                               Field{"leading_dense_block_count", shape.dense_layer_count},
                               Field{"attention.head_count", shape.head_count},
                               Field{"attention.q_lora_rank", shape.query_rank},
                               Field{"attention.kv_lora_rank", shape.latent_rank},
                               Field{"attention.key_length_mla", key_length},
                               Field{"attention.value_length_mla", shape.value_dim},
                               Field{"rope.dimension_count", shape.rope_dim},
                               Field{"expert_count", shape.expert_count},
                               Field{"expert_used_count", shape.experts_per_token},
                               Field{"expert_shared_count", shared_count},
                               Field{"expert_feed_forward_length", shape.expert_ffn_dim},
                               Field{"expert_gating_func", gating}}) {
        HEARTH_TRY(const std::int64_t value, file.integer(std::string("deepseek2.") + field.key));
        if (value < 0 || value > (std::int64_t{1} << 24))
            return fail(ErrorCode::corrupt,
                        file.path() + " has " + std::to_string(value) + " as " + field.key,
                        "trainer");
        field.into = static_cast<std::size_t>(value);
    }
    shape.shared_expert_count = static_cast<std::uint32_t>(shared_count);
    if (key_length <= shape.rope_dim || shared_count == 0 ||
        gating != static_cast<std::size_t>(kSigmoidGating) ||
        !file.find_bool("deepseek2.expert_weights_norm").value_or(false) ||
        file.find("deepseek2.rope.scaling.type") != nullptr)
        return fail(ErrorCode::unsupported,
                    file.path() +
                        " is not of the trainer's kind: a shared expert, sigmoid gating with "
                        "normalised weights, no RoPE scaling",
                    "trainer");
    shape.nope_dim = key_length - shape.rope_dim;
    const auto real = [&](const char* key, float& into) {
        into = static_cast<float>(file.find_real(std::string("deepseek2.") + key).value_or(into));
    };
    real("expert_weights_scale", shape.expert_weights_scale);
    real("attention.layer_norm_rms_epsilon", shape.norm_epsilon);
    real("rope.freq_base", shape.rope_base);
    HEARTH_CHECK(validate(shape));
    return shape;
}

}  // namespace

Result<void> write_model(const ModelShape& shape,
                         std::span<const float> weights,
                         const training::TokenizerFile& tokenizer,
                         const ModelFileOptions& options,
                         const std::string& path) {
    return write_file({.shape = shape,
                       .layout = ParameterLayout(shape),
                       .weights = weights,
                       .tokenizer = tokenizer,
                       .options = options},
                      path);
}

Result<void> write_mtp_block(const ModelShape& shape,
                             std::span<const float> weights,
                             const training::TokenizerFile& tokenizer,
                             const ModelFileOptions& options,
                             const std::string& path) {
    ModelShape with_block = shape;
    ++with_block.layer_count;  // readers count it with the others
    return write_file({.shape = with_block,
                       .mtp_layers = 1,
                       .layout = ParameterLayout::make_mtp(shape),
                       .weights = weights,
                       .tokenizer = tokenizer,
                       .options = options},
                      path);
}

Result<TrainState> load_model(const std::string& path) {
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    const std::string* architecture = file->find_string("general.architecture");
    if (!architecture || *architecture != "deepseek2")
        return fail(ErrorCode::unsupported,
                    path + " is not of the architecture deepseek2, the one that is trained here",
                    "trainer");
    TrainState state;
    HEARTH_TRY(state.shape, read_shape(*file));
    const ParameterLayout layout(state.shape);
    state.weights.assign(layout.elements, 0.0F);
    state.moments.first.assign(layout.elements, 0.0F);
    state.moments.second.assign(layout.elements, 0.0F);
    for (const Parameter& parameter : layout.parameters) {
        const compute::Tensor* tensor = file->find_tensor(parameter.name);
        if (!tensor || !(tensor->shape == stored_shape(parameter)))
            return fail(ErrorCode::corrupt,
                        path + " has no tensor " + parameter.name + " of the shape its keys give",
                        "trainer");
        compute::dequantize(tensor->dtype,
                            tensor->bytes,
                            {state.weights.data() + parameter.offset, parameter.elements()});
    }
    return state;
}

Result<ModelFileOptions> load_options(const std::string& path) {
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    HEARTH_TRY(const std::int64_t context, file->integer("deepseek2.context_length"));
    ModelFileOptions options;
    const auto text = [&](const char* key, const char* otherwise) {
        const std::string* found = file->find_string(key);
        return found ? *found : std::string(otherwise);
    };
    options.name = text("general.name", "");
    options.description = text("general.description", "");
    options.context_length = static_cast<std::uint32_t>(context);
    options.infill_mark = text("hearth.infill_mark", "cursor");  // as readers take its absence
    return options;
}

Result<training::TokenizerFile> load_tokenizer(const std::string& path) {
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    const std::string* pre = file->find_string("tokenizer.ggml.pre");
    const auto* tokens = file->find_array("tokenizer.ggml.tokens");
    const auto* types = file->find_array("tokenizer.ggml.token_type");
    const auto* merges = file->find_array("tokenizer.ggml.merges");
    if (!pre || !tokens || !types || !merges || types->integers.size() != tokens->strings.size())
        return fail(ErrorCode::unsupported,
                    path + " has no byte-level BPE tokenizer with merges and token types",
                    "trainer");
    std::vector<std::string> specials;
    for (std::size_t id = 0; id < tokens->strings.size(); ++id) {
        if (types->integers[id] == kControlToken) specials.push_back(tokens->strings[id]);
    }
    std::stringstream text;
    text << "hearth-tokenizer 1\npre " << *pre << "\nmerges " << merges->strings.size() << '\n';
    for (const std::string& merge : merges->strings) {
        text << merge << '\n';
    }
    text << "specials " << specials.size() << '\n';
    for (const std::string& name : specials) {
        text << name << '\n';
    }
    HEARTH_TRY(auto tokenizer, training::TokenizerFile::parse(text));
    if (tokenizer.gguf_tokens() != tokens->strings)
        return fail(ErrorCode::unsupported,
                    path + " numbers its tokens in another order than the trainer does",
                    "trainer");
    return tokenizer;
}

}  // namespace hearth::trainer

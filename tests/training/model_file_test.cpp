// The file that ships: what the trainer computes from its weights is what a reader of the file
// computes.
#include "training/trainer/model_file.h"

#include <algorithm>
#include <random>
#include <sstream>

#include <catch2/catch.hpp>

#include "core/formats/gguf.h"
#include "core/formats/gguf_writer.h"
#include "core/tokenizer/tokenizer.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_folder.h"
#include "training/trainer/model.h"
#include "training/trainer/trainer.h"

using namespace hearth;
using namespace hearth::trainer;

namespace {

training::TokenizerFile byte_tokenizer() {
    auto made = training::TokenizerFile::make("qwen2", {}, training::hearth_special_names());
    REQUIRE(made);
    return std::move(*made);
}

ModelShape file_shape() {
    ModelShape shape;
    shape.vocab_size = 256 + 64;
    shape.hidden_dim = 256;
    shape.layer_count = 2;
    shape.dense_layer_count = 1;
    shape.head_count = 2;
    shape.nope_dim = 32;
    shape.rope_dim = 16;
    shape.value_dim = 32;
    shape.query_rank = 64;
    shape.latent_rank = 32;
    shape.dense_ffn_dim = 96;
    shape.expert_ffn_dim = 64;
    shape.expert_count = 4;
    shape.experts_per_token = 2;
    shape.expert_weights_scale = 1.5F;
    return shape;
}

/// Every parameter random, the zero ones and the biases too, so that each of them matters.
std::vector<float> random_weights(const ModelShape& shape) {
    std::mt19937 random(11);
    const ParameterLayout layout(shape);
    std::vector<float> weights = make_weights(layout, 3);
    std::normal_distribution<float> normal(0.0F, 0.05F);
    for (float& weight : weights) {
        weight += normal(random);
    }
    return weights;
}

}  // namespace

TEST_CASE("the engine's plan over the file gives the trainer's logits", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("model.gguf");
    const ModelShape shape = file_shape();
    REQUIRE(write_model(shape, random_weights(shape), byte_tokenizer(), {}, path));
    const auto state = load_model(path);
    REQUIRE(state);
    REQUIRE(state->shape == shape);

    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 40; ++i) {
        tokens.push_back((i * 97 + i * i) % 320);
    }
    Model<float> model(shape, portable_math(), 1, tokens.size());
    std::vector<float> expected;
    model.logits(state->weights, {tokens, {}, 1, tokens.size()}, expected);

    auto loaded = hearth::model::load_model(path);
    REQUIRE(loaded);
    const auto backend = reference::make_reference_backend();
    test::ModelRunner runner(*loaded, *backend, {});
    const std::vector<float> found = runner.run_chunks(tokens, 17);
    const auto errors = test::relative_l2_rows(found, expected, 320);
    CHECK(*std::max_element(errors.begin(), errors.end()) < 1e-4);
}

TEST_CASE("the tokenizer comes back from the file", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("model.gguf");
    const auto tokenizer = training::TokenizerFile::make(
        "qwen2", {{'a', 'b'}, {256, 'c'}}, training::hearth_special_names());
    REQUIRE(tokenizer);
    ModelShape shape = file_shape();
    shape.vocab_size = tokenizer->vocab_size();
    REQUIRE(write_model(shape, random_weights(shape), *tokenizer, {}, path));
    const auto loaded = load_tokenizer(path);
    REQUIRE(loaded);
    std::stringstream expected;
    std::stringstream found;
    tokenizer->write(expected);
    loaded->write(found);
    CHECK(found.str() == expected.str());

    formats::GgufWriter writer;
    writer.add_string("general.architecture", "deepseek2");
    REQUIRE(writer.write(path));
    CHECK(load_tokenizer(path).error().code == ErrorCode::unsupported);
}

TEST_CASE("a file read back holds the rounded experts and writes the same file again",
          "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const ModelShape shape = file_shape();
    const std::vector<float> weights = random_weights(shape);
    ModelFileOptions options;
    options.matrix_dtype = options.embedding_dtype = compute::Dtype::q8_0;
    REQUIRE(write_model(shape, weights, byte_tokenizer(), options, folder.file("a.gguf")));
    const auto once = load_model(folder.file("a.gguf"));
    REQUIRE(once);
    const ParameterLayout layout(shape);
    const std::vector<float> rounded = round_experts(layout, weights);
    for (const Parameter& p : layout.parameters) {
        INFO(p.name);
        const bool is_exact = p.is_routed_expert || p.kind != ParameterKind::matrix;
        if (!is_exact || p.kind == ParameterKind::embedding) continue;
        CHECK(std::equal(rounded.begin() + static_cast<std::ptrdiff_t>(p.offset),
                         rounded.begin() + static_cast<std::ptrdiff_t>(p.offset + p.elements()),
                         once->weights.begin() + static_cast<std::ptrdiff_t>(p.offset)));
    }
    CHECK(once->steps == 0);
    CHECK(once->moments.second.size() == layout.elements);
}

TEST_CASE("the file carries the tokenizer and its roles", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("model.gguf");
    const ModelShape shape = file_shape();
    REQUIRE(write_model(shape, random_weights(shape), byte_tokenizer(), {}, path));
    const auto file = formats::GgufFile::load(path);
    REQUIRE(file);
    const formats::GgufArray* tokens = (*file)->find_array("tokenizer.ggml.tokens");
    REQUIRE(tokens);
    CHECK(tokens->strings.size() == shape.vocab_size);
    for (const auto& [key, token] : {std::pair{"eos_token_id", "<|endoftext|>"},
                                     std::pair{"fim_pre_token_id", "<|fim_prefix|>"},
                                     std::pair{"fim_suf_token_id", "<|fim_suffix|>"},
                                     std::pair{"fim_mid_token_id", "<|fim_middle|>"},
                                     std::pair{"fim_rep_token_id", "<|repo_name|>"},
                                     std::pair{"fim_sep_token_id", "<|file_sep|>"}}) {
        const auto id = (*file)->find_integer(std::string("tokenizer.ggml.") + key);
        REQUIRE(id);
        CHECK(tokens->strings[static_cast<std::size_t>(*id)] == token);
    }
}

TEST_CASE("a file made like another is read as that one", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const ModelShape shape = file_shape();
    ModelFileOptions options;
    options.name = "a name";
    options.description = "what it is";
    options.context_length = 2048;
    options.infill_mark = "none";
    options.expert_dtype = compute::Dtype::f16;  // of the old file alone
    const std::string path = folder.file("model.gguf");
    REQUIRE(write_model(shape, random_weights(shape), byte_tokenizer(), options, path));
    const auto like = load_options(path);
    REQUIRE(like);
    CHECK(like->name == "a name");
    CHECK(like->description == "what it is");
    CHECK(like->context_length == 2048);
    CHECK(like->infill_mark == "none");
    CHECK(like->expert_dtype == ModelFileOptions{}.expert_dtype);

    formats::GgufWriter writer;
    writer.add_string("general.architecture", "deepseek2");
    REQUIRE(writer.write(path));
    CHECK(load_options(path).error().code == ErrorCode::corrupt);
}

TEST_CASE("the file says where the mark of the middle stands", "[trainer][model_file]") {
    using tokenizer::InfillMark;
    const test::TemporaryFolder folder;
    const std::string path = folder.file("model.gguf");
    const ModelShape shape = file_shape();
    for (const auto& [name, mark] : {std::pair{"line", InfillMark::line},
                                     std::pair{"none", InfillMark::none},
                                     std::pair{"cursor", InfillMark::cursor}}) {
        ModelFileOptions options;
        options.infill_mark = name;
        REQUIRE(write_model(shape, random_weights(shape), byte_tokenizer(), options, path));
        const auto file = formats::GgufFile::load(path);
        REQUIRE(file);
        const auto read = tokenizer::Tokenizer::from_gguf(**file);
        REQUIRE(read);
        CHECK((*read)->special().infill_mark == mark);
    }
}

TEST_CASE("a block for multi-token prediction is a file of its own", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("mtp.gguf");
    const ModelShape shape = file_shape();
    const ParameterLayout layout = ParameterLayout::make_mtp(shape);
    REQUIRE(write_mtp_block(shape, make_weights(layout, 3), byte_tokenizer(), {}, path));
    const auto file = formats::GgufFile::load(path);
    REQUIRE(file);
    CHECK(*(*file)->find_integer("deepseek2.block_count") == 3);
    CHECK(*(*file)->find_integer("deepseek2.nextn_predict_layers") == 1);
    CHECK((*file)->find_tensor("token_embd.weight") == nullptr);
    CHECK((*file)->find_tensor("blk.1.attn_norm.weight") == nullptr);
    const compute::Tensor* join = (*file)->find_tensor("blk.2.nextn.eh_proj.weight");
    REQUIRE(join);
    CHECK(join->shape == compute::Shape{256, 512});
    for (const char* name : {"nextn.enorm.weight",
                             "nextn.hnorm.weight",
                             "nextn.shared_head_norm.weight",
                             "attn_kv_a_mqa.weight",
                             "ffn_down_exps.weight",
                             "exp_probs_b.bias"}) {
        CHECK((*file)->find_tensor(std::string("blk.2.") + name));
    }
}

TEST_CASE("the block of the shape that ships has at most 10 MB", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("mtp.gguf");
    ModelShape shape = *make_shape("h2");
    shape.vocab_size = 256 + 64;  // the block has neither embedding nor head
    const ParameterLayout layout = ParameterLayout::make_mtp(shape);
    REQUIRE(write_mtp_block(shape, make_weights(layout, 3), byte_tokenizer(), {}, path));
    constexpr std::size_t kTokenizerBytesMax = 1'000'000;  // of 16,384 tokens and their merges
    CHECK(std::filesystem::file_size(path) + kTokenizerBytesMax < 10'000'000);
}

TEST_CASE("a model that does not fit its tokenizer is not written", "[trainer][model_file]") {
    const test::TemporaryFolder folder;
    ModelShape shape = file_shape();
    shape.vocab_size = 300;
    const auto refused =
        write_model(shape, random_weights(shape), byte_tokenizer(), {}, folder.file("model.gguf"));
    CHECK(refused.error().code == ErrorCode::invalid_argument);
    CHECK_FALSE(std::filesystem::exists(folder.file("model.gguf")));
}

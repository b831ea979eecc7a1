#include "core/model/model.h"

#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include <catch2/catch.hpp>

#include "core/formats/gguf_writer.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hearth::model {
namespace {

using compute::Tensor;
using formats::GgufValue;

/// A tiny model's file with some of it changed before it is loaded.
class ChangedFile {
  public:
    explicit ChangedFile(const test::TinyModelOptions& options = {})
        : original_bytes_(test::tiny_model_bytes(options)),
          original_(formats::GgufFile::parse(original_bytes_, "tiny.gguf").value()),
          tensors_(original_->tensors().begin(), original_->tensors().end()) {
        for (const auto& entry : original_->metadata()) {
            metadata_[entry.key] = entry.value;
        }
    }

    ChangedFile& set(const std::string& key, std::int64_t value) {
        metadata_[key] = value;
        return *this;
    }
    ChangedFile& set(const std::string& key, double value) {
        metadata_[key] = value;
        return *this;
    }
    ChangedFile& set(const std::string& key, const std::string& value) {
        metadata_[key] = value;
        return *this;
    }
    ChangedFile& set_value(const std::string& key, const GgufValue& value) {
        metadata_[key] = value;
        return *this;
    }
    ChangedFile& erase(const std::string& key) {
        metadata_.erase(key);
        return *this;
    }
    ChangedFile& drop_tensor(const std::string& name) {
        std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == name; });
        return *this;
    }
    Tensor& tensor(const std::string& name) {
        for (Tensor& tensor : tensors_) {
            if (tensor.name == name) return tensor;
        }
        throw std::logic_error("no tensor " + name);
    }
    ChangedFile& add_tensor(Tensor tensor) {
        tensors_.push_back(std::move(tensor));
        return *this;
    }

    Result<std::shared_ptr<const Model>> load() {
        formats::GgufWriter writer;
        for (const auto& [key, value] : metadata_) {
            write(writer, key, value);
        }
        for (const Tensor& tensor : tensors_) {
            writer.add_tensor(tensor.name, tensor.dtype, tensor.shape, tensor.bytes);
        }
        bytes_ = writer.to_bytes();
        HEARTH_TRY(const auto file, formats::GgufFile::parse(bytes_, "changed.gguf"));
        return make_model(file);
    }

    [[nodiscard]] const std::map<std::string, GgufValue>& metadata() const { return metadata_; }

  private:
    /// Arrays belong to the tokenizer and are left out: no model needs them.
    static void write(formats::GgufWriter& writer, const std::string& key, const GgufValue& value) {
        if (const auto* flag = std::get_if<bool>(&value)) writer.add_bool(key, *flag);
        if (const auto* number = std::get_if<std::int64_t>(&value)) {
            writer.add_u64(key, static_cast<std::uint64_t>(*number));
        }
        if (const auto* number = std::get_if<std::uint64_t>(&value)) writer.add_u64(key, *number);
        if (const auto* real = std::get_if<double>(&value)) {
            writer.add_f32(key, static_cast<float>(*real));
        }
        if (const auto* text = std::get_if<std::string>(&value)) writer.add_string(key, *text);
    }

    std::vector<std::byte> original_bytes_;
    std::shared_ptr<const formats::GgufFile> original_;
    std::map<std::string, GgufValue> metadata_;
    std::vector<Tensor> tensors_;
    std::vector<std::byte> bytes_;
};

TEST_CASE("a model loads from a path with its configuration", "[model]") {
    const test::TemporaryFolder folder;
    const auto path = test::write_tiny_model(folder.file("tiny.gguf"));
    const auto model = load_model(path);
    REQUIRE(model);
    const ModelConfig& config = (*model)->config();
    CHECK(config.architecture == "deepseek2");
    CHECK(config.name == "tiny-deepseek2");
    CHECK(config.layer_count == 3);
    CHECK(config.hidden_dim == 64);
    CHECK(config.vocab_size == 304);
    CHECK(config.context_length == 2048);
    CHECK(config.head_count == 4);
    CHECK(config.expert_count == 8);
    CHECK(config.experts_per_token == 2);
    CHECK((*model)->file().path() == path);
}

TEST_CASE("a file that is not there is an error", "[model]") {
    CHECK_FALSE(load_model("/nonexistent/model.gguf"));
}

TEST_CASE("an unknown architecture is refused with the known ones", "[model]") {
    const auto model = ChangedFile().set("general.architecture", std::string("gpt9")).load();
    REQUIRE_FALSE(model);
    CHECK(model.error().code == ErrorCode::unsupported);
    CHECK_THAT(model.error().text,
               Catch::Contains("\"gpt9\"") &&
                   Catch::Contains("deepseek2, qwen3moe, granitemoe, llama, qwen2"));
}

TEST_CASE("a missing tensor is named", "[model]") {
    for (const char* architecture : {"deepseek2", "qwen3moe", "granitemoe", "llama", "qwen2"}) {
        const auto intact = test::tiny_model({.architecture = architecture});
        for (const Tensor& tensor : intact->file().tensors()) {
            // Without a head the embedding serves, without a selection bias the scores alone.
            if (tensor.name == "output.weight" || tensor.name.ends_with("exp_probs_b.bias")) {
                continue;
            }
            ChangedFile file({.architecture = architecture});
            const auto model = file.drop_tensor(tensor.name).load();
            INFO(architecture << " without " << tensor.name);
            REQUIRE_FALSE(model);
            CHECK(model.error().code == ErrorCode::corrupt);
            CHECK_THAT(model.error().text, Catch::Contains(tensor.name));
        }
    }
}

TEST_CASE("a tensor of another shape is named with both shapes", "[model]") {
    ChangedFile file;
    file.tensor("blk.1.attn_q_b.weight").shape = {32, 96};
    file.tensor("blk.1.attn_q_b.weight").bytes =
        file.tensor("blk.1.attn_q_b.weight").bytes.first(32 * 3 * 34);
    const auto model = file.load();
    REQUIRE_FALSE(model);
    CHECK_THAT(model.error().text,
               Catch::Contains("blk.1.attn_q_b.weight") && Catch::Contains("(32, 96)") &&
                   Catch::Contains("(96, 32)"));
}

TEST_CASE("a tensor that no one knows is refused, since the model would be wrong", "[model]") {
    ChangedFile file({.architecture = "llama"});
    Tensor sinks = file.tensor("blk.0.attn_norm.weight");
    sinks.name = "blk.0.attn_sinks.weight";
    const auto model = file.add_tensor(sinks).load();
    REQUIRE_FALSE(model);
    CHECK(model.error().code == ErrorCode::unsupported);
    CHECK_THAT(model.error().text, Catch::Contains("blk.0.attn_sinks.weight"));
}

TEST_CASE("layers for multi-token prediction are left aside", "[model]") {
    ChangedFile file;
    file.set("deepseek2.nextn_predict_layers", std::int64_t{1});
    const auto model = file.load();
    REQUIRE(model);
    CHECK((*model)->config().layer_count == 2);
    CHECK((*model)->plan(1).kv.layer_count == 2);
}

TEST_CASE("norm weights in half precision become floats", "[model]") {
    ChangedFile file({.architecture = "llama"});
    const std::vector<std::uint16_t> ones(64, 0x3C00);
    Tensor& norm = file.tensor("output_norm.weight");
    norm.dtype = compute::Dtype::f16;
    norm.bytes = std::as_bytes(std::span(ones));
    CHECK(file.load());
}

TEST_CASE("frequency divisors slow the rotation down", "[model]") {
    ChangedFile file({.architecture = "llama"});
    const std::vector<float> divisors = {1, 1, 1, 1, 2, 2, 4, 8};
    file.add_tensor(
        {"rope_freqs.weight", compute::Dtype::f32, {8}, std::as_bytes(std::span(divisors))});
    const auto divided = file.load();
    REQUIRE(divided);
    const auto plain = test::tiny_model({.architecture = "llama"});
    const auto frequencies = [](const Model& model) {
        for (const auto& operation : model.plan(1).operations) {
            if (const auto* rope = std::get_if<compute::Rope>(&operation)) return rope->frequencies;
        }
        return std::vector<float>{};
    };
    const auto slow = frequencies(**divided);
    const auto usual = frequencies(*plain);
    REQUIRE(slow.size() == divisors.size());
    for (std::size_t i = 0; i < slow.size(); ++i) {
        CHECK(slow[i] == usual[i] / divisors[i]);
    }
}

struct BadMetadata {
    std::string expected;
    std::function<void(ChangedFile&)> change;
};

TEST_CASE("metadata that makes no model is named", "[model]") {
    const std::vector<BadMetadata> cases = {
        {"deepseek2.block_count", [](auto& f) { f.set("deepseek2.block_count", std::int64_t{0}); }},
        {"deepseek2.block_count",
         [](auto& f) { f.set("deepseek2.block_count", std::int64_t{1} << 40); }},
        {"deepseek2.block_count", [](auto& f) { f.erase("deepseek2.block_count"); }},
        {"not one whole number",
         [](auto& f) { f.set("deepseek2.block_count", std::string("three")); }},
        {"blk.3.attn_norm.weight",
         [](auto& f) { f.set("deepseek2.block_count", std::int64_t{4}); }},
        {"head_count", [](auto& f) { f.set("deepseek2.attention.head_count", std::int64_t{0}); }},
        {"context_length", [](auto& f) { f.erase("deepseek2.context_length"); }},
        {"layer_norm_rms_epsilon",
         [](auto& f) { f.erase("deepseek2.attention.layer_norm_rms_epsilon"); }},
        {"epsilon", [](auto& f) { f.set("deepseek2.attention.layer_norm_rms_epsilon", 0.0); }},
        {"9 of 8 experts", [](auto& f) { f.set("deepseek2.expert_used_count", std::int64_t{9}); }},
        {"0 of 8 experts", [](auto& f) { f.set("deepseek2.expert_used_count", std::int64_t{0}); }},
        {"no sound model",
         [](auto& f) {
             f.set("deepseek2.expert_group_count", std::int64_t{3});
             f.set("deepseek2.expert_group_used_count", std::int64_t{1});
         }},
        {"expert_group_used_count",
         [](auto& f) { f.set("deepseek2.expert_group_count", std::int64_t{4}); }},
        {"rope scaling \"longrope\"",
         [](auto& f) { f.set("deepseek2.rope.scaling.type", std::string("longrope")); }},
        {"original_context_length",
         [](auto& f) { f.set("deepseek2.rope.scaling.type", std::string("yarn")); }},
        {"rotated in pairs",
         [](auto& f) { f.set("deepseek2.rope.dimension_count", std::int64_t{7}); }},
        {"rope metadata", [](auto& f) { f.set("deepseek2.rope.freq_base", -1.0); }},
        {"token_embd.weight", [](auto& f) { f.drop_tensor("token_embd.weight"); }},
        {"general.architecture", [](auto& f) { f.erase("general.architecture"); }},
    };
    for (const BadMetadata& each : cases) {
        ChangedFile file;
        each.change(file);
        const auto model = file.load();
        INFO(each.expected);
        REQUIRE_FALSE(model);
        CHECK_THAT(model.error().text, Catch::Contains(each.expected));
    }
}

TEST_CASE("hostile numbers give an error or a model that runs", "[model]") {
    const auto backend = reference::make_reference_backend();
    const std::vector<std::int64_t> hostile = {0,
                                               1,
                                               2,
                                               3,
                                               5,
                                               17,
                                               255,
                                               std::numeric_limits<std::int32_t>::max(),
                                               std::int64_t{1} << 32,
                                               std::int64_t{1} << 62};
    for (const char* architecture : {"deepseek2", "qwen3moe", "granitemoe", "llama", "qwen2"}) {
        const ChangedFile intact({.architecture = architecture});
        for (const auto& [key, value] : intact.metadata()) {
            if (!std::holds_alternative<std::uint64_t>(value) || !key.starts_with(architecture)) {
                continue;
            }
            for (const std::int64_t number : hostile) {
                ChangedFile file({.architecture = architecture});
                const auto model = file.set(key, number).load();
                INFO(key << " = " << number);
                if (!model) {
                    CHECK_FALSE(model.error().text.empty());
                    continue;
                }
                const auto logits =
                    test::ModelRunner(*model, *backend, {}).run({{.tokens = {1, 2, 3}}});
                CHECK(logits.size() == 3 * 304);
            }
        }
    }
}

/// The tensor's floats times `factor`.
std::vector<float> scaled(const Tensor& tensor, float factor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    for (float& value : values) {
        value *= factor;
    }
    return values;
}

TEST_CASE("granite's factors are those of its weights", "[model]") {
    const test::TinyModelOptions options{
        .architecture = "granitemoe", .dtype = compute::Dtype::f32, .has_tied_head = false};
    // llama with experts is the same network without factors: there they go into the weights.
    ChangedFile plain(options);
    std::deque<std::vector<float>> kept;
    const auto scale = [&](const std::string& name, float factor) {
        Tensor& tensor = plain.tensor(name);
        kept.push_back(scaled(tensor, factor));
        tensor.bytes = std::as_bytes(std::span(kept.back()));
    };
    scale("token_embd.weight", 12.0F);
    scale("output.weight", 1.0F / 0.5F);
    for (const char* layer : {"blk.0.", "blk.1.", "blk.2."}) {
        scale(layer + std::string("attn_q.weight"), 0.125F * 4.0F);  // heads of 16
        scale(layer + std::string("attn_output.weight"), 0.22F);
        scale(layer + std::string("ffn_down_exps.weight"), 0.22F);
    }
    const std::string prefix = "granitemoe.";
    const auto metadata = plain.metadata();
    for (const auto& [key, value] : metadata) {
        if (key.starts_with(prefix)) plain.set_value("llama." + key.substr(prefix.size()), value);
    }
    plain.set("general.architecture", std::string("llama"));
    const auto expected = plain.load();
    INFO((expected ? "" : expected.error().text));
    REQUIRE(expected);
    const auto backend = reference::make_reference_backend();
    const std::vector<std::int32_t> tokens = {5, 80, 81, 200, 7, 7, 90, 33, 150, 2};
    const auto found =
        test::ModelRunner(test::tiny_model(options), *backend, {}).run_chunks(tokens, 10);
    const auto wanted = test::ModelRunner(*expected, *backend, {}).run_chunks(tokens, 10);
    CHECK(test::relative_l2(found, wanted) < 1e-5);
}

TEST_CASE("granite's factors are above 0, and 0 means none", "[model]") {
    ChangedFile none({.architecture = "granitemoe"});
    for (const char* key :
         {"embedding_scale", "residual_scale", "attention.scale", "logit_scale"}) {
        none.set("granitemoe." + std::string(key), 0.0);
        ChangedFile negative({.architecture = "granitemoe"});
        const auto model = negative.set("granitemoe." + std::string(key), -1.0).load();
        REQUIRE_FALSE(model);
        CHECK_THAT(model.error().text, Catch::Contains(key));
    }
    const auto model = none.load();
    REQUIRE(model);
    const compute::Plan plan = (*model)->plan(1);
    CHECK(std::get<compute::Embed>(plan.operations.front()).scale == 1.0F);
    CHECK(std::get<compute::RmsNorm>(plan.operations[1]).epsilon == 1e-6F);
    CHECK(std::get<compute::Logits>(plan.operations.back()).scale == 1.0F);
}

TEST_CASE("the older key and value layout is the same attention", "[model]") {
    // Splitting is checked against the file's own rows: keys transposed, values as they are.
    const auto model = test::tiny_model({.dtype = compute::Dtype::f32, .has_unsplit_kv_b = true});
    const Tensor* both = model->file().find_tensor("blk.0.attn_kv_b.weight");
    REQUIRE(both != nullptr);
    const auto at = [](const Tensor& tensor, std::int64_t row, std::int64_t column) {
        float value = 0.0F;
        std::memcpy(&value, tensor.row(row) + column * 4, sizeof(value));
        return value;
    };
    int seen = 0;
    for (const Tensor& weight : model->weights()) {
        seen += weight.name == "blk.0.attn_k_b.weight" || weight.name == "blk.0.attn_v_b.weight";
        for (std::int64_t head = 0; head < 4; ++head) {
            for (std::int64_t row = 0; row < 16; ++row) {
                for (std::int64_t c = 0; c < 32; ++c) {
                    if (weight.name == "blk.0.attn_k_b.weight") {
                        REQUIRE(at(weight, head * 32 + c, row) == at(*both, head * 32 + row, c));
                    } else if (weight.name == "blk.0.attn_v_b.weight") {
                        REQUIRE(at(weight, head * 16 + row, c) ==
                                at(*both, head * 32 + 16 + row, c));
                    }
                }
            }
        }
    }
    CHECK(seen == 2);
}

}  // namespace
}  // namespace hearth::model

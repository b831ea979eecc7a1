// The block for multi-token prediction: where it is read from, and what it computes, held against
// plain loops that join its inputs and a model whose only layer it is.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/dequantize.h"
#include "core/model/model.h"
#include "core/model/synthetic.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/model_parts.h"
#include "tests/support/model_runner.h"

namespace hearth::model {
namespace {

using compute::Tensor;
using Parts = test::ModelParts;
using formats::GgufFile;
using File = std::shared_ptr<const GgufFile>;
using Floats = std::vector<float>;

constexpr const char* kShape = "tiny-mtp:";
const std::string kBlock = "blk.3.";  // behind three layers

File synthetic(const std::string& type) {
    return make_synthetic(kShape + type, {.thread_count = 1}).value();
}

bool is_of_block(const std::string& name) {
    return name.starts_with(kBlock);
}

File trunk_file(const std::string& type) {
    return Parts(synthetic(type))
        .count("block_count", 3)
        .count("nextn_predict_layers", 0)
        .keep([](const std::string& name) { return !is_of_block(name); })
        .file("trunk.gguf");
}
Parts block_parts(const std::string& type) {
    return Parts(synthetic(type)).keep(is_of_block);
}

TEST_CASE("a block is read from the model's own file or from one beside it",
          "[model][prediction]") {
    const auto own = make_model(synthetic("Q8_0")).value();
    const auto beside = make_model(trunk_file("Q8_0"), block_parts("Q8_0").file()).value();
    for (const auto& model : {own, beside}) {
        INFO(model->prediction_fault());
        CHECK(model->config().layer_count == 3);
        CHECK(model->plan(4).kv.layer_count == 3);
        const auto plans = model->prediction(4, 2);
        REQUIRE(plans);
        CHECK(plans->trunk.kv.layer_count == 4);
        CHECK(plans->store.kv == plans->trunk.kv);
        CHECK(plans->draft.kv == plans->trunk.kv);
        CHECK(plans->draft.tokens_max == 2);
    }
    const auto none = make_model(trunk_file("Q8_0")).value();
    CHECK_FALSE(none->prediction(4, 2));
    CHECK(none->prediction_fault().empty());
    // Embedding and head are the trunk's own bytes.
    const std::set<const std::byte*> bytes = [&] {
        std::set<const std::byte*> seen;
        for (const Tensor& tensor : beside->weights()) {
            CHECK(seen.insert(tensor.bytes.data()).second);
        }
        return seen;
    }();
    CHECK(bytes.size() == none->weights().size() + block_parts("Q8_0").tensors.size());
}

TEST_CASE("a block that does not fit costs the drafts and nothing else", "[model][prediction]") {
    struct Misfit {
        std::string expected;
        std::function<void(Parts&)> change;
    };
    const std::vector<Misfit> cases = {
        {"\"another\"", [](Parts& p) { p.set("general.name", std::string("another")); }},
        {"vocab_size", [](Parts& p) { p.count("vocab_size", 500); }},
        {"embedding_length", [](Parts& p) { p.count("embedding_length", 128); }},
        {"block_count", [](Parts& p) { p.count("block_count", 9); }},
        {"nextn_predict_layers", [](Parts& p) { p.count("nextn_predict_layers", 0); }},
        {"architecture", [](Parts& p) { p.set("general.architecture", std::string("llama")); }},
        {"nextn.eh_proj",
         [](Parts& p) {
             p.keep([](const auto& name) { return !name.ends_with("eh_proj.weight"); });
         }},
        {"ffn_down_exps",
         [](Parts& p) {
             p.keep([](const auto& name) { return !name.ends_with("ffn_down_exps.weight"); });
         }},
        {"nextn.hnorm.weight",
         [](Parts& p) { p.replace(kBlock + "nextn.hnorm.weight", {128}, Floats(128)); }}};
    const auto plain = make_model(trunk_file("Q8_0")).value();
    for (const Misfit& misfit : cases) {
        Parts parts = block_parts("Q8_0");
        misfit.change(parts);
        const auto model = make_model(trunk_file("Q8_0"), parts.file());
        REQUIRE(model);
        INFO(misfit.expected);
        CHECK_FALSE((*model)->prediction(1, 1));
        CHECK_THAT((*model)->prediction_fault(), Catch::Contains(misfit.expected));
        CHECK((*model)->weights().size() == plain->weights().size());
    }
    const auto broken = load_model("/nonexistent/model.gguf", "/nonexistent/mtp.gguf");
    CHECK_FALSE(broken);
}

/// A model with its block on a backend, one sequence.
class BlockRunner {
  public:
    BlockRunner(const std::shared_ptr<const Model>& model,
                compute::Backend& backend,
                compute::Dtype cache_type)
        : model_(model),
          plans_(*model->prediction(kTokensMax, kTokensMax)),
          weights_(backend.upload(model->weights()).value()) {
        for (compute::Plan* plan : {&plans_.trunk, &plans_.store, &plans_.draft}) {
            plan->kv.dtype = cache_type;
            REQUIRE(compute::validate(*plan, model->weights()));
        }
        trunk_ = backend.compile(plans_.trunk, *weights_).value();
        store_ = backend.compile(plans_.store, *weights_).value();
        draft_ = backend.compile(plans_.draft, *weights_).value();
        kv_ = backend.make_kv_store(plans_.trunk.kv, 8).value();
    }

    struct Out {
        Floats logits, rows;
    };
    Out trunk(const std::vector<std::int32_t>& tokens, std::int32_t position) {
        return run(*trunk_, tokens, position, {}, tokens.size());
    }
    void store(const std::vector<std::int32_t>& tokens, std::int32_t position, const Floats& rows) {
        run(*store_, tokens, position, rows, 0);
    }
    Out draft(const std::vector<std::int32_t>& tokens, std::int32_t position, const Floats& rows) {
        return run(*draft_, tokens, position, rows, tokens.size());
    }

  private:
    static constexpr std::int32_t kTokensMax = 64;

    Out run(compute::Program& program,
            const std::vector<std::int32_t>& tokens,
            std::int32_t position,
            const Floats& rows,
            std::size_t logit_count) {
        std::vector<std::int32_t> positions(tokens.size());
        std::iota(positions.begin(), positions.end(), position);
        const std::vector<std::int32_t> sequence_of(tokens.size(), 0);
        std::vector<std::int32_t> logit_rows(logit_count);
        std::iota(logit_rows.begin(), logit_rows.end(), 0);
        const std::vector<std::int32_t> blocks = {5, 2, 7, 0};
        const compute::SequenceView view{blocks};
        const auto output = program.run({.tokens = tokens,
                                         .positions = positions,
                                         .sequence_of = sequence_of,
                                         .sequences = {&view, 1},
                                         .logit_rows = logit_rows,
                                         .rows = rows},
                                        *kv_);
        REQUIRE(output);
        return {{output->logits.begin(), output->logits.end()},
                {output->rows.begin(), output->rows.end()}};
    }

    std::shared_ptr<const Model> model_;
    PredictionPlans plans_;
    std::unique_ptr<compute::DeviceWeights> weights_;
    std::unique_ptr<compute::Program> trunk_, store_, draft_;
    std::unique_ptr<compute::KvStore> kv_;
};

/// Of the rows before each token: those of the trunk, moved on by one.
Floats rows_before(const Floats& rows, std::size_t dim) {
    Floats before(dim, 0.0F);
    before.insert(before.end(), rows.begin(), rows.end() - static_cast<std::ptrdiff_t>(dim));
    return before;
}

Floats floats_of(const GgufFile& file, const std::string& name) {
    const Tensor* tensor = file.find_tensor(name);
    REQUIRE(tensor);
    Floats values(static_cast<std::size_t>(tensor->shape.elements()));
    compute::dequantize(tensor->dtype, tensor->bytes, values);
    return values;
}

Floats normed(std::span<const float> x, const Floats& weight) {
    double sum = 0.0;
    for (const float each : x) {
        sum += static_cast<double>(each) * static_cast<double>(each);
    }
    const double scale = 1.0 / std::sqrt(sum / static_cast<double>(x.size()) + 1e-6);
    Floats out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        out[i] = static_cast<float>(static_cast<double>(x[i]) * scale) * weight[i];
    }
    return out;
}

/// (rows of weight) weight * x
Floats product(const Floats& weight, const Floats& x) {
    Floats out(weight.size() / x.size());
    for (std::size_t r = 0; r < out.size(); ++r) {
        out[r] = static_cast<float>(
            std::inner_product(x.begin(), x.end(), weight.data() + r * x.size(), 0.0));
    }
    return out;
}

/// What the block's layer gets for each token, by the formula.
std::vector<Floats> joined_by_hand(const GgufFile& file,
                                   const std::vector<std::int32_t>& tokens,
                                   const Floats& before,
                                   std::size_t dim) {
    const Floats table = floats_of(file, "token_embd.weight");
    const Floats join = floats_of(file, kBlock + "nextn.eh_proj.weight");
    const Floats enorm = floats_of(file, kBlock + "nextn.enorm.weight");
    const Floats hnorm = floats_of(file, kBlock + "nextn.hnorm.weight");
    std::vector<Floats> joined;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        Floats both =
            normed({table.data() + static_cast<std::size_t>(tokens[t]) * dim, dim}, enorm);
        const Floats row = normed({before.data() + t * dim, dim}, hnorm);
        both.insert(both.end(), row.begin(), row.end());
        joined.push_back(product(join, both));
    }
    return joined;
}

/// A whole model: its only layer is the block's, and its embedding of token i is `rows[i]`.
std::shared_ptr<const Model> one_layer_model(const File& file, const std::vector<Floats>& rows) {
    const Tensor head = *file->find_tensor("token_embd.weight");
    Floats table;
    for (const Floats& row : rows) {
        table.insert(table.end(), row.begin(), row.end());
    }
    table.resize(static_cast<std::size_t>(head.shape.elements()));
    Parts parts(file);
    parts.count("block_count", 1)
        .count("nextn_predict_layers", 0)
        .count("leading_dense_block_count", 0)
        .keep(is_of_block)
        .keep([](const std::string& name) { return name.find("nextn") == std::string::npos; });
    for (Tensor& tensor : parts.tensors) {
        tensor.name = "blk.0." + tensor.name.substr(kBlock.size());
    }
    parts.replace("token_embd.weight", head.shape, table);
    parts.replace("output_norm.weight",
                  {head.shape.dim(1)},
                  floats_of(*file, kBlock + "nextn.shared_head_norm.weight"));
    parts.tensors.push_back({"output.weight", head.dtype, head.shape, head.bytes});
    return make_model(parts.file()).value();
}

/// Norms that differ from each other, as those of a trained block do.
File with_random_norms(const File& file) {
    Parts parts(file);
    std::uint32_t state = 7;
    for (const char* name : {"nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm", "attn_norm"}) {
        Floats values(256);
        for (float& value : values) {
            state = state * 1664525U + 1013904223U;
            value = 0.25F + static_cast<float>(state >> 16) / 65536.0F;
        }
        parts.replace(kBlock + name + ".weight", {256}, values);
    }
    return parts.file();
}

std::vector<std::int32_t> some_tokens(std::size_t count) {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < count; ++i) {
        tokens.push_back(static_cast<std::int32_t>((17 + 101 * i) % 512));
    }
    return tokens;
}

TEST_CASE("the draft is what plain loops and a model of one layer say", "[model][prediction]") {
    constexpr std::size_t kDim = 256;
    const auto tokens = some_tokens(37);
    const File file = with_random_norms(synthetic("F32"));
    const auto model = make_model(file).value();
    const auto reference = reference::make_reference_backend({.rounds_activations = true});
    const bool is_cpu = GENERATE(false, true);
    const auto cpu = cpu::make_cpu_backend({.thread_count = 2}).value();
    compute::Backend& backend = is_cpu ? *cpu : *reference;
    BlockRunner runner(model, backend, compute::Dtype::f16);

    const auto trunk = runner.trunk(tokens, 0);
    REQUIRE(trunk.rows.size() == tokens.size() * kDim);
    const Floats last(trunk.rows.end() - kDim, trunk.rows.end());
    const Floats last_logits(trunk.logits.end() - 512, trunk.logits.end());
    CHECK(test::relative_l2(product(floats_of(*file, "token_embd.weight"), last), last_logits) <
          1e-5);

    const Floats before = rows_before(trunk.rows, kDim);
    const auto truth = one_layer_model(file, joined_by_hand(*file, tokens, before, kDim));
    test::ModelRunner expected(truth, *reference, {});
    std::vector<std::int32_t> places(tokens.size());
    std::iota(places.begin(), places.end(), 0);
    const Floats wanted = expected.run({{0, places}});
    CHECK(test::relative_l2(runner.draft(tokens, 0, before).logits, wanted) < 2e-3);
    // The trunk's own logits are of another token.
    CHECK(test::relative_l2(trunk.logits, wanted) > 0.5);
}

TEST_CASE("rows that were only stored are as good as drafted ones", "[model][prediction]") {
    const std::string type = GENERATE("F32", "Q8_0", "Q4_0");
    const compute::Dtype cache_type = GENERATE(compute::Dtype::f16, compute::Dtype::q8_0);
    const bool is_cpu = GENERATE(false, true);
    const auto tokens = some_tokens(45);
    const auto model = make_model(synthetic(type)).value();
    const auto backend = is_cpu ? cpu::make_cpu_backend({.thread_count = 2}).value()
                                : reference::make_reference_backend();
    BlockRunner whole(model, *backend, cache_type);
    const Floats before = rows_before(whole.trunk(tokens, 0).rows, 256);
    const auto expected = whole.draft(tokens, 0, before);

    BlockRunner pieces(model, *backend, cache_type);
    pieces.trunk(tokens, 0);
    std::size_t begin = 0;
    for (const std::size_t end : {1, 17, 20, 44}) {
        pieces.store({tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                      tokens.begin() + static_cast<std::ptrdiff_t>(end)},
                     static_cast<std::int32_t>(begin),
                     {before.begin() + static_cast<std::ptrdiff_t>(begin * 256),
                      before.begin() + static_cast<std::ptrdiff_t>(end * 256)});
        begin = end;
    }
    const auto found = pieces.draft({tokens.back()}, 44, {before.end() - 256, before.end()});
    CHECK(found.logits == Floats(expected.logits.end() - 512, expected.logits.end()));
}

}  // namespace
}  // namespace hearth::model

// What a token's logits are must not depend on how the prompt was cut into steps, on what else ran
// beside it, or on where its cache blocks lie. On the reference backend that is exact.
#include <algorithm>
#include <iterator>

#include <catch2/catch.hpp>

#include "kernels/reference/reference_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::model {
namespace {

using test::ModelRunner;
using test::TinyModelOptions;

std::vector<std::int32_t> some_tokens(std::size_t count, std::int32_t from) {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < count; ++i) {
        tokens.push_back((from + 37 * static_cast<std::int32_t>(i)) % 300);
    }
    return tokens;
}

std::vector<TinyModelOptions> all_kinds() {
    return {{.architecture = "deepseek2"},
            {.architecture = "deepseek2", .has_tied_head = true, .has_unsplit_kv_b = true},
            {.architecture = "deepseek2", .has_merged_gate_up = true, .has_selection_groups = true},
            {.architecture = "deepseek2", .has_softmax_gating = true},
            {.architecture = "qwen3moe"},
            {.architecture = "granitemoe", .has_tied_head = true},
            {.architecture = "granitemoe", .has_merged_gate_up = true, .has_shared_expert = true},
            {.architecture = "llama"},
            {.architecture = "qwen2"}};
}

TEST_CASE("a prompt in chunks has the logits of the whole prompt", "[model][chunks]") {
    const auto backend = reference::make_reference_backend();
    const auto tokens = some_tokens(53, 5);
    for (const TinyModelOptions& options : all_kinds()) {
        const auto model = test::tiny_model(options);
        INFO(options.architecture);
        const auto whole = ModelRunner(model, *backend, {}).run_chunks(tokens, 53);
        for (const std::size_t chunk : {1U, 7U, 16U, 33U}) {
            INFO("chunk " << chunk);
            CHECK(ModelRunner(model, *backend, {}).run_chunks(tokens, chunk) == whole);
        }
    }
}

TEST_CASE("sequences in one batch have the logits they have alone", "[model][chunks]") {
    const auto backend = reference::make_reference_backend();
    const std::vector<std::vector<std::int32_t>> prompts = {
        some_tokens(19, 1), some_tokens(5, 90), some_tokens(30, 200)};
    for (const TinyModelOptions& options : all_kinds()) {
        const auto model = test::tiny_model(options);
        INFO(options.architecture);
        std::vector<float> alone;
        for (const auto& prompt : prompts) {
            const auto logits = ModelRunner(model, *backend, {}).run_chunks(prompt, 64);
            alone.insert(alone.end(), logits.begin(), logits.end());
        }
        ModelRunner together(model, *backend, {.sequence_count = 3});
        CHECK(together.run({{.sequence = 0, .tokens = prompts[0]},
                            {.sequence = 1, .tokens = prompts[1]},
                            {.sequence = 2, .tokens = prompts[2]}}) == alone);
    }
}

TEST_CASE("sequences at different places advance in one step", "[model][chunks]") {
    const auto backend = reference::make_reference_backend();
    const auto model = test::tiny_model();
    const auto a = some_tokens(20, 1);
    const auto b = some_tokens(33, 90);
    const std::ptrdiff_t vocab_size = model->config().vocab_size;
    ModelRunner runner(model, *backend, {.sequence_count = 2});
    runner.run_last({{.sequence = 0, .tokens = {a.begin(), a.end() - 1}}});
    runner.run_last({{.sequence = 1, .tokens = {b.begin(), b.begin() + 4}}});
    const auto last = runner.run_last({{.sequence = 1, .tokens = {b.begin() + 4, b.end()}},
                                       {.sequence = 0, .tokens = {a.back()}}});
    const auto whole_a = ModelRunner(model, *backend, {}).run_chunks(a, 64);
    const auto whole_b = ModelRunner(model, *backend, {}).run_chunks(b, 64);
    REQUIRE(std::ssize(last) == 2 * vocab_size);
    CHECK(std::equal(last.begin(), last.begin() + vocab_size, whole_b.end() - vocab_size));
    CHECK(std::equal(last.begin() + vocab_size, last.end(), whole_a.end() - vocab_size));
}

TEST_CASE("the merged and the separate expert tensors are the same model", "[model]") {
    const auto model = test::tiny_model({.has_merged_gate_up = true});
    // The rows of a merged tensor are gate rows, then up rows, expert by expert.
    const compute::Tensor* merged = model->file().find_tensor("blk.1.ffn_gate_up_exps.weight");
    REQUIRE(merged != nullptr);
    int seen = 0;
    for (const compute::Tensor& weight : model->weights()) {
        const bool is_up = weight.name == "blk.1.ffn_up_exps.weight";
        if (!is_up && weight.name != "blk.1.ffn_gate_exps.weight") continue;
        ++seen;
        const std::int64_t rows = weight.shape.dim(1);
        for (std::int64_t e = 0; e < weight.shape.dim(0); ++e) {
            const std::byte* expected = merged->row(e * 2 * rows + (is_up ? rows : 0));
            CHECK(std::equal(weight.row(e * rows),
                             weight.row(e * rows) + rows * weight.row_size_bytes(),
                             expected));
        }
    }
    CHECK(seen == 2);
}

}  // namespace
}  // namespace hearth::model

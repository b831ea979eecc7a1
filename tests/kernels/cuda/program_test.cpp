// Whole models on the emulated CUDA backend: near the reference, and the same numbers in whatever
// company.
#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cuda/buckets.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/kernels/cuda/test_seed.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

using compute::Dtype;
using test::ModelRunner;
using test::TinyModelOptions;

std::unique_ptr<compute::Backend> make_backend(const CudaOptions& options = {}) {
    auto backend = make_cuda_backend(options);
    if (!backend) throw std::runtime_error(backend.error().text);
    return std::move(backend).value();
}

/// One of each architecture and each fork within it.
std::vector<TinyModelOptions> every_model(Dtype dtype) {
    std::vector<TinyModelOptions> models;
    for (const char* architecture : {"deepseek2", "qwen3moe", "granitemoe", "llama", "qwen2"}) {
        models.push_back({.architecture = architecture, .dtype = dtype});
    }
    models.push_back({.dtype = dtype, .has_unsplit_kv_b = true});
    models.push_back({.dtype = dtype, .has_merged_gate_up = true});
    models.push_back({.architecture = "granitemoe",
                      .dtype = dtype,
                      .has_tied_head = true,
                      .has_shared_expert = true});
    models.push_back({.dtype = dtype,
                      .has_tied_head = true,
                      .has_selection_groups = true,
                      .has_softmax_gating = true});
    return models;
}

std::shared_ptr<const model::Model> random_model(TinyModelOptions options) {
    options.seed = test::seed_of(static_cast<std::uint32_t>(options.seed));
    return test::tiny_model(options);
}

std::vector<std::int32_t> some_tokens(std::size_t count, std::int32_t vocab_size, unsigned seed) {
    std::mt19937 random(test::seed_of(seed));
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < count; ++i) {
        tokens.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab_size)));
    }
    return tokens;
}

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Where activations are rounded only the order of sums is left, else the cache's halves, which the
/// reference does not have.
void check_near_reference(const TinyModelOptions& options, bool is_exact, double distance_max) {
    const auto model = random_model(options);
    const auto cuda = make_backend({.device = {}, .is_exact = is_exact});
    const auto reference = reference::make_reference_backend({.rounds_activations = !is_exact});
    INFO(options.architecture << " " << compute::traits(options.dtype).name << " hidden_dim "
                              << options.hidden_dim << " exact " << is_exact);
    CHECK(test::distance_apart(model, *cuda, *reference) <= distance_max);
}

TEST_CASE("float weights give the reference's logits up to the cache's halves", "[cuda][program]") {
    for (const TinyModelOptions& options : every_model(Dtype::f16)) {
        check_near_reference(options, false, 0.002);
    }
    check_near_reference({.dtype = Dtype::f32}, false, 0.002);
    check_near_reference({.architecture = "qwen3moe", .dtype = Dtype::bf16}, false, 0.002);
}

TEST_CASE("quantised weights give the logits of a reference that rounds alike", "[cuda][program]") {
    const auto check_both = [](const TinyModelOptions& options) {
        check_near_reference(options, false, 0.003);
        check_near_reference(options, true, 0.002);
    };
    for (const TinyModelOptions& options : every_model(Dtype::q8_0)) {
        check_both(options);
    }
    for (const Dtype dtype : {Dtype::q4_0, Dtype::q5_0, Dtype::q5_1, Dtype::mxfp4}) {
        check_both({.dtype = dtype, .layer_count = 2});
    }
    for (const Dtype dtype : {Dtype::q4_k, Dtype::q5_k, Dtype::q6_k}) {
        check_both({.dtype = dtype, .hidden_dim = 256, .layer_count = 2});
    }
}

/// With exact activations the reference keeps a row in Q8_0 as floats; here it becomes halves on
/// its way to the products.
TEST_CASE("a cache in Q8_0 gives the logits of a reference that has one", "[cuda][program]") {
    auto models = every_model(Dtype::q8_0);
    // Heads of whole blocks, which prepare_heads stores.
    models.push_back({.architecture = "qwen3moe", .hidden_dim = 256, .layer_count = 2});
    for (const TinyModelOptions& options : models) {
        const auto model = random_model(options);
        const auto tokens = some_tokens(40, model->config().vocab_size, 17);
        INFO(options.architecture);
        for (const bool is_exact : {false, true}) {
            INFO("exact " << is_exact);
            const auto cuda = make_backend({.device = {}, .is_exact = is_exact});
            const auto reference =
                reference::make_reference_backend({.rounds_activations = !is_exact});
            const auto run_on = [&](compute::Backend& backend, Dtype cache, std::size_t chunk) {
                return ModelRunner(model, backend, {.cache_type = cache}).run_chunks(tokens, chunk);
            };
            const auto run = [&](Dtype cache, std::size_t chunk) {
                return run_on(*cuda, cache, chunk);
            };
            const auto found = run(Dtype::q8_0, tokens.size());
            if (is_exact) {
                const auto expected = run_on(*reference, Dtype::q8_0, tokens.size());
                CHECK(test::median(test::relative_l2_rows(
                          found, expected, model->config().vocab_size)) <= 0.002);
            } else {
                CHECK(test::distance_apart(model, *cuda, *reference, Dtype::q8_0) <= 0.003);
            }
            CHECK(is_same(run(Dtype::q8_0, 3), found));
            CHECK_FALSE(is_same(run(Dtype::f16, tokens.size()), found));
        }
    }
}

/// Whole and alone, without graphs, is the measure; chunks, company and graphs must not show.
void check_contract(const TinyModelOptions& options) {
    const auto model = random_model(options);
    const auto plain = make_backend({.device = {}, .has_graphs = false});
    const auto graphs = make_backend();
    const ModelRunner::Limits limits{.sequence_count = 3};
    const auto tokens = some_tokens(21, model->config().vocab_size, 11);
    const auto expected = ModelRunner(model, *plain, limits).run_chunks(tokens, tokens.size());
    INFO(options.architecture << " " << compute::traits(options.dtype).name);
    for (const std::size_t chunk : {1U, 2U, 7U, 21U}) {
        INFO("chunk " << chunk);
        CHECK(is_same(ModelRunner(model, *graphs, limits).run_chunks(tokens, chunk), expected));
    }
    // In the middle of two others, in uneven pieces.
    ModelRunner shared(model, *graphs, limits);
    const auto others = some_tokens(40, model->config().vocab_size, 12);
    const auto vocab_size = static_cast<std::size_t>(model->config().vocab_size);
    std::vector<float> found;
    for (std::size_t begin = 0; begin < tokens.size();) {
        const std::size_t count = std::min<std::size_t>(begin == 0 ? 9 : 4, tokens.size() - begin);
        const auto rows =
            shared.run({{.sequence = 2, .tokens = {others[begin]}},
                        {.sequence = 0,
                         .tokens = {tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                                    tokens.begin() + static_cast<std::ptrdiff_t>(begin + count)}},
                        {.sequence = 1, .tokens = {others[begin + 1], others[begin]}}});
        found.insert(found.end(),
                     rows.begin() + static_cast<std::ptrdiff_t>(vocab_size),
                     rows.begin() + static_cast<std::ptrdiff_t>((1 + count) * vocab_size));
        begin += count;
    }
    CHECK(is_same(found, expected));
    // Behind a piece whose logits nobody wants.
    constexpr std::size_t kSilent = 17;
    const auto border = tokens.begin() + static_cast<std::ptrdiff_t>(kSilent);
    const std::vector<float> last(
        expected.begin() + static_cast<std::ptrdiff_t>(kSilent * vocab_size), expected.end());
    for (compute::Backend* backend : {plain.get(), graphs.get()}) {
        ModelRunner runner(model, *backend, limits);
        CHECK(runner.run_rows({{.tokens = {tokens.begin(), border}}}, {}).empty());
        CHECK(is_same(runner.run({{.tokens = {border, tokens.end()}}}), last));
    }
}

TEST_CASE("numbers do not depend on chunks, company or graphs", "[cuda][program][contract]") {
    for (const TinyModelOptions& options : every_model(Dtype::q8_0)) {
        check_contract(options);
    }
    check_contract({.dtype = Dtype::f32, .layer_count = 2});
    check_contract({.dtype = Dtype::f16, .layer_count = 2});
    check_contract({.architecture = "qwen3moe", .dtype = Dtype::bf16, .layer_count = 2});
    check_contract({.architecture = "qwen3moe", .dtype = Dtype::q5_1});
    check_contract(
        {.architecture = "llama", .dtype = Dtype::q4_k, .hidden_dim = 256, .layer_count = 2});
}

/// A prompt with a whole group that latent attention expands, and some behind it.
constexpr std::size_t kLong = kExpandGroupTokens + 22;
constexpr ModelRunner::Limits kLongLimits{
    .tokens_max = 200, .sequence_count = 3, .sequence_tokens_max = 256};

double distance(const std::vector<float>& found,
                const std::vector<float>& expected,
                const model::Model& model) {
    return test::median(test::relative_l2_rows(found, expected, model.config().vocab_size));
}

/// A long prompt is near the reference and near absorption, and the same bits however it is cut.
void check_long_prompt(const TinyModelOptions& options,
                       double distance_max,
                       Dtype cache = Dtype::f16) {
    INFO(options.architecture << " " << compute::traits(options.dtype).name);
    const auto model = random_model(options);
    const auto cuda = make_backend();
    const auto reference = reference::make_reference_backend({.rounds_activations = true});
    const auto tokens = some_tokens(kLong, model->config().vocab_size, 13);
    ModelRunner::Limits limits = kLongLimits;
    limits.cache_type = cache;
    const auto run = [&](compute::Backend& backend, std::size_t chunk) {
        return ModelRunner(model, backend, limits).run_chunks(tokens, chunk);
    };
    const auto at_once = run(*cuda, kLong);
    CHECK(distance(at_once, run(*reference, kLong), *model) <= distance_max);
    const auto absorbed = ModelRunner(model, *cuda, limits)
                              .run({{.sequence = 0, .tokens = tokens, .prompt_tokens = 0}});
    CHECK(distance(at_once, absorbed, *model) <= distance_max);
    CHECK_FALSE(is_same(at_once, absorbed));
    for (const std::size_t chunk :
         {std::size_t{kExpandGroupTokens}, std::size_t{100}, std::size_t{33}}) {
        INFO("chunk " << chunk);
        CHECK(is_same(run(*cuda, chunk), at_once));
    }
    const auto exact = make_backend({.device = {}, .is_exact = true});
    CHECK(is_same(run(*exact, kLong), run(*exact, 40)));
}

TEST_CASE("a long prompt of a latent model has the same bits in any chunks",
          "[cuda][program][contract]") {
    check_long_prompt({.dtype = Dtype::f16}, 0.002);
    check_long_prompt({.dtype = Dtype::f16, .layer_count = 2}, 0.002, Dtype::q8_0);
    check_long_prompt({.dtype = Dtype::q8_0, .has_unsplit_kv_b = true}, 0.04);
}

TEST_CASE("a long prompt has the same bits in any company", "[cuda][program][contract]") {
    const auto model = random_model({.layer_count = 2});
    const auto backend = make_backend();
    const auto tokens = some_tokens(kLong, model->config().vocab_size, 14);
    const auto others = some_tokens(kLong, model->config().vocab_size, 15);
    const auto vocab_size = static_cast<std::size_t>(model->config().vocab_size);
    const auto expected = ModelRunner(model, *backend, kLongLimits).run_chunks(tokens, kLong);
    const auto of_other = ModelRunner(model, *backend, kLongLimits).run_chunks(others, kLong);
    // Two prompts share the steps, each time cut elsewhere, as a scheduler may; one token that was
    // picked goes along.
    for (const std::size_t first : {std::size_t{1}, std::size_t{70}, std::size_t{131}}) {
        INFO("the first piece has " << first);
        ModelRunner shared(model, *backend, kLongLimits);
        std::vector<float> found;
        std::vector<float> found_of_other;
        const auto part =
            [](const std::vector<std::int32_t>& all, std::size_t from, std::size_t to) {
                return std::vector<std::int32_t>(all.begin() + static_cast<std::ptrdiff_t>(from),
                                                 all.begin() + static_cast<std::ptrdiff_t>(to));
            };
        const std::size_t second = kLong - first;
        const std::int32_t prompt = kLong;
        for (const auto& [from, to, other_from, other_to] :
             {std::array<std::size_t, 4>{0, first, 0, second},
              std::array<std::size_t, 4>{first, kLong, second, kLong}}) {
            const auto rows = shared.run(
                {{.sequence = 2, .tokens = {5}},
                 {.sequence = 0, .tokens = part(tokens, from, to), .prompt_tokens = prompt},
                 {.sequence = 1,
                  .tokens = part(others, other_from, other_to),
                  .prompt_tokens = prompt}});
            const auto border =
                rows.begin() + static_cast<std::ptrdiff_t>((1 + to - from) * vocab_size);
            found.insert(
                found.end(), rows.begin() + static_cast<std::ptrdiff_t>(vocab_size), border);
            found_of_other.insert(found_of_other.end(), border, rows.end());
        }
        CHECK(is_same(found, expected));
        CHECK(is_same(found_of_other, of_other));
    }
}

}  // namespace
}  // namespace hearth::cuda

// Whole models on the CPU backend: near the reference, and the same numbers in whatever company.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/support/logits_reference.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::cpu {
namespace {

using compute::Dtype;
using test::ModelRunner;
using test::TinyModelOptions;

/// From here on k_up of a tiny model is quantised, and attention of its latents rounded.
constexpr std::int32_t kRoundedHidden = 128;

std::unique_ptr<compute::Backend> backend_of(std::int32_t threads) {
    auto backend = make_cpu_backend({.thread_count = threads});
    if (!backend) throw std::runtime_error(backend.error().text);
    return std::move(backend).value();
}

/// One of each architecture and each fork within it.
std::vector<TinyModelOptions> every_model(Dtype dtype, std::int32_t hidden_dim) {
    std::vector<TinyModelOptions> models;
    for (const char* architecture : {"deepseek2", "qwen3moe", "granitemoe", "llama", "qwen2"}) {
        models.push_back({.architecture = architecture, .dtype = dtype, .hidden_dim = hidden_dim});
    }
    models.push_back({.dtype = dtype, .hidden_dim = hidden_dim, .has_unsplit_kv_b = true});
    models.push_back({.dtype = dtype, .hidden_dim = hidden_dim, .has_merged_gate_up = true});
    models.push_back({.architecture = "granitemoe",
                      .dtype = dtype,
                      .hidden_dim = hidden_dim,
                      .has_tied_head = true,
                      .has_shared_expert = true});
    models.push_back({.dtype = dtype,
                      .hidden_dim = hidden_dim,
                      .has_tied_head = true,
                      .has_selection_groups = true,
                      .has_softmax_gating = true});
    return models;
}

std::vector<std::int32_t> some_tokens(std::size_t count, std::int32_t vocab_size, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < count; ++i) {
        tokens.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab_size)));
    }
    return tokens;
}

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check_near_reference(const TinyModelOptions& options,
                          double distance_max,
                          Dtype cache_type = Dtype::f16) {
    const auto model = test::tiny_model(options);
    const auto cpu = backend_of(2);
    const auto reference = reference::make_reference_backend();
    const ModelRunner::Limits limits{.cache_type = cache_type};
    const auto tokens = some_tokens(41, model->config().vocab_size, 7);
    const auto found = ModelRunner(model, *cpu, limits).run_chunks(tokens, 41);
    const auto expected = ModelRunner(model, *reference, limits).run_chunks(tokens, 41);
    const auto distances = test::relative_l2_rows(found, expected, model->config().vocab_size);
    INFO(options.architecture << " " << compute::traits(options.dtype).name << " hidden_dim "
                              << options.hidden_dim << " cache "
                              << compute::traits(cache_type).name);
    CHECK(test::median(distances) <= distance_max);
}

TEST_CASE("float weights give the reference's logits up to the cache's halves", "[cpu][program]") {
    for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) {
        for (const TinyModelOptions& options : every_model(dtype, 64)) {
            check_near_reference(options, 0.003);
        }
    }
}

TEST_CASE("a cache in Q8_0 gives the logits of the reference's", "[cpu][program]") {
    // Wider than for halves: a value near the middle of two steps may be rounded to the other one.
    for (const TinyModelOptions& options : every_model(Dtype::f32, 64)) {
        check_near_reference(options, 0.005, Dtype::q8_0);
    }
    for (const TinyModelOptions& options : every_model(Dtype::f32, 192)) {
        check_near_reference(options, 0.005, Dtype::q8_0);
    }
}

TEST_CASE("quantised weights give the logits of a reference that rounds alike", "[cpu][program]") {
    const auto cpu = backend_of(2);
    const auto reference =
        reference::make_reference_backend({.rounds_activations = true, .rounds_latents = true});
    for (const Dtype dtype : {Dtype::q8_0, Dtype::q4_0, Dtype::q5_0, Dtype::q5_1, Dtype::mxfp4}) {
        for (const TinyModelOptions& options : every_model(dtype, 64)) {
            INFO(options.architecture << " " << compute::traits(dtype).name);
            CHECK(test::distance_apart(test::tiny_model(options), *cpu, *reference) <= 0.003);
        }
        // Wide enough for k_up in blocks.
        for (const bool is_old : {false, true}) {
            const auto model = test::tiny_model(
                {.dtype = dtype, .hidden_dim = kRoundedHidden, .has_unsplit_kv_b = is_old});
            INFO("k_up in blocks, " << compute::traits(dtype).name << " " << is_old);
            CHECK(test::distance_apart(model, *cpu, *reference) <= 0.003);
        }
    }
}

TEST_CASE("K types lose the rounding of activations only", "[cpu][program]") {
    for (const Dtype dtype : {Dtype::q4_k, Dtype::q5_k, Dtype::q6_k}) {
        check_near_reference({.dtype = dtype, .hidden_dim = 256, .layer_count = 2}, 0.1);
    }
}

TEST_CASE("logits are those of an independent engine", "[cpu][program][logits]") {
    if (!test::has_logits_reference(HEARTH_SOURCE_DIR)) return;
    const auto backend = backend_of(0);
    for (const std::string& name : test::logits_models()) {
        const double median =
            test::median(test::distances_to_reference(HEARTH_SOURCE_DIR, name, *backend));
        WARN(name << ": median relative L2 " << median);
        CHECK(median <= 0.15);
    }
}

/// Alone and whole on one thread is the measure; chunks, company and threads must not show.
void check_contract(const TinyModelOptions& options, Dtype cache_type) {
    const auto model = test::tiny_model(options);
    const auto one_thread = backend_of(1);
    const auto two_threads = backend_of(2);
    const auto five_threads = backend_of(5);
    const ModelRunner::Limits limits{.sequence_count = 3, .cache_type = cache_type};
    const auto tokens = some_tokens(37, model->config().vocab_size, 11);
    const auto expected = ModelRunner(model, *one_thread, limits).run_chunks(tokens, tokens.size());
    INFO(options.architecture << " " << compute::traits(options.dtype).name << " cache "
                              << compute::traits(cache_type).name);
    for (compute::Backend* backend : {one_thread.get(), two_threads.get(), five_threads.get()}) {
        for (const std::size_t chunk : {1U, 7U, 16U, 37U}) {
            INFO(backend->description() << " chunk " << chunk);
            CHECK(
                is_same(ModelRunner(model, *backend, limits).run_chunks(tokens, chunk), expected));
        }
    }
    // In the middle of two others, in uneven pieces.
    ModelRunner shared(model, *two_threads, limits);
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
}

/// Says that a step is unwanted when it has been asked so often.
class CountingWatch final : public compute::StepWatch {
  public:
    explicit CountingWatch(int asked_max) : left_(asked_max) {}
    [[nodiscard]] bool is_unwanted() const noexcept override { return left_.fetch_sub(1) <= 0; }

  private:
    mutable std::atomic<int> left_;
};

TEST_CASE("a step that is given up anywhere can be run again", "[cpu][program]") {
    const auto model = test::tiny_model({.dtype = Dtype::q8_0, .hidden_dim = 64});
    const auto tokens = some_tokens(37, model->config().vocab_size, 13);
    for (const std::int32_t threads : {1, 3}) {
        const auto backend = backend_of(threads);
        const auto expected = ModelRunner(model, *backend, {}).run_chunks(tokens, tokens.size());
        ModelRunner runner(model, *backend, {});
        int given_up = 0;
        for (int asked = 0; runner.gives_up({{.tokens = tokens}}, CountingWatch(asked));
             asked += 1 + asked / 4) {
            ++given_up;
        }
        CHECK(given_up > 5);
        CHECK(is_same(runner.run_chunks(tokens, tokens.size()), expected));
    }
}

TEST_CASE("numbers do not depend on chunks, company or threads", "[cpu][program][contract]") {
    for (const Dtype cache_type : {Dtype::f16, Dtype::q8_0}) {
        for (const TinyModelOptions& options : every_model(Dtype::q8_0, 64)) {
            check_contract(options, cache_type);
        }
        check_contract({.dtype = Dtype::f32}, cache_type);
        check_contract({.dtype = Dtype::q8_0, .hidden_dim = kRoundedHidden}, cache_type);
        check_contract({.architecture = "qwen3moe", .dtype = Dtype::q5_1}, cache_type);
        check_contract({.architecture = "llama", .dtype = Dtype::q4_k, .hidden_dim = 256},
                       cache_type);
        for (const Dtype dtype : {Dtype::q4_k, Dtype::q5_k, Dtype::q6_k}) {
            check_contract({.dtype = dtype, .hidden_dim = 256, .layer_count = 2}, cache_type);
        }
        check_contract({.architecture = "qwen3moe", .dtype = Dtype::q4_k, .hidden_dim = 256},
                       cache_type);
    }
    check_contract({.dtype = Dtype::f32}, Dtype::f32);
    check_contract({.architecture = "qwen3moe", .dtype = Dtype::f32}, Dtype::f32);
}

TEST_CASE("with weights and a cache of floats the logits are the reference's", "[cpu][program]") {
    const auto cpu = backend_of(2);
    const auto reference = reference::make_reference_backend();
    for (const TinyModelOptions& options : every_model(Dtype::f32, 64)) {
        const auto model = test::tiny_model(options);
        const std::int32_t vocab_size = model->config().vocab_size;
        const auto tokens = some_tokens(37, vocab_size, 11);
        const auto logits_of = [&](compute::Backend& backend, Dtype cache_type) {
            return ModelRunner(model, backend, {.cache_type = cache_type}).run_chunks(tokens, 37);
        };
        const auto expected = logits_of(*reference, Dtype::f32);
        const auto largest = [&](Dtype cache_type) {
            return std::ranges::max(
                test::relative_l2_rows(logits_of(*cpu, cache_type), expected, vocab_size));
        };
        INFO(options.architecture);
        CHECK(largest(Dtype::f32) <= 1e-5);
        CHECK(largest(Dtype::f16) > 2 * largest(Dtype::f32));
    }
}

/// Deep enough that a step of few tokens is split by positions. The last tokens one by one, in
/// pieces and in company, on any number of threads, have the numbers of the whole in one step.
TEST_CASE("latent attention at depth does not depend on how it is split",
          "[cpu][program][contract]") {
    constexpr std::size_t kDepth = 600;
    const Dtype cache_type = GENERATE(Dtype::f16, Dtype::q8_0);
    const std::int32_t hidden_dim = GENERATE(64, kRoundedHidden);
    const auto model = test::tiny_model({.dtype = Dtype::q8_0, .hidden_dim = hidden_dim});
    const std::int32_t vocab_size = model->config().vocab_size;
    const ModelRunner::Limits limits{.tokens_max = 100,
                                     .sequence_count = 2,
                                     .sequence_tokens_max = 640,
                                     .cache_type = cache_type};
    const auto tokens = some_tokens(kDepth + 12, vocab_size, 17);
    const auto from = [&](std::size_t at, std::size_t count) {
        const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
        return std::vector<std::int32_t>(begin, begin + static_cast<std::ptrdiff_t>(count));
    };
    const auto one_thread = backend_of(1);
    const auto whole = ModelRunner(model, *one_thread, limits).run_chunks(tokens, 100);
    const auto expected =
        std::vector<float>(whole.end() - static_cast<std::ptrdiff_t>(12) * vocab_size, whole.end());
    for (const std::int32_t threads : {2, 3, 5}) {
        const auto backend = backend_of(threads);
        ModelRunner runner(model, *backend, limits);
        for (std::size_t at = 0; at < kDepth; at += 100) {
            runner.run({{.sequence = 0, .tokens = from(at, 100)}});
        }
        std::vector<float> found;
        for (const std::size_t count : {1U, 3U, 1U, 5U, 2U}) {
            const std::size_t at = kDepth + found.size() / static_cast<std::size_t>(vocab_size);
            // A second sequence, which stays short, comes and goes.
            std::vector<ModelRunner::Piece> pieces{{.sequence = 0, .tokens = from(at, count)}};
            if (count != 3) pieces.push_back({.sequence = 1, .tokens = {7, 8}});
            const auto rows = runner.run(pieces);
            found.insert(found.end(),
                         rows.begin(),
                         rows.begin() + static_cast<std::ptrdiff_t>(count) * vocab_size);
        }
        INFO(threads << " threads");
        CHECK(is_same(found, expected));
    }
}

/// A step that asks for some rows, and one for none, leave the same cache and the same numbers.
void check_wanted_rows(const TinyModelOptions& options) {
    const auto model = test::tiny_model(options);
    const auto vocab_size = static_cast<std::size_t>(model->config().vocab_size);
    const ModelRunner::Limits limits{
        .tokens_max = 300, .sequence_count = 2, .sequence_tokens_max = 340};
    const auto tokens = some_tokens(331, model->config().vocab_size, 19);
    const auto piece = [&](std::size_t from, std::size_t to) {
        const auto at = [&](std::size_t i) {
            return tokens.begin() + static_cast<std::ptrdiff_t>(i);
        };
        return ModelRunner::Piece{.tokens = {at(from), at(to)}};
    };
    const auto one_thread = backend_of(1);
    const auto whole = ModelRunner(model, *one_thread, limits).run_chunks(tokens, 300);
    INFO(options.architecture << " " << compute::traits(options.dtype).name);
    for (const std::int32_t threads : {1, 3}) {
        const auto backend = backend_of(threads);
        ModelRunner runner(model, *backend, limits);
        CHECK(runner.run_rows({piece(0, 290)}, {}).empty());
        const auto check = [&](std::size_t from,
                               std::size_t to,
                               const std::vector<std::int32_t>& rows,
                               bool is_alone) {
            std::vector<ModelRunner::Piece> pieces{piece(from, to)};
            if (!is_alone) pieces.push_back({.sequence = 1, .tokens = {3, 4}});
            const auto found = runner.run_rows(pieces, rows);
            REQUIRE(found.size() == rows.size() * vocab_size);
            for (std::size_t i = 0; i < rows.size(); ++i) {
                const std::size_t token = from + static_cast<std::size_t>(rows[i]);
                if (token >= to) continue;  // the other sequence's
                CHECK(std::memcmp(found.data() + i * vocab_size,
                                  whole.data() + token * vocab_size,
                                  vocab_size * sizeof(float)) == 0);
            }
        };
        check(290, 310, {0, 1, 2, 5, 7, 8, 19}, true);
        check(310, 318, {6, 9}, false);
        check(318, 322, {5}, false);
        check(322, 331, {8}, true);
    }
}

TEST_CASE("which rows are asked for changes no number", "[cpu][program][contract]") {
    for (const TinyModelOptions& options : every_model(Dtype::q8_0, 64)) {
        check_wanted_rows(options);
    }
    check_wanted_rows({.dtype = Dtype::q8_0, .hidden_dim = kRoundedHidden});
    check_wanted_rows({.dtype = Dtype::q4_k, .hidden_dim = 256, .layer_count = 1});
    check_wanted_rows({.architecture = "llama", .dtype = Dtype::f32});
}

/// How far the logits of `name` with a cache in Q8_0 are from those with one in F16, row by row.
std::vector<double> distances_of_cache(const std::string& name, compute::Backend& backend) {
    const auto model = test::logits_model(HEARTH_SOURCE_DIR, name);
    const std::int32_t vocab_size = model->config().vocab_size;
    const auto tokens = some_tokens(48, vocab_size, 3);
    const auto logits_of = [&](Dtype cache_type) {
        return ModelRunner(model, backend, {.cache_type = cache_type}).run_chunks(tokens, 48);
    };
    return test::relative_l2_rows(logits_of(Dtype::q8_0), logits_of(Dtype::f16), vocab_size);
}

TEST_CASE("a cache in Q8_0 costs the logits less than activations in int8 do",
          "[cpu][program][logits]") {
    if (!test::has_logits_reference(HEARTH_SOURCE_DIR)) return;
    const auto cpu = backend_of(0);
    const auto reference = reference::make_reference_backend();
    for (const std::string& name : test::logits_models()) {
        const double alone = test::median(distances_of_cache(name, *reference));
        const double beside_int8 = test::median(distances_of_cache(name, *cpu));
        const auto model = test::logits_model(HEARTH_SOURCE_DIR, name);
        compute::KvLayout layout = model->plan(1).kv;
        const std::int64_t halves = compute::cache_bytes_per_token(layout);
        layout.dtype = Dtype::q8_0;
        WARN(name << ": " << compute::cache_bytes_per_token(layout) << " bytes per token, not "
                  << halves << "; median relative L2 " << alone << ", beside int8 activations "
                  << beside_int8);
        // The reference's activations are floats: this is the cache's own part. A row in int8 has a
        // relative error of about 0.006, which random weights amplify; random routers have ties
        // that any error decides, and one of them moves a row and those that look at it.
        CHECK(alone <= (model->config().expert_count > 0 ? 0.15 : 0.02));
        // Any error moves some activations in int8 to their other neighbour.
        CHECK(beside_int8 <= 0.1);
    }
}

TEST_CASE("a copied block continues like its original", "[cpu][kv_store]") {
    const Dtype cache_type = GENERATE(Dtype::f16, Dtype::q8_0, Dtype::f32);
    const bool is_latent = GENERATE(false, true);
    const auto backend = backend_of(1);
    const auto model =
        test::tiny_model(is_latent ? test::TinyModelOptions{.dtype = Dtype::q8_0, .hidden_dim = 128}
                                   : test::TinyModelOptions{.architecture = "qwen3moe"});
    compute::Plan plan = model->plan(16);
    plan.kv.dtype = cache_type;
    CHECK((plan.kv.rounded_latent_dim > 0) == is_latent);
    auto weights = backend->upload(model->weights());
    REQUIRE(weights);
    auto program = backend->compile(plan, **weights);
    auto kv = backend->make_kv_store(plan.kv, 3);
    REQUIRE(program);
    REQUIRE(kv);
    const auto step =
        [&](std::vector<std::int32_t> tokens, std::int32_t position, std::int32_t block) {
            std::vector<std::int32_t> positions;
            for (std::size_t i = 0; i < tokens.size(); ++i) {
                positions.push_back(position + static_cast<std::int32_t>(i));
            }
            const std::vector<std::int32_t> sequence_of(tokens.size(), 0);
            const std::vector<std::int32_t> table{block};
            const std::vector<compute::SequenceView> sequences{{table}};
            const std::vector<std::int32_t> rows{static_cast<std::int32_t>(tokens.size()) - 1};
            auto output = (*program)->run({tokens, positions, sequence_of, sequences, rows}, **kv);
            REQUIRE(output);
            return std::vector<float>(output->logits.begin(), output->logits.end());
        };
    step({5, 6, 7}, 0, 0);
    (*kv)->copy_block(0, 2);
    const auto original = step({8}, 3, 0);
    CHECK(is_same(step({8}, 3, 2), original));
    CHECK((*kv)->block_count() == 3);
    CHECK((*program)->bytes_per_token() == weight_bytes_per_token(plan, model->weights()));
    if (is_latent) return;
    // Rows of 32: as halves, as one block of 34 bytes, or as floats.
    const std::int64_t row_bytes = cache_type == Dtype::f16   ? 64
                                   : cache_type == Dtype::f32 ? 128
                                                              : 34;
    CHECK((*kv)->size_bytes() == 3 * compute::kBlockTokens * plan.kv.layer_count * 2 * row_bytes);
}

}  // namespace
}  // namespace hearth::cpu

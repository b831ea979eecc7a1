// What needs a real device: a whole model file against the reference, long contexts, and how fast
// the memory is. HEARTH_GPU_MODEL names the model; run.sh sets it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <random>
#include <stdexcept>

#include <catch2/catch.hpp>

#include "core/model/model.h"
#include "core/tokenizer/tokenizer.h"
#include "kernels/cuda/buckets.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/memory.h"
#include "kernels/reference/reference_backend.h"
#include "tests/kernels/cuda/device_check.h"
#include "tests/support/converted_model.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

using hearth::test::ModelRunner;
using test::require;

std::unique_ptr<compute::Backend> make_backend(const CudaOptions& options = {}) {
    return require(make_cuda_backend(options));
}

std::vector<std::int32_t> some_tokens(std::size_t count, std::int32_t vocab_size, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < count; ++i) {
        tokens.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab_size)));
    }
    return tokens;
}

constexpr std::string_view kText = R"(#include <list>
#include <optional>
#include <string>
#include <unordered_map>

/// Keeps the entries that were used last. Not safe for several threads.
class Cache {
  public:
    explicit Cache(std::size_t size_max) : size_max_(size_max) {}

    std::optional<std::string> find(const std::string& key) {
        const auto place = places_.find(key);
        if (place == places_.end()) {
            ++misses_;
            return std::nullopt;
        }
        entries_.splice(entries_.begin(), entries_, place->second);
        ++hits_;
        return place->second->second;
    }

    void insert(const std::string& key, std::string value) {
        const auto place = places_.find(key);
        if (place != places_.end()) {
            place->second->second = std::move(value);
            entries_.splice(entries_.begin(), entries_, place->second);
            return;
        }
        if (entries_.size() == size_max_) {
            places_.erase(entries_.back().first);
            entries_.pop_back();
        }
        entries_.emplace_front(key, std::move(value));
        places_[key] = entries_.begin();
    }

    void erase(const std::string& key) {
        const auto place = places_.find(key);
        if (place == places_.end()) {
            return;
        }
        entries_.erase(place->second);
        places_.erase(place);
    }

    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] double hit_rate() const {
        const std::size_t total = hits_ + misses_;
        return total == 0 ? 0.0 : static_cast<double>(hits_) / static_cast<double>(total);
    }

  private:
    std::size_t size_max_;
    std::list<std::pair<std::string, std::string>> entries_;
    std::unordered_map<std::string, std::list<std::pair<std::string, std::string>>::iterator> places_;
    std::size_t hits_ = 0;
    std::size_t misses_ = 0;
};
)";

std::vector<std::int32_t> text_tokens(const model::Model& model, std::size_t count_max) {
    auto tokens = require(require(tokenizer::Tokenizer::from_gguf(model.file()))->encode(kText));
    tokens.resize(std::min(tokens.size(), count_max));
    return tokens;
}

/// The natural logarithms of the softmax.
std::vector<double> log_softmax(std::span<const float> logits) {
    const double best = *std::max_element(logits.begin(), logits.end());
    double sum = 0.0;
    for (const float value : logits) {
        sum += std::exp(static_cast<double>(value) - best);
    }
    std::vector<double> out;
    for (const float value : logits) {
        out.push_back(static_cast<double>(value) - best - std::log(sum));
    }
    return out;
}

struct Agreement {
    double kl = 0.0;         ///< mean over positions
    double same_best = 0.0;  ///< share of positions
    double median_l2 = 0.0;
};

Agreement compare(std::span<const float> found,
                  std::span<const float> expected,
                  std::size_t vocab) {
    Agreement result;
    const std::size_t rows = expected.size() / vocab;
    for (std::size_t row = 0; row < rows; ++row) {
        const auto p = log_softmax(expected.subspan(row * vocab, vocab));
        const auto q = log_softmax(found.subspan(row * vocab, vocab));
        for (std::size_t i = 0; i < vocab; ++i) {
            result.kl += std::exp(p[i]) * (p[i] - q[i]);
        }
        const auto best = [](const std::vector<double>& values) {
            return std::max_element(values.begin(), values.end()) - values.begin();
        };
        result.same_best += best(p) == best(q) ? 1.0 : 0.0;
    }
    result.kl /= static_cast<double>(rows);
    result.same_best /= static_cast<double>(rows);
    result.median_l2 = hearth::test::median(
        hearth::test::relative_l2_rows(found, expected, static_cast<std::int64_t>(vocab)));
    return result;
}

/// What has to be how near to the reference of the model's file, whose weights are F32 there.
struct Subject {
    const char* kind;
    std::shared_ptr<const model::Model> model;
    CudaOptions options;
    double kl_max;
    double same_best_min;
    double median_l2_max = std::numeric_limits<double>::infinity();
};

/// How near the subjects are to the reference of `model` on `tokens`, printed as run.sh quotes it.
void check_parity(const std::shared_ptr<const model::Model>& model,
                  const std::string& name,
                  std::span<const std::int32_t> tokens,
                  const std::vector<Subject>& subjects) {
    const auto vocab = static_cast<std::size_t>(model->config().vocab_size);
    const auto limit = static_cast<std::int32_t>(tokens.size());
    const ModelRunner::Limits limits{.tokens_max = limit, .sequence_tokens_max = limit};
    const auto reference = reference::make_reference_backend();
    const auto expected = ModelRunner(model, *reference, limits).run_chunks(tokens, tokens.size());
    for (const Subject& subject : subjects) {
        const auto backend = make_backend(subject.options);
        const Agreement found =
            compare(ModelRunner(subject.model, *backend, limits).run_chunks(tokens, tokens.size()),
                    expected,
                    vocab);
        std::cout << "parity " << name << ", " << tokens.size() << " tokens, " << subject.kind
                  << ": KL " << found.kl << ", best token " << 100.0 * found.same_best
                  << " %, median L2 " << found.median_l2 << "\n";
        INFO(name << ", " << subject.kind);
        CHECK(found.kl <= subject.kl_max);
        CHECK(found.same_best >= subject.same_best_min);
        CHECK(found.median_l2 <= subject.median_l2_max);
    }
}

TEST_CASE("a model file gives the reference's logits", "[gpu][parity]") {
    const char* path = std::getenv("HEARTH_GPU_MODEL");
    if (path == nullptr) {
        WARN("HEARTH_GPU_MODEL is not set: no parity");
        return;
    }
    const auto model = require(model::load_model(path));
    const CudaOptions options = require(cuda_options_of_environment());
    CudaOptions exact_options = options;
    exact_options.is_exact = true;
    const auto in_f16 = hearth::test::converted_model(*model, compute::Dtype::f16);
    const auto in_bf16 = hearth::test::converted_model(*model, compute::Dtype::bf16);
    check_parity(model,
                 "on code",
                 text_tokens(*model, 384),
                 {{"exact", model, exact_options, 1e-3, 0.99, 0.002},
                  {"rounded", model, options, 1e-2, 0.99},
                  {"in F16", in_f16, options, 1e-3, 0.99},
                  {"in BF16", in_bf16, options, 1e-3, 0.99}});
    // Behind random tokens nothing is likely: the best of them is often one of many alike, and one
    // of them is half a percent. There the weights' rounding to BF16 alone is a KL above 1e-3.
    const auto tokens = some_tokens(192, model->config().vocab_size, 3);
    check_parity(model,
                 "on random tokens",
                 tokens,
                 {{"exact", model, exact_options, 1e-3, 0.99, 0.002},
                  {"rounded", model, options, 1e-2, 0.90},
                  {"in F16", in_f16, options, 1e-3, 0.95},
                  {"in BF16", in_bf16, options, 1e-2, 0.95}});
    const ModelRunner::Limits limits{.tokens_max = 256, .sequence_tokens_max = 256};
    const auto rounding = make_backend(options);
    const auto found = ModelRunner(model, *rounding, limits).run_chunks(tokens, 192);
    for (const std::size_t chunk : {1U, 8U, 48U, 140U}) {
        INFO("chunk " << chunk);
        CHECK(
            test::is_same(ModelRunner(model, *rounding, limits).run_chunks(tokens, chunk), found));
    }
}

TEST_CASE("a model file runs a few steps of each kind", "[gpu][sanitize]") {
    // For sanitizers, under which every kernel takes long: 15 tokens and no reference.
    const char* path = std::getenv("HEARTH_GPU_MODEL");
    if (path == nullptr) {
        WARN("HEARTH_GPU_MODEL is not set: nothing to run");
        return;
    }
    const auto model = require(model::load_model(path));
    const auto backend = make_backend(require(cuda_options_of_environment()));
    ModelRunner runner(
        model, *backend, {.tokens_max = 16, .sequence_count = 2, .sequence_tokens_max = 32});
    const auto tokens = some_tokens(12, model->config().vocab_size, 7);
    const auto check_steps = [&](const std::vector<ModelRunner::Piece>& pieces) {
        const auto logits = runner.run_last(pieces);
        CHECK(std::ranges::all_of(logits, [](float value) { return std::isfinite(value); }));
    };
    check_steps({{.sequence = 0, .tokens = {tokens.begin(), tokens.begin() + 9}}});
    check_steps({{.sequence = 0, .tokens = {tokens[9]}}});
    check_steps({{.sequence = 1, .tokens = {tokens.begin(), tokens.begin() + 3}}});
    check_steps({{.sequence = 0, .tokens = {tokens[10]}}, {.sequence = 1, .tokens = {tokens[11]}}});
}

TEST_CASE("a long context gives the same numbers step by step and at once", "[gpu][long]") {
    for (const char* architecture : {"deepseek2", "qwen3moe"}) {
        const auto model = hearth::test::tiny_model({.architecture = architecture});
        const ModelRunner::Limits limits{.tokens_max = 512, .sequence_tokens_max = 2048};
        const auto backend = make_backend();
        const auto tokens = some_tokens(1500, model->config().vocab_size, 5);
        const auto in_chunks = [&](std::size_t chunk) {
            return ModelRunner(model, *backend, limits).run_chunks(tokens, chunk);
        };
        const auto at_once = in_chunks(500);
        const auto in_pieces = in_chunks(64);
        INFO(architecture);
        CHECK(test::is_same(in_chunks(4), in_pieces));
        // Latent models expand keys, here over two stretches.
        CHECK(test::is_same(at_once, in_pieces));
    }
}

TEST_CASE("how fast the memory is", "[.][bandwidth]") {
    constexpr std::int64_t kBytes = std::int64_t{2} << 30;
    constexpr int kRuns = 20;
    const auto from = require(DeviceBuffer::make(kBytes, "the bandwidth"));
    const auto to = require(DeviceBuffer::make(kBytes, "the bandwidth"));
    const auto stream = require(Stream::make());
    const auto copy = [&] {
        REQUIRE(cudaMemcpyAsync(to.data(),
                                from.data(),
                                static_cast<std::size_t>(kBytes),
                                cudaMemcpyDeviceToDevice,
                                stream->get()) == cudaSuccess);
    };
    copy();
    REQUIRE(cudaStreamSynchronize(stream->get()) == cudaSuccess);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRuns; ++i) {
        copy();
    }
    REQUIRE(cudaStreamSynchronize(stream->get()) == cudaSuccess);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    // Each byte is read and written.
    std::cout << "bandwidth_gb_s " << 2.0 * kRuns * kBytes / seconds.count() / 1e9 << "\n";
}

}  // namespace
}  // namespace hearth::cuda

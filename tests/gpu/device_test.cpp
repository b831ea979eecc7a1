// What needs a real device: a whole model file against the reference, long contexts, and how fast
// the memory is. HEARTH_GPU_MODEL names the model; run.sh sets it.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <random>
#include <stdexcept>

#include <catch2/catch.hpp>

#include "core/model/model.h"
#include "kernels/cuda/buckets.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/memory.h"
#include "kernels/reference/reference_backend.h"
#include "tests/kernels/cuda/device_check.h"
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

TEST_CASE("a model file gives the reference's logits", "[gpu][parity]") {
    const char* path = std::getenv("HEARTH_GPU_MODEL");
    if (path == nullptr) {
        WARN("HEARTH_GPU_MODEL is not set: no parity");
        return;
    }
    const auto model = require(model::load_model(path));
    const auto vocab = static_cast<std::size_t>(model->config().vocab_size);
    const auto tokens = some_tokens(192, model->config().vocab_size, 3);
    const ModelRunner::Limits limits{.tokens_max = 256, .sequence_tokens_max = 256};
    const auto reference = reference::make_reference_backend();
    const auto expected = ModelRunner(model, *reference, limits).run_chunks(tokens, 192);
    const CudaOptions options = require(cuda_options_of_environment());
    CudaOptions exact_options = options;
    exact_options.is_exact = true;
    const auto exact = make_backend(exact_options);
    const auto rounding = make_backend(options);
    const auto found_exact = ModelRunner(model, *exact, limits).run_chunks(tokens, 192);
    const auto found = ModelRunner(model, *rounding, limits).run_chunks(tokens, 192);
    const Agreement of_exact = compare(found_exact, expected, vocab);
    const Agreement of_rounding = compare(found, expected, vocab);
    std::cout << "parity exact: KL " << of_exact.kl << ", best token " << 100.0 * of_exact.same_best
              << " %, median L2 " << of_exact.median_l2 << "\n"
              << "parity rounded: KL " << of_rounding.kl << ", best token "
              << 100.0 * of_rounding.same_best << " %, median L2 " << of_rounding.median_l2 << "\n";
    CHECK(of_exact.median_l2 <= 0.002);
    CHECK(of_exact.kl <= 1e-3);
    CHECK(of_exact.same_best >= 0.99);
    CHECK(of_rounding.kl <= 1e-2);
    CHECK(of_rounding.same_best >= 0.97);
    // Short chunks agree bit by bit; a long one of a latent model is near them (docs/adr/0004).
    const auto in_chunks = [&](std::size_t chunk) {
        return ModelRunner(model, *rounding, limits).run_chunks(tokens, chunk);
    };
    const auto short_chunks = in_chunks(kLongRunTokens / 2);
    CHECK(compare(found, short_chunks, vocab).kl <= 1e-2);
    for (const std::size_t chunk : {1U, 8U, 48U}) {
        INFO("chunk " << chunk);
        CHECK(test::is_same(in_chunks(chunk), short_chunks));
    }
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
        if (model->plan(1).kv.value_dim > 0) {
            CHECK(test::is_same(at_once, in_pieces));
            continue;
        }
        // Expanded keys (docs/adr/0004), here over two stretches.
        CHECK(hearth::test::median(hearth::test::relative_l2_rows(
                  at_once, in_pieces, model->config().vocab_size)) <= 0.1);
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

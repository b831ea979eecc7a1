// The engine on a device that picks tokens itself: the same texts as one step after the other with
// the host's sampler.
#include <algorithm>
#include <deque>
#include <memory>
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include "core/engine/engine.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/core/engine/toy_engine.h"
#include "tests/kernels/cuda/test_seed.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

using test::Answer;
using test::Tokens;

std::unique_ptr<compute::Backend> make_backend(const CudaOptions& options = {}) {
    auto backend = make_cuda_backend(options);
    if (!backend) throw std::runtime_error(backend.error().text);
    return std::move(backend).value();
}

/// Logits to the host, the host's pick, and the next step.
Tokens step_by_step(const std::shared_ptr<const model::Model>& model,
                    const engine::Request& request,
                    engine::TokenGuide* guide = nullptr) {
    const auto backend = make_backend();
    test::ModelRunner runner(model, *backend, {});
    const auto vocab_size = static_cast<std::size_t>(model->config().vocab_size);
    engine::Sampler sampler(model->config().vocab_size);
    Tokens tokens = request.prompt;
    std::vector<float> logits = runner.run({{.sequence = 0, .tokens = tokens}});
    Tokens text;
    for (;;) {
        compute::PickOrder order{request.sampling, static_cast<std::int32_t>(tokens.size())};
        const auto mask = guide == nullptr ? std::span<const std::uint32_t>() : guide->allowed();
        if (!mask.empty()) order.allowed = mask.data();
        const auto pick = sampler.pick(std::span(logits).last(vocab_size), order);
        if (std::ranges::count(request.stop_tokens, pick.token) > 0) return text;
        text.push_back(pick.token);
        tokens.push_back(pick.token);
        if (guide != nullptr) guide->accept(pick.token);
        if (static_cast<std::int32_t>(text.size()) == request.tokens_max) return text;
        logits = runner.run({{.sequence = 0, .tokens = {pick.token}}});
    }
}

/// Five of uneven length; some draw, two may not have every token, and one ends early.
std::vector<engine::Request> requests_of(const model::Model& model, std::int32_t stop_token) {
    std::vector<engine::Request> requests;
    for (std::int32_t i = 0; i < 5; ++i) {
        engine::Request request = test::request_of(test::prompt_of(9 + 11 * i, i), 7);
        if (i % 2 == 1)
            request.sampling = {.temperature = 1.2F, .top_p = 0.9F, .seed = test::seed_of(5)};
        if (i < 2) request.guide = std::make_unique<test::ThreeStep>(model.config().vocab_size, 3);
        if (i == 4) request.stop_tokens = {stop_token};
        requests.push_back(std::move(request));
    }
    return requests;
}

/// What the engine makes of them, three at a time.
std::vector<Tokens> launched_ahead(const std::shared_ptr<const model::Model>& model,
                                   std::vector<engine::Request> requests,
                                   bool has_graphs) {
    const auto backend = make_backend({.device = {}, .has_graphs = has_graphs});
    const test::FakeClock clock;
    auto engine = engine::Engine::make(model,
                                       *backend,
                                       {.context_tokens_max = 128,
                                        .cache_tokens = 512,
                                        .sequences_max = 3,
                                        .prefill_tokens_per_step = 16},
                                       clock);
    REQUIRE(engine);
    std::deque<Answer> answers(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
        requests[i].sink = answers[i].sink();
        REQUIRE((*engine)->submit(std::move(requests[i])));
    }
    std::vector<Tokens> texts;
    for (Answer& answer : answers) {
        texts.push_back(answer.wait().tokens());
        CHECK_FALSE(answer.error());
    }
    return texts;
}

TEST_CASE("steps that are launched ahead write the texts of steps that are not",
          "[cuda][step_queue]") {
    const auto model = test::tiny_model({.dtype = compute::Dtype::q8_0, .layer_count = 2});
    constexpr std::int32_t kNoToken = -1;
    // The emulated device is one for the whole process: first the one, then the other.
    const std::int32_t stop_token = step_by_step(model, requests_of(*model, kNoToken).back()).at(3);
    std::vector<Tokens> expected;
    for (const engine::Request& request : requests_of(*model, stop_token)) {
        expected.push_back(step_by_step(model, request, request.guide.get()));
    }
    REQUIRE(expected[4].size() <= 3);
    // A graph picks its tokens, where there is one.
    CHECK(launched_ahead(model, requests_of(*model, stop_token), true) == expected);
    CHECK(launched_ahead(model, requests_of(*model, stop_token), false) == expected);
}

}  // namespace
}  // namespace hearth::cuda

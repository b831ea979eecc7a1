// Experts on the host: whatever lies in slots, or is on its way there, the logits are the same bits
// as with all experts on the device.
#include <cstring>
#include <deque>
#include <memory>
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
using test::host_experts_of;
using test::Tokens;

/// Logits of a prompt in two chunks and of some tokens behind it; what was used is added to `uses`.
std::vector<float> run(const std::shared_ptr<const model::Model>& model,
                       const CudaOptions& options,
                       std::span<const compute::HostExperts> host_experts,
                       compute::ExpertUses& uses) {
    const auto backend = make_cuda_backend(options);
    test::ModelRunner runner(model, **backend, {.sequence_count = 2}, host_experts);
    std::vector<float> logits;
    const auto add = [&](const std::vector<test::ModelRunner::Piece>& pieces) {
        const auto rows = runner.run(pieces);
        logits.insert(logits.end(), rows.begin(), rows.end());
    };
    add({{.sequence = 0, .tokens = {5, 90, 17, 3, 200, 41, 8}}});
    add({{.sequence = 0, .tokens = {61, 62}}, {.sequence = 1, .tokens = {7, 7, 9}}});
    // More pairs than eight for each expert: the kernels of many tokens.
    add({{.sequence = 1, .tokens = std::vector<std::int32_t>(40, 33)}});
    for (std::int32_t token = 30; token < 42; ++token) {
        add({{.sequence = 0, .tokens = {token * 5}}});
    }
    const auto here = runner.program().expert_uses();
    uses.on_device += here.on_device;
    uses.in_all += here.in_all;
    return logits;
}

void check_same_bits(const test::TinyModelOptions& model_options, const CudaOptions& options) {
    INFO(model_options.architecture << ", type " << static_cast<int>(model_options.dtype));
    auto random_options = model_options;
    random_options.seed = test::seed_of(1);
    const auto model = test::tiny_model(random_options);
    compute::ExpertUses none;
    const auto expected = run(model, options, {}, none);
    CHECK(none.in_all == 0);
    for (const std::int32_t slots : {1, 3}) {
        INFO(slots << " slots");
        compute::ExpertUses uses;
        const auto found = run(model, options, host_experts_of(*model, slots), uses);
        REQUIRE(found.size() == expected.size());
        CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
        CHECK((slots == 1 || uses.on_device > 0));
        CHECK(uses.on_device < uses.in_all);
    }
}

TEST_CASE("experts on the host give the same bits, in graphs and without",
          "[cuda][expert_offload]") {
    check_same_bits({.layer_count = 2}, {});
    check_same_bits({.layer_count = 2}, {.device = 0, .has_graphs = false});
    check_same_bits({.architecture = "qwen3moe", .layer_count = 2}, {});
    check_same_bits({.layer_count = 2}, {.device = 0, .is_exact = true});
    // Types with all four planes, and with none but quants and scales of another size.
    check_same_bits({.dtype = compute::Dtype::q6_k, .hidden_dim = 256, .layer_count = 2}, {});
    check_same_bits({.dtype = compute::Dtype::q5_k, .hidden_dim = 256, .layer_count = 2}, {});
}

TEST_CASE("experts of halves on the host give the same bits", "[cuda][expert_offload]") {
    // Other shapes: experts_guarded_test.cpp.
    check_same_bits({.dtype = compute::Dtype::f16, .layer_count = 2}, {});
    check_same_bits({.dtype = compute::Dtype::bf16, .layer_count = 2},
                    {.device = 0, .has_graphs = false});
}

Tokens text_of(const std::shared_ptr<const model::Model>& model,
               std::span<const compute::HostExperts> host_experts) {
    const auto backend = make_cuda_backend({});
    const test::FakeClock clock;
    auto engine =
        engine::Engine::make(model,
                             **backend,
                             {.context_tokens_max = 96, .cache_tokens = 512, .sequences_max = 3},
                             clock,
                             host_experts);
    REQUIRE(engine);
    std::deque<Answer> answers(4);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        const auto number = static_cast<std::int32_t>(i);
        auto request = test::request_of(test::prompt_of(5 + 9 * number, number), 24);
        if (i == 2) request.sampling = {.temperature = 1.2F, .seed = 3};
        request.sink = answers[i].sink();
        REQUIRE((*engine)->submit(std::move(request)));
    }
    Tokens text;
    for (Answer& answer : answers) {
        const Tokens tokens = answer.wait().tokens();
        CHECK(tokens.size() == 24);
        text.insert(text.end(), tokens.begin(), tokens.end());
    }
    const compute::ExpertUses uses = (*engine)->status().expert_uses;
    CHECK((uses.in_all > 0) == !host_experts.empty());
    if (!host_experts.empty() && host_experts.front().slot_count > 1) CHECK(uses.on_device > 0);
    return text;
}

TEST_CASE("steps that are launched ahead find no slot half written", "[cuda][expert_offload]") {
    const auto model = test::tiny_model({.seed = test::seed_of(1)});
    const Tokens expected = text_of(model, {});
    for (const std::int32_t slots : {1, 2, 3}) {
        INFO(slots << " slots");
        CHECK(text_of(model, host_experts_of(*model, slots)) == expected);
    }
}

}  // namespace
}  // namespace hearth::cuda

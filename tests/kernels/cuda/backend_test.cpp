// What only the emulated device can show: memory that ends, launches and graphs.
#include <sys/resource.h>

#include <future>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "core/engine/engine.h"
#include "core/model/placement.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/plane_pieces.h"
#include "kernels/reference/reference_backend.h"
#include "tests/kernels/cuda/emulated/cuda_runtime.h"
#include "tests/kernels/cuda/emulated/other_device.h"
#include "tests/support/fake_clock.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

TEST_CASE("a cache in Q8_0 takes what the planner counts", "[cuda][backend]") {
    const auto backend = make_cuda_backend({});
    CHECK((*backend)->has_cache_type(compute::Dtype::q8_0));
    for (const auto& [key_dim, value_dim] : {std::pair(48, 80), {272, 0}, {40, 0}}) {
        const compute::KvLayout layout{3, key_dim, value_dim, compute::Dtype::q8_0};
        const auto kv = (*backend)->make_kv_store(layout, 7);
        REQUIRE(kv);
        CHECK((*kv)->size_bytes() ==
              7 * compute::kBlockTokens * compute::cache_bytes_per_token(layout));
    }
}

TEST_CASE("memory that ends fails the load with a message and leaks nothing", "[cuda][backend]") {
    const OtherDevice restore;
    const auto used = simt::device.used_bytes;
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    const auto plan = model->plan(64);
    int failures = 0;
    for (std::size_t more = 0; more < (std::size_t{1} << 30); more = more * 4 + 4096) {
        simt::device.memory_bytes = used + more;
        auto weights = (*backend)->upload(model->weights());
        if (weights) {
            auto program = (*backend)->compile(plan, **weights);
            if (program) {
                auto kv = (*backend)->make_kv_store(plan.kv, 1 << 20);
                if (kv) break;
                CHECK_THAT(kv.error().text, Catch::Contains("a cache of 16777216 tokens"));
                CHECK(kv.error().code == ErrorCode::out_of_memory);
            } else {
                CHECK_THAT(program.error().text, Catch::Contains("steps of 64 tokens"));
                CHECK(program.error().code == ErrorCode::out_of_memory);
            }
        } else {
            CHECK_THAT(weights.error().text, Catch::Contains("the model's weights"));
        }
        ++failures;
    }
    CHECK(failures > 3);
    CHECK(simt::device.used_bytes == used);
}

TEST_CASE("memory that cannot be pinned refuses the load and says how much was wanted",
          "[cuda][backend]") {
    const OtherDevice restore;
    const auto model = test::tiny_model();
    const auto backend = make_cuda_backend({});
    const auto used = simt::device.used_bytes;
    simt::device.pinned_bytes_max = 1000;
    const auto weights =
        (*backend)->upload_partly(model->weights(), test::host_experts_of(*model, 1));
    REQUIRE_FALSE(weights);
    CHECK(weights.error().code == ErrorCode::out_of_memory);
    CHECK_THAT(weights.error().text,
               Catch::Contains("no pinned host memory for a part of the model's experts") &&
                   Catch::Contains("bytes in all"));
    CHECK(simt::device.used_bytes == used);
}

TEST_CASE("a graph that cannot be made fails the load with a message and leaks nothing",
          "[cuda][backend]") {
    const OtherDevice restore;
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    auto weights = (*backend)->upload(model->weights());
    REQUIRE(weights);
    const auto used = simt::device.used_bytes;
    const auto check_refused = [&](const char* call, const char* advice) {
        const auto program = (*backend)->compile(model->plan(64), **weights);
        REQUIRE_FALSE(program);
        CHECK_THAT(program.error().text,
                   Catch::StartsWith("the graph of a step of 1 tokens could not be made: ") &&
                       Catch::Contains(call) && Catch::Contains(advice));
        CHECK(simt::device.used_bytes == used);
        return program.error().code;
    };
    simt::device.instantiate_error = cudaErrorMemoryAllocation;
    CHECK(check_refused("cudaGraphInstantiate", "use a smaller model") == ErrorCode::out_of_memory);
    simt::device.instantiate_error = cudaSuccess;
    simt::device.capture_error = cudaErrorInvalidValue;
    CHECK(check_refused("cudaStreamEndCapture", "HEARTH_CUDA_GRAPHS=0") == ErrorCode::internal);
    simt::device.capture_error = cudaSuccess;
    CHECK((*backend)->compile(model->plan(64), **weights));
}

TEST_CASE("memory of the machine that ends is an error of the call, and the next one succeeds",
          "[cuda][backend]") {
    const OtherDevice restore;
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    const auto used = simt::device.used_bytes;
    int failures = 0;
    for (int calls = 1; calls < 40; ++calls) {
        simt::device.calls_until_bad_alloc = calls;
        try {
            test::ModelRunner runner(model, **backend, {});
            const auto logits = runner.run({{.sequence = 0, .tokens = {1, 2}}});
            CHECK_FALSE(logits.empty());
            if (simt::device.calls_until_bad_alloc > 0) break;
        } catch (const std::runtime_error& error) {  // an Error's text
            CHECK_THAT(error.what(), Catch::Contains("no memory of the machine for "));
            ++failures;
        }
        CHECK(simt::device.used_bytes == used);
    }
    // Weights and their way there, the workspace, two slots, logits, the cache, a step.
    CHECK(failures > 8);
    simt::device.calls_until_bad_alloc = 0;
}

TEST_CASE("a fault of a kernel loses the device, a refusal does not", "[cuda][backend]") {
    const OtherDevice restore;
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    const auto plan = model->plan(8);
    const auto weights = (*backend)->upload(model->weights());
    const auto program = (*backend)->compile(plan, **weights);
    const auto kv = (*backend)->make_kv_store(plan.kv, 1);
    REQUIRE(kv);
    const std::int32_t zero = 0;
    const compute::SequenceView sequence{{&zero, 1}};
    const compute::StepBatch step{.tokens = {&zero, 1},
                                  .positions = {&zero, 1},
                                  .sequence_of = {&zero, 1},
                                  .sequences = {&sequence, 1},
                                  .logit_rows = {&zero, 1}};
    const compute::PickOrder order;
    for (const auto error : {cudaErrorIllegalAddress, cudaErrorLaunchFailure}) {
        simt::device.wait_error = error;
        const auto output = (*program)->run(step, **kv);
        REQUIRE_FALSE(output);
        CHECK(output.error().code == ErrorCode::device_lost);
        CHECK_THAT(output.error().text,
                   Catch::StartsWith("the GPU is lost to this process") &&
                       Catch::Contains("cudaStreamSynchronize"));
        REQUIRE((*program)->step_queue()->launch(step, {&order, 1}, **kv));
        CHECK((*program)->step_queue()->collect().error().code == ErrorCode::device_lost);
    }
    simt::device.wait_error = cudaErrorInvalidValue;
    CHECK((*program)->run(step, **kv).error().code == ErrorCode::internal);
    simt::device.wait_error = cudaSuccess;
    CHECK((*program)->run(step, **kv));
}

TEST_CASE("without threads the work is done on the caller's", "[cuda][backend]") {
    // Their stacks are kept by the system library: all are in use before the limit is set.
    std::vector<std::jthread> held;
    std::promise<void> end;
    const auto ended = end.get_future().share();
    for (int i = 0; i < 16; ++i) {
        held.emplace_back([ended] { ended.wait(); });
    }
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
    const rlimit none{1 << 20, before.rlim_max};
    std::vector<int> done(100);
    std::set<std::thread::id> threads;
    REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
    in_parts(100, std::int64_t{1} << 30, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i)
            ++done[static_cast<std::size_t>(i)];
        threads.insert(std::this_thread::get_id());
    });
    REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
    end.set_value();
    CHECK(done == std::vector<int>(100, 1));
    CHECK(threads == std::set{std::this_thread::get_id()});
}

/// Loads a model on a device with exactly so much memory as the planner counts.
void check_count(const test::TinyModelOptions& model_options, std::int64_t short_by) {
    INFO(model_options.architecture << ", short by " << short_by);
    const auto model = test::tiny_model(model_options);
    const OtherDevice restore;
    const auto used = static_cast<std::int64_t>(simt::device.used_bytes);
    model::PlacementRequest request{
        .context_tokens = 512,
        .cache_tokens = 1024,
        .step_tokens = model::prompt_tokens_per_step("cuda", model->config()) +
                       engine::EngineLimits{}.sequences_max,
        .draft_tokens = engine::EngineLimits{}.sequences_max,
        .costs = model::device_costs("cuda")};
    request.costs.can_leave_experts = false;
    const auto all = place(*model, request).missing_bytes;
    request.costs.can_leave_experts = true;
    request.free_bytes = all - short_by;
    const model::Placement placement = place(*model, request);
    REQUIRE(placement.missing_bytes == 0);
    CHECK((placement.host_bytes > 0) == (short_by > 0));
    const auto backend = make_cuda_backend({});
    simt::device.memory_bytes =
        static_cast<std::size_t>(used + placement.device_bytes() - placement.reserve_bytes);
    const test::FakeClock clock;
    const auto engine = engine::Engine::make(
        model,
        **backend,
        {.context_tokens_max = placement.context_tokens, .cache_tokens = placement.cache_tokens},
        clock,
        placement.host_experts);
    if (!engine) FAIL(engine.error().text);
    CHECK((*engine)->status().has_predictor ==
          (model_options.has_prediction_block && short_by == 0));
}

TEST_CASE("what the planner counts is enough to load", "[cuda][backend][placement]") {
    check_count({}, 0);
    check_count({}, 20'000);
    check_count({.architecture = "qwen3moe"}, 0);
    check_count({.has_prediction_block = true}, 0);
    check_count({.architecture = "llama"}, 0);
    check_count({.architecture = "granitemoe"}, 20'000);
    check_count({.architecture = "granitemoe", .dtype = compute::Dtype::f16}, 0);
}

TEST_CASE("the memory of a step does not grow with layers", "[cuda][backend][placement]") {
    const auto step_bytes = [](int layers) {
        const auto model = test::tiny_model({.layer_count = layers});
        const auto backend = make_cuda_backend({});
        const auto weights = (*backend)->upload(model->weights());
        const auto before = simt::device.used_bytes;
        const auto program = (*backend)->compile(model->plan(272), **weights);
        REQUIRE(program);
        return simt::device.used_bytes - before;
    };
    // But for some bytes.
    CHECK(step_bytes(4) - step_bytes(2) < 4096);
}

TEST_CASE("a small step is one graph", "[cuda][backend]") {
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    test::ModelRunner runner(model, **backend, {});
    const auto before = simt::device.graph_launches;
    runner.run({{.sequence = 0, .tokens = {1, 2, 3}}});
    runner.run_last({{.sequence = 0, .tokens = {4}}});
    CHECK(simt::device.graph_launches == before + 2);
}

TEST_CASE("a token that is picked on the device takes one launch", "[cuda][backend]") {
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    const auto plan = model->plan(8);
    const auto weights = (*backend)->upload(model->weights());
    const auto program = (*backend)->compile(plan, **weights);
    const auto kv = (*backend)->make_kv_store(plan.kv, 2);
    REQUIRE(kv);
    const std::vector<std::int32_t> blocks = {1, 0};
    const compute::SequenceView sequence{blocks};
    const std::int32_t zero = 0;
    struct Launches {
        std::size_t graphs, kernels;
    };
    const auto launches_of =
        [&](std::int32_t token, std::int32_t position, const compute::PickOrder& order) {
            const Launches before{simt::device.graph_launches, simt::device.launches};
            compute::StepQueue& queue = *(*program)->step_queue();
            REQUIRE(queue.launch({.tokens = {&token, 1},
                                  .positions = {&position, 1},
                                  .sequence_of = {&zero, 1},
                                  .sequences = {&sequence, 1},
                                  .logit_rows = {&zero, 1}},
                                 {&order, 1},
                                 **kv));
            const auto picks = queue.collect();
            REQUIRE(picks);
            CHECK(picks->size() == 1);
            return Launches{simt::device.graph_launches - before.graphs,
                            simt::device.launches - before.kernels};
        };
    std::vector<std::uint32_t> mask(
        static_cast<std::size_t>(compute::mask_words(model->config().vocab_size)), ~0U);
    const auto greedy = launches_of(5, 0, {});
    const auto kernels = static_cast<std::size_t>((*program)->kernels_per_run());
    CHECK(greedy.graphs == 1);
    CHECK(greedy.kernels == kernels);
    const auto drawn = launches_of(
        compute::StepQueue::token_of_row(0), 1, {.settings = {.temperature = 1.0F}, .position = 2});
    CHECK(drawn.graphs == 1);
    CHECK(drawn.kernels == kernels);
    // A row that may not have every token: its mask and the two kernels of a pick.
    const auto masked = launches_of(compute::StepQueue::token_of_row(0),
                                    2,
                                    {.settings = {}, .position = 3, .allowed = mask.data()});
    CHECK(masked.graphs == 1);
    CHECK(masked.kernels == kernels + 3);
}

TEST_CASE("a step that wants no logits ends behind its last rows of the cache", "[cuda][backend]") {
    const auto launches = [](int layers, bool wants_logits) {
        const auto model = test::tiny_model({.layer_count = layers});
        const auto backend = make_cuda_backend({.device = {}, .has_graphs = false});
        test::ModelRunner runner(model, **backend, {});
        const auto before = simt::device.launches;
        const std::vector<std::int32_t> rows = {4};
        runner.run_rows({{.sequence = 0, .tokens = std::vector<std::int32_t>(5, 5)}},
                        std::span(rows).first(wants_logits ? 1 : 0));
        return simt::device.launches - before;
    };
    const std::size_t left_out = launches(2, true) - launches(2, false);
    CHECK(left_out > 4);  // output, router, experts up and down, logits
    CHECK(launches(3, true) - launches(3, false) == left_out);
}

/// Kernels that a layer adds to a step of `tokens` tokens.
std::size_t kernels_per_layer(test::TinyModelOptions options, std::size_t tokens) {
    const auto launches = [&](int layers) {
        options.layer_count = layers;
        const auto model = test::tiny_model(options);
        const auto backend = make_cuda_backend({});
        test::ModelRunner runner(model, **backend, {});
        const auto before = simt::device.launches;
        runner.run_last({{.sequence = 0, .tokens = std::vector<std::int32_t>(tokens, 5)}});
        return simt::device.launches - before;
    };
    return launches(3) - launches(2);
}

TEST_CASE("a layer is nine kernels for one token", "[cuda][backend]") {
    // Query and latent, heads, absorption, splits, merge and values, output; router and choice,
    // experts up, experts down: the shared expert is in these, and norms are in their readers.
    CHECK(kernels_per_layer({.hidden_dim = 128, .has_unsplit_kv_b = true}, 1) == 9);
    // Q k v, heads, splits, merge, output; the same expert block.
    CHECK(kernels_per_layer({.architecture = "qwen3moe", .hidden_dim = 128}, 1) == 8);
    CHECK(kernels_per_layer({.hidden_dim = 128, .has_unsplit_kv_b = true}, 3) < 20);
}

TEST_CASE("code for Turing, whose tensor cores have no BF16, serves such a model all the same",
          "[cuda][backend]") {
    const OtherDevice restore;
    SECTION("on such a device") {
        simt::device.major = 7;
        simt::device.minor = 5;
    }
    SECTION("on a newer one, from the code for it") {
        simt::device.code = 75;
    }
    const std::vector<std::int32_t> tokens = {5, 9, 2, 7, 1};
    for (const auto dtype : {compute::Dtype::bf16, compute::Dtype::f16}) {
        const auto model = test::tiny_model({.dtype = dtype, .layer_count = 2});
        const auto backend = make_cuda_backend({});
        test::ModelRunner runner(model, **backend, {});
        const auto found = runner.run_chunks(tokens, 5);
        const auto reference = reference::make_reference_backend();
        const auto expected = test::ModelRunner(model, *reference, {}).run_chunks(tokens, 5);
        CHECK(test::median(test::relative_l2_rows(found, expected, model->config().vocab_size)) <
              0.002);
    }
}

}  // namespace
}  // namespace hearth::cuda

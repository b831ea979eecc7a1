// Which norms and rotations go into one kernel with the cache's rows.
#include "kernels/cuda/head_jobs.h"

#include <catch2/catch.hpp>

#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

/// The first run of a plan.
HeadsRun first_run(const compute::Plan& plan) {
    for (std::size_t i = 0; i < plan.operations.size(); ++i) {
        if (auto run = find_heads_run(plan, i)) return std::move(*run);
    }
    return {};
}

TEST_CASE("latent attention: the norm of the latent and both rotations", "[cuda][head_jobs]") {
    const auto model = test::tiny_model({.architecture = "deepseek2"});
    const compute::Plan plan = model->plan(8);
    const HeadsRun run = first_run(plan);
    REQUIRE(run.jobs.size() == 3);
    CHECK(run.jobs[0].norm != nullptr);
    CHECK(run.jobs[0].stores_key);
    CHECK(run.jobs[0].store_column == 0);
    CHECK(run.jobs[1].rope != nullptr);
    CHECK_FALSE(run.jobs[1].stores_key);
    CHECK(run.jobs[2].rope != nullptr);
    CHECK(run.jobs[2].stores_key);
    CHECK(run.jobs[2].store_column == run.jobs[0].head_dim);
}

TEST_CASE("grouped queries: norms and rotations of heads, and the values' rows",
          "[cuda][head_jobs]") {
    const auto model = test::tiny_model({.architecture = "qwen3moe"});
    const compute::Plan plan = model->plan(8);
    const HeadsRun run = first_run(plan);
    REQUIRE(run.jobs.size() == 3);
    for (const int i : {0, 1}) {
        CHECK(run.jobs[static_cast<std::size_t>(i)].norm != nullptr);
        CHECK(run.jobs[static_cast<std::size_t>(i)].rope != nullptr);
    }
    CHECK(run.jobs[1].stores_key);
    CHECK(run.jobs[2].stores_value);
}

TEST_CASE("blocks in Q8_0 that heads share are stored by another kernel", "[cuda][head_jobs]") {
    for (const auto& [hidden_dim, fits] : {std::pair(64, false), {256, true}}) {
        const auto model = test::tiny_model({.architecture = "qwen3moe", .hidden_dim = hidden_dim});
        compute::Plan plan = model->plan(8);
        CHECK_FALSE(first_run(plan).jobs.empty());
        plan.kv.dtype = compute::Dtype::q8_0;
        CHECK(first_run(plan).jobs.empty() == !fits);
    }
}

TEST_CASE("what one kernel cannot do is left to several", "[cuda][head_jobs]") {
    const auto model = test::tiny_model({.architecture = "qwen3moe"});
    compute::Plan plan = model->plan(8);
    const HeadsRun run = first_run(plan);
    const std::size_t first = run.attention - 4;
    REQUIRE(find_heads_run(plan, first));
    SECTION("a norm into another value") {
        auto& norm = std::get<compute::RmsNorm>(plan.operations[first]);
        norm.out = plan.add_value("elsewhere", norm.x.dim);
    }
    SECTION("a norm after its rotation") {
        std::swap(plan.operations[first], plan.operations[first + 2]);
    }
    SECTION("heads of another size") {
        auto& rope = std::get<compute::Rope>(plan.operations[first + 2]);
        rope.heads *= 2;
        rope.head_dim /= 2;
    }
    CHECK_FALSE(find_heads_run(plan, first));
}

}  // namespace
}  // namespace hearth::cuda

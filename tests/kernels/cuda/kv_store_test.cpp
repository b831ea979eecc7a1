// The cache's copies of blocks: one that fails costs the step it belongs to.
#include "kernels/cuda/kv_store.h"

#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/cuda/emulated/cuda_runtime.h"
#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

/// A step of one token, in either way.
Result<void> run_token(compute::Program& program, compute::KvStore& kv, bool is_launched) {
    const std::int32_t zero = 0;
    const std::vector<std::int32_t> blocks = {0};
    const compute::SequenceView sequence{blocks};
    const compute::StepBatch batch{.tokens = {&zero, 1},
                                   .positions = {&zero, 1},
                                   .sequence_of = {&zero, 1},
                                   .sequences = {&sequence, 1},
                                   .logit_rows = {&zero, 1}};
    if (!is_launched) {
        HEARTH_TRY([[maybe_unused]] const auto output, program.run(batch, kv));
        return {};
    }
    const compute::PickOrder order;
    HEARTH_CHECK(program.step_queue()->launch(batch, {&order, 1}, kv));
    HEARTH_TRY([[maybe_unused]] const auto picks, program.step_queue()->collect());
    return {};
}

TEST_CASE("a copy of a block that fails costs the next step and no other", "[cuda][kv_store]") {
    const auto model = test::tiny_model({.layer_count = 1});
    const auto backend = make_cuda_backend({});
    const auto plan = model->plan(4);
    const auto weights = (*backend)->upload(model->weights());
    const auto program = (*backend)->compile(plan, **weights);
    const auto kv = (*backend)->make_kv_store(plan.kv, 2);
    REQUIRE(kv);
    for (const bool is_launched : {false, true}) {
        INFO("launched ahead " << is_launched);
        CHECK(run_token(**program, **kv, is_launched));
        simt::device.copy_2d_error = cudaErrorInvalidValue;
        (*kv)->copy_block(0, 1);
        simt::device.copy_2d_error = cudaSuccess;
        // What comes behind it does not hide it.
        (*kv)->copy_block(1, 0);
        const auto failed = run_token(**program, **kv, is_launched);
        REQUIRE_FALSE(failed);
        CHECK_THAT(failed.error().text, Catch::StartsWith("cudaMemcpy2DAsync failed"));
        CHECK(run_token(**program, **kv, is_launched));
        (*kv)->copy_block(0, 1);
        CHECK(run_token(**program, **kv, is_launched));
    }
}

}  // namespace
}  // namespace hearth::cuda

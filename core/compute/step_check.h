// What the engine promises about a step and programs rely on, in one place for all backends.
#pragma once

#include <cstdint>

#include "core/compute/backend.h"

namespace hearth::compute {

struct StepLimits {
    std::int32_t tokens_max = 0;
    std::int64_t vocab_size = 0;
    std::int32_t block_count = 0;  ///< of the cache
    std::int32_t token_least = 0;  ///< the lowest name of a token: below 0 where rows of the step
                                   ///< before may be named (StepQueue::token_of_row)
    std::int64_t rows_in_dim = 0;  ///< of Plan::rows_in; 0: none
};

/// The first promise that the batch breaks, as a statement that does not hold; null: it keeps all.
const char* broken_promise(const StepBatch& batch, const StepLimits& limits);

/// HEARTH_ASSERT that there is none.
void check_step(const StepBatch& batch, const StepLimits& limits);

}  // namespace hearth::compute

// hearth bench: how fast a model runs on a backend. The measuring apart from the command, for
// tests.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/cli/forward.h"

namespace hearth::cli {

struct BenchSettings {
    std::int32_t prompt_tokens = 512;  ///< 0: prefill is not measured
    std::int32_t decode_tokens = 128;  ///< 0: decode is not measured
    std::int32_t depth = 0;            ///< tokens in the cache before either
    std::int32_t run_count = 5;
};

/// Tokens per second over the runs.
struct Rate {
    double median = 0.0;
    double min = 0.0;
    double max = 0.0;
};

struct BenchResult {
    Rate prefill;
    Rate decode;
};

Rate summarise(std::vector<double> tokens_per_second);

/// Each run is the same work: `prompt_tokens` in steps of kStepTokens, then `decode_tokens` one by
/// one, both right behind `depth`. One run before the first warms up. Tokens are drawn evenly from
/// the vocabulary, so that all experts have their share.
///
/// Errors: those of the backend.
Result<BenchResult> measure(Forward& forward,
                            std::int32_t vocab_size,
                            const BenchSettings& settings,
                            const Clock& clock);

}  // namespace hearth::cli

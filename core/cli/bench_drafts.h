// What drafts of a model's own block for multi-token prediction give: the same answers by two
// engines, one with them and one without.
#pragma once

#include <cstdint>
#include <span>

#include "core/cli/bench.h"
#include "core/engine/engine.h"

namespace hearth::cli {

/// `settings.run_count` greedy answers of decode_tokens behind pieces of `text`, prompt_tokens long
/// and evenly spread over it, by each engine in turn; one more before them warms up.
///
/// Errors: those of the engines; invalid_argument where the text is too short; internal where the
/// two engines do not write the same.
Result<DraftBench> measure_drafts(engine::Engine& with,
                                  engine::Engine& without,
                                  std::span<const std::int32_t> text,
                                  const BenchSettings& settings);

}  // namespace hearth::cli

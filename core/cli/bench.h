// hearth bench: how fast a model runs on a backend. The measuring apart from the command, for
// tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/cli/forward.h"

namespace hearth::cli {

/// What a key asks for.
inline constexpr std::int32_t kKeystrokeTokens = 3;
inline constexpr std::int32_t kKeystrokeAnswerTokens = 24;

struct BenchSettings {
    std::int32_t prompt_tokens = 512;           ///< 0: prefill is not measured
    std::int32_t decode_tokens = 128;           ///< 0: decode is not measured
    std::vector<std::int32_t> depths = {0};     ///< tokens in the cache before; prefill: the first
    std::vector<std::int32_t> sequence_counts;  ///< that decode side by side; each kept below 65
    std::int32_t sequence_depth = 512;          ///< tokens in the cache of each of those
    std::int32_t keystroke_depth = 0;           ///< tokens in the cache before a key; 0: none
    std::int32_t step_tokens = kStepTokens;     ///< of prefill; 0: as many as the engine takes
    compute::Dtype cache_type = compute::Dtype::f16;
    std::int32_t run_count = 5;
};

/// Tokens per second over the runs, or what else is said.
struct Rate {
    double median = 0.0;
    double min = 0.0;
    double max = 0.0;
};

/// Answers with drafts of the model's own block for multi-token prediction, and without.
struct DraftBench {
    Rate with, without;                   ///< tokens per second behind the first of each answer
    std::int64_t drafted = 0, right = 0;  ///< tokens that the block guessed
    std::int32_t answers = 0, answer_tokens = 0, prompt_tokens = 0;

    [[nodiscard]] double ratio() const {
        return without.median > 0.0 ? with.median / without.median : 0.0;
    }
    [[nodiscard]] double share_right() const {
        return drafted > 0 ? static_cast<double>(right) / static_cast<double>(drafted) : 0.0;
    }
};

struct BenchResult {
    Rate prefill;
    std::vector<Rate> decode;      ///< by depth
    std::vector<Rate> waited;      ///< decode where each step is waited for; empty: it always is
    std::vector<Rate> throughput;  ///< by sequence count: of all sequences together
    Rate keystroke_ms;             ///< from a key to the end of its answer
    std::int64_t kernels_per_token = 0;
};

Rate summarise(std::vector<double> values);

/// The longest sequence of `settings`, and what else measuring them takes.
ForwardLimits limits_of(const BenchSettings& settings);

/// Each run is the same work: `prompt_tokens` in steps, then `decode_tokens` one by one behind each
/// depth and in each number of sequences. Where the device picks tokens, decode is launched a step
/// ahead, as in the daemon, and measured once more with each step waited for. One run before the
/// first warms up. Tokens are drawn evenly from the vocabulary and not those that were picked, so
/// that all experts have their share: what random weights write soon goes round in a circle. What
/// lies before a depth comes from Forward::fill_cache. A keystroke is kKeystrokeTokens behind its
/// depth in one step and an answer of kKeystrokeAnswerTokens, the first of which that step picks.
///
/// Errors: those of the backend.
Result<BenchResult> measure(Forward& forward,
                            std::int32_t vocab_size,
                            const BenchSettings& settings,
                            const Clock& clock);

/// What was measured, and on what.
struct BenchReport {
    std::string model, architecture, backend, device;
    std::int64_t weight_bytes = 0;
    std::int64_t cache_bytes = 0;
    std::int64_t device_bytes = 0;     ///< taken on a device with memory of its own; 0: not known
    double made_s = 0.0;               ///< until the weights were at hand: mapped, or made up
    double load_s = 0.0;               ///< from there until the first step could run
    std::int64_t bytes_per_token = 0;  ///< of weights
    std::int64_t cache_bytes_per_token = 0;  ///< that each earlier token adds to that
    double read_bytes_per_s = 0.0;           ///< measured in the same run; 0: not known
    std::int64_t host_expert_bytes = 0;      ///< of experts that stay in the host's memory
    compute::ExpertUses expert_uses = {};    ///< of these
    BenchSettings settings;
    BenchResult result;
    std::optional<DraftBench> drafts = {};

    /// Weights and cache that decode reads per token at `depth`.
    [[nodiscard]] double bytes_at(std::int32_t depth) const {
        return static_cast<double>(bytes_per_token + depth * cache_bytes_per_token);
    }
    /// Of read_bytes_per_s; 0 where that is not known. Above 1 where caches hold what is read.
    [[nodiscard]] double share_at(std::int32_t depth, const Rate& rate) const {
        return read_bytes_per_s > 0.0 ? bytes_at(depth) * rate.median / read_bytes_per_s : 0.0;
    }
    /// Until a prompt of prompt_tokens has its first logits.
    [[nodiscard]] double first_token_ms() const {
        return 1000.0 * settings.prompt_tokens / std::max(result.prefill.median, 1e-9);
    }
};

/// One table, as Markdown.
void print_table(std::ostream& out, const BenchReport& report);
std::string to_json(const BenchReport& report);

}  // namespace hearth::cli

// The training loop: data parallel over threads, bounded by tokens and by time, stopped at any
// step with a checkpoint. Public with it: shape.h, checkpoint.h, dataset.h, math_select.h.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "training/trainer/checkpoint.h"
#include "training/trainer/dataset.h"
#include "training/trainer/model.h"
#include "training/trainer/schedule.h"

namespace hearth::trainer {

struct RunOptions {
    std::string out_folder;  // checkpoints; must exist
    RunLimits limits;
    std::size_t threads = 1;
    std::size_t window_tokens = 512;
    std::size_t step_tokens = 8192;    // of one update
    std::size_t micro_windows = 4;     // windows that one thread passes at once
    std::size_t head_frequent = 1024;  // candidates of the head; see CandidateSampler
    std::size_t head_sampled = 1024;   // 0: the whole vocabulary
    float matrix_rate = 5e-3F;
    float adam_rate = 3e-3F;
    float bias_rate = 5e-3F;
    float gradient_norm_max = 1;
    double z_loss = 1e-4;
    bool experts_only = false;   // routed experts learn, everything else stays as it is
    double bytes_per_token = 0;  // for the log; 0: say nats only
    std::size_t log_steps = 10;
    std::size_t evaluate_steps = 100;
    std::size_t evaluate_windows = 16;
    double checkpoint_seconds = 600;
};

/// The three sets of a run; decay and held-out may be empty.
struct RunData {
    TokenShards train, decay, heldout;
};

/// What the held-out windows cost.
struct Evaluation {
    double nats = 0;
    std::size_t tokens = 0;
    std::size_t bytes = 0;  // of the target tokens; 0 where token_bytes was not given

    [[nodiscard]] double nats_per_token() const;
    [[nodiscard]] double bits_per_byte() const;
};

struct EvaluationOptions {
    std::size_t window_tokens = 512;
    std::size_t windows_max = 16;
    std::span<const std::size_t> token_bytes = {};  // (vocabulary) length of each token's text
};

/// Cross-entropy over windows spread over `shards`.
Evaluation evaluate(const Math<float>& math,
                    const ModelShape& shape,
                    std::span<const float> weights,
                    const TokenShards& shards,
                    const EvaluationOptions& options);

/// `rounded`: the weights as the file will hold them, routed experts rounded to Q4_0.
void round_experts(const ParameterLayout& layout,
                   std::span<const float> weights,
                   std::size_t threads,
                   std::span<float> rounded);
std::vector<float> round_experts(const ParameterLayout& layout, std::span<const float> weights);

enum class RunEnd { complete, stopped };

/// What a stopped or broken run would have gone on to: OUT/unfinished, "tokens_max seconds_max".
/// It lies beside a checkpoint.bin that is not decayed, and there only.   Errors: io, corrupt.
Result<RunLimits> load_unfinished(const std::string& folder);

class Trainer {
  public:
    Trainer(RunOptions options,
            const Math<float>& math,
            RunData data,
            TrainState state,
            Log& log,
            const Clock& clock);

    /// Steps until the limits or until `is_stopped`; writes stable.bin before the decay, and
    /// checkpoint.bin now and then, when stopped and at the end.   Errors: io.
    Result<RunEnd> run(const std::atomic<bool>& is_stopped);

    [[nodiscard]] const TrainState& state() const { return state_; }

  private:
    struct Member {  // what one thread owns
        Model<float> model;
        std::vector<float> gradients;
        std::vector<std::size_t> load;
        double loss = 0;
    };
    struct StepReport {
        double loss = 0;
        double gradient_norm = 0;
    };

    void fill_step(double progress);
    StepReport step(double progress);
    void pass(std::size_t member, std::span<const float> weights);
    double sum_members();
    void report(const StepReport& step, double progress);
    [[nodiscard]] std::string load_spread() const;
    Result<void> save(const char* name);
    Result<void> save_unfinished();

    const RunOptions options_;
    const Math<float>& math_;
    const RunData data_;
    const ParameterLayout layout_;
    const CandidateSampler sampler_;
    TrainState state_;
    std::vector<float> rounded_;  // weights, once experts are rounded
    Log& log_;
    const Clock& clock_;
    std::vector<std::unique_ptr<Member>> members_;
    std::vector<BatchBuffer> micro_batches_;  // of the current step
    double logged_loss_ = 0;
    std::size_t logged_count_ = 0;
    double logged_seconds_ = 0;
};

}  // namespace hearth::trainer

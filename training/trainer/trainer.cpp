#include "training/trainer/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "core/base/assert.h"
#include "core/compute/dequantize.h"
#include "core/compute/dtype.h"
#include "kernels/reference/quantize.h"
#include "training/trainer/optimizer.h"
#include "training/trainer/team.h"

namespace hearth::trainer {
namespace {

constexpr const char* kUnfinished = "/unfinished";

double seconds_between(TimePoint from, TimePoint to) {
    return std::chrono::duration<double>(to - from).count();
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
    char line[256] = {};
    (void)std::snprintf(line, sizeof(line), pattern, values...);
    return line;
}

/// Fewer windows at once where a step has too few for all threads.
RunOptions with_work_for_all(RunOptions options) {
    const std::size_t windows = options.step_tokens / options.window_tokens / options.threads;
    options.micro_windows = std::clamp<std::size_t>(windows, 1, options.micro_windows);
    return options;
}

}  // namespace

double Evaluation::nats_per_token() const {
    return tokens == 0 ? 0 : nats / static_cast<double>(tokens);
}

double Evaluation::bits_per_byte() const {
    return bytes == 0 ? 0 : nats / std::log(2.0) / static_cast<double>(bytes);
}

Evaluation evaluate(const Math<float>& math,
                    const ModelShape& shape,
                    std::span<const float> weights,
                    const TokenShards& shards,
                    const EvaluationOptions& options) {
    constexpr std::size_t kWindows = 4;
    const std::size_t count = shards.window_count(options.window_tokens);
    const std::size_t wanted = std::min(count, options.windows_max);
    Evaluation result;
    if (wanted == 0) return result;
    Model<float> model(shape, math, kWindows, options.window_tokens);
    BatchBuffer batch;
    batch.length = options.window_tokens;
    for (std::size_t i = 0; i < wanted; ++i) {
        batch.append(shards, walk_window(i, count));
        if (batch.window_count < kWindows && i + 1 < wanted) continue;
        result.nats += model.run(weights, {}, batch.view(), {});
        result.tokens += batch.targets.size();
        for (const std::int32_t target : batch.targets) {
            if (!options.token_bytes.empty())
                result.bytes += options.token_bytes[static_cast<std::size_t>(target)];
        }
        batch.clear();
    }
    return result;
}

void round_experts(const ParameterLayout& layout,
                   std::span<const float> weights,
                   std::size_t threads,
                   std::span<float> rounded) {
    HEARTH_ASSERT(rounded.size() == weights.size());
    run_team(threads, [&](std::size_t member) {
        std::vector<std::byte> bytes;
        for (std::size_t i = member; i < layout.parameters.size(); i += threads) {
            const Parameter& p = layout.parameters[i];
            const auto from = weights.subspan(p.offset, p.elements());
            const auto to = rounded.subspan(p.offset, p.elements());
            if (!p.is_routed_expert) {
                std::ranges::copy(from, to.begin());
                continue;
            }
            bytes.resize(static_cast<std::size_t>(
                compute::row_bytes(compute::Dtype::q4_0, static_cast<std::int64_t>(to.size()))));
            reference::quantize(compute::Dtype::q4_0, from, bytes);
            compute::dequantize(compute::Dtype::q4_0, bytes, to);
        }
    });
}

std::vector<float> round_experts(const ParameterLayout& layout, std::span<const float> weights) {
    std::vector<float> rounded(weights.size());
    round_experts(layout, weights, 1, rounded);
    return rounded;
}

Result<RunLimits> load_unfinished(const std::string& folder) {
    const std::string path = folder + kUnfinished;
    std::ifstream file(path);
    if (!file)
        return fail(ErrorCode::io,
                    "cannot open " + path +
                        ": the run there is complete; --tokens or --minutes say "
                        "how far to go on",
                    "trainer");
    RunLimits limits;
    if (!(file >> limits.tokens_max >> limits.seconds_max))
        return fail(ErrorCode::corrupt, path + " wants two numbers, tokens and seconds", "trainer");
    return limits;
}

Trainer::Trainer(RunOptions options,
                 const Math<float>& math,
                 RunData data,
                 TrainState state,
                 Log& log,
                 const Clock& clock)
    : options_(with_work_for_all(std::move(options))),
      math_(math),
      data_(std::move(data)),
      layout_(state.shape),
      sampler_(data_.train, state.shape.vocab_size, options_.head_frequent, options_.head_sampled),
      state_(std::move(state)),
      log_(log),
      clock_(clock) {
    for (std::size_t i = 0; i < options_.threads; ++i) {
        members_.push_back(std::make_unique<Member>(Member{
            Model<float>(state_.shape, math_, options_.micro_windows, options_.window_tokens),
            std::vector<float>(layout_.elements),
            std::vector<std::size_t>(state_.shape.layer_count * state_.shape.expert_count)}));
    }
    const std::size_t micro_tokens = options_.micro_windows * options_.window_tokens;
    micro_batches_.resize(std::max<std::size_t>(1, options_.step_tokens / micro_tokens));
}

/// Draws the windows of one step: from the decay set, if there is one, once the decay has begun.
void Trainer::fill_step(double progress) {
    const bool is_decay =
        progress >= kDecayBegin && data_.decay.window_count(options_.window_tokens) > 0;
    const TokenShards& shards = is_decay ? data_.decay : data_.train;
    std::uint64_t& drawn = is_decay ? state_.decay_windows : state_.train_windows;
    const std::size_t count = shards.window_count(options_.window_tokens);
    for (BatchBuffer& batch : micro_batches_) {
        batch.clear();
        batch.length = options_.window_tokens;
        for (std::size_t i = 0; i < options_.micro_windows; ++i) {
            batch.append(shards, walk_window(drawn++, count));
        }
    }
}

/// The share of one thread in a step: its micro-batches, one after the other.
void Trainer::pass(std::size_t member, std::span<const float> weights) {
    Member& self = *members_[member];
    std::fill(self.gradients.begin(), self.gradients.end(), 0.0F);
    std::fill(self.load.begin(), self.load.end(), std::size_t{0});
    self.loss = 0;
    const std::size_t micro_tokens = options_.micro_windows * options_.window_tokens;
    HeadCandidates candidates;
    PassOptions options;
    options.gradient_scale = 1.0 / static_cast<double>(micro_batches_.size() * micro_tokens);
    options.z_loss = options_.z_loss;
    options.experts_only = options_.experts_only;
    for (std::size_t i = member; i < micro_batches_.size(); i += members_.size()) {
        const TokenBatch batch = micro_batches_[i].view();
        if (options_.head_sampled > 0) {
            sampler_.draw(batch.targets, state_.steps * micro_batches_.size() + i, candidates);
            options.candidates = &candidates;
        }
        self.loss += self.model.run(weights, self.gradients, batch, options);
        const auto load = self.model.expert_load();
        for (std::size_t e = 0; e < load.size(); ++e) {
            self.load[e] += load[e];
        }
    }
}

/// Adds what the other threads found to the first member; each thread adds its share of the
/// gradients. The norm of their sum.
double Trainer::sum_members() {
    Member& first = *members_.front();
    std::vector<double> squares(members_.size());
    run_team(members_.size(), [&](std::size_t member) {
        const std::size_t begin = layout_.elements * member / members_.size();
        const std::size_t count = layout_.elements * (member + 1) / members_.size() - begin;
        float* sum = first.gradients.data() + begin;
        for (std::size_t i = 1; i < members_.size(); ++i) {
            math_.add_scaled(count, 1.0F, members_[i]->gradients.data() + begin, sum);
        }
        squares[member] = static_cast<double>(math_.dot(count, sum, sum));
    });
    for (std::size_t i = 1; i < members_.size(); ++i) {
        const Member& other = *members_[i];
        first.loss += other.loss;
        for (std::size_t e = 0; e < first.load.size(); ++e) {
            first.load[e] += other.load[e];
        }
    }
    return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

Trainer::StepReport Trainer::step(double progress) {
    fill_step(progress);
    if (progress >= kRoundingBegin) {
        rounded_.resize(state_.weights.size());
        round_experts(layout_, state_.weights, members_.size(), rounded_);
    }
    const std::span<const float> weights = rounded_.empty() ? state_.weights : rounded_;
    run_team(members_.size(), [&](std::size_t member) { pass(member, weights); });
    const double gradient_norm = sum_members();
    Member& sum = *members_.front();
    const std::size_t tokens =
        micro_batches_.size() * options_.micro_windows * options_.window_tokens;
    StepReport report;
    report.loss = sum.loss / static_cast<double>(tokens);
    report.gradient_norm = gradient_norm;
    ++state_.steps;
    state_.tokens += tokens;
    if (!std::isfinite(report.gradient_norm)) {
        log_.warning("trainer", "a step gave gradients that are no numbers; it is left out");
        return report;
    }
    const auto factor = static_cast<float>(rate_factor(progress));
    OptimizerStep update;
    update.matrix_rate = options_.matrix_rate * factor;
    update.adam_rate = options_.adam_rate * factor;
    update.gradient_scale = static_cast<float>(
        std::min(1.0, static_cast<double>(options_.gradient_norm_max) / report.gradient_norm));
    update.number = state_.steps;
    update.threads = members_.size();
    update.experts_only = options_.experts_only;
    update_weights(layout_, math_, update, sum.gradients, state_.moments, state_.weights);
    if (!options_.experts_only)
        update_routing_bias(layout_, sum.load, options_.bias_rate * factor, state_.weights);
    return report;
}

/// Largest load of an expert over the mean, per layer of experts.
std::string Trainer::load_spread() const {
    const std::size_t experts = state_.shape.expert_count;
    const std::vector<std::size_t>& load = members_.front()->load;
    std::string text;
    for (std::size_t layer = 0; layer < layout_.layers.size(); ++layer) {
        if (layout_.layers[layer].is_dense) continue;
        std::size_t total = 0;
        std::size_t largest = 0;
        for (std::size_t e = 0; e < experts; ++e) {
            total += load[layer * experts + e];
            largest = std::max(largest, load[layer * experts + e]);
        }
        text += format(text.empty() ? "%.2f" : "/%.2f",
                       static_cast<double>(largest * experts) / static_cast<double>(total));
    }
    return text;
}

void Trainer::report(const StepReport& step, double progress) {
    const double loss = logged_loss_ / static_cast<double>(logged_count_);
    const double rate = static_cast<double>(logged_count_ * micro_batches_.size() *
                                            options_.micro_windows * options_.window_tokens) /
                        std::max(1e-9, state_.seconds - logged_seconds_);
    std::string line = format("step %llu tokens %.3fM progress %.3f loss %.4f",
                              static_cast<unsigned long long>(state_.steps),
                              static_cast<double>(state_.tokens) * 1e-6,
                              progress,
                              loss);
    if (options_.bytes_per_token > 0)
        line += format(" bits/byte ~%.3f", loss / std::log(2.0) / options_.bytes_per_token);
    line += format(" norm %.2f tok/s %.0f rate x%.3f load max/mean ",
                   step.gradient_norm,
                   rate,
                   rate_factor(progress)) +
            load_spread();
    log_.info("trainer", line);
    logged_loss_ = 0;
    logged_count_ = 0;
    logged_seconds_ = state_.seconds;
}

Result<void> Trainer::save(const char* name) {
    return save_checkpoint(state_, options_.out_folder + "/" + name);
}

/// The note comes after its checkpoint: a run that breaks between the two begins anew, and never
/// goes on from a checkpoint that an older run has decayed.
Result<void> Trainer::save_unfinished() {
    HEARTH_CHECK(save("checkpoint.bin"));
    const std::string path = options_.out_folder + kUnfinished;
    std::ofstream file(path);
    file.precision(17);
    file << options_.limits.tokens_max << ' ' << options_.limits.seconds_max << '\n';
    if (!file.flush()) return fail(ErrorCode::io, "cannot write " + path, "trainer");
    return {};
}

Result<RunEnd> Trainer::run(const std::atomic<bool>& is_stopped) {
    const TimePoint started = clock_.now();
    const double seconds_before = state_.seconds;
    double saved_seconds = state_.seconds;
    logged_seconds_ = state_.seconds;
    double progress = options_.limits.progress(static_cast<double>(state_.tokens), state_.seconds);
    while (progress < 1 && !is_stopped) {
        const StepReport done = step(progress);
        logged_loss_ += done.loss;
        ++logged_count_;
        state_.seconds = seconds_before + seconds_between(started, clock_.now());
        const double before = progress;
        progress = options_.limits.progress(static_cast<double>(state_.tokens), state_.seconds);
        if (state_.steps % options_.log_steps == 0) report(done, progress);
        if (state_.steps % options_.evaluate_steps == 0 && !data_.heldout.tokens().empty()) {
            const Evaluation part = evaluate(math_,
                                             state_.shape,
                                             state_.weights,
                                             data_.heldout,
                                             {.window_tokens = options_.window_tokens,
                                              .windows_max = options_.evaluate_windows});
            log_.info("trainer",
                      format("held-out part: %.4f nats per token", part.nats_per_token()));
        }
        if (before < kDecayBegin && progress >= kDecayBegin) HEARTH_CHECK(save("stable.bin"));
        if (state_.seconds - saved_seconds > options_.checkpoint_seconds) {
            HEARTH_CHECK(save_unfinished());
            saved_seconds = state_.seconds;
        }
    }
    if (progress < 1) {
        HEARTH_CHECK(save_unfinished());
        return RunEnd::stopped;
    }
    HEARTH_CHECK(save("checkpoint.bin"));
    std::error_code error;
    std::filesystem::remove(options_.out_folder + kUnfinished, error);
    return RunEnd::complete;
}

}  // namespace hearth::trainer

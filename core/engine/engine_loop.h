// EngineLoop: the loop behind the door. One thread takes arrivals, drops what has ended, admits,
// runs one step of the program, emits, and sleeps when no request is left. Where the device picks
// tokens itself (compute::StepQueue) a step is launched before the tokens of the last one are
// emitted. engine_loop.cpp has its turns, engine_step.cpp what a step computes, engine_emit.cpp
// what comes of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/engine/engine.h"
#include "core/engine/kv_cache.h"
#include "core/engine/predictor.h"
#include "core/engine/sampler.h"
#include "core/engine/scheduler.h"
#include "core/engine/sequence.h"

namespace hearth::engine {

/// How fast prompts are computed, as measured.   Thread: engine.
class PrefillRate {
  public:
    /// A step with fewer tokens says little: each reads most of the weights.
    static constexpr std::int32_t kTokensMin = 128;

    void note(std::int32_t tokens, Duration took);
    [[nodiscard]] double tokens_in(Duration budget) const {
        return tokens_per_second_ * std::chrono::duration<double>(budget).count();
    }

  private:
    static constexpr double kNewest = 0.3;  ///< its part of the mean
    double tokens_per_second_ = 1500.0;     ///< before the first step: two cores, a small model
};

/// What the backend made of the model. The program goes before the weights it was compiled with.
struct Compiled {
    std::shared_ptr<const model::Model> model;
    std::unique_ptr<compute::DeviceWeights> weights;
    std::unique_ptr<compute::Program> program;
    std::unique_ptr<compute::KvStore> kv;
    std::int32_t vocab_size = 0;
};

/// A step with a large piece of a prompt need not end when somebody better has come, or when its
/// own asker has gone or has no more time.
class LongStep final : public compute::StepWatch {
  public:
    explicit LongStep(const Clock& clock) : clock_(clock) {}

    /// Tokens of a prompt from which on a step is worth giving up.
    static constexpr std::int32_t kTokensMin = 64;

    /// The largest piece of the step that begins, or null.   Thread: engine.
    void begin(const Sequence* prompt) {
        prompt_ = prompt;
        is_overtaken_ = false;
    }
    void overtake() { is_overtaken_ = true; }  ///< Thread: any.
    [[nodiscard]] bool is_unwanted() const noexcept override {
        return is_overtaken_ || prompt_->end_reason(clock_.now());
    }

  private:
    const Clock& clock_;
    const Sequence* prompt_ = nullptr;
    std::atomic<bool> is_overtaken_ = false;
};

class EngineLoop final : public Engine {
  public:
    EngineLoop(Compiled compiled,
               std::optional<CompiledBlock> block,
               const EngineLimits& limits,
               const Clock& clock);
    ~EngineLoop() override;

    void start() { thread_ = std::thread(&EngineLoop::run, this); }

    Result<Ticket> submit(Request request) override;
    void cancel(Ticket ticket) override;
    [[nodiscard]] EngineStatus status() const override;
    [[nodiscard]] const EngineLimits& limits() const override { return limits_; }

  private:
    /// Without a key for so long nobody is typing.
    static constexpr Duration kTypingPause = std::chrono::seconds(1);
    /// What a key should wait for at most, of other prompts in steps that run to their end.
    static constexpr Duration kKeyDelayMax = std::chrono::milliseconds(10);
    /// Their tokens in such a step, however slow the device: each step reads most of the weights.
    static constexpr std::int32_t kTypingTokensMin = 32;

    /// One sequence's part of a step that is launched and not yet collected.
    struct Part {
        Sequence* sequence = nullptr;  ///< null once it ended: what comes of it is dropped
        std::int32_t token_count = 0;
        std::int32_t row = 0;  ///< of its first pick
        std::int32_t pick_count = 0;
    };

    struct Flight {
        std::vector<Part> parts;
        TimePoint launched_at;
    };

    [[nodiscard]] Result<void> check(const Request& request) const;
    [[nodiscard]] Result<void> check_asked(const Request& request) const;
    [[nodiscard]] Result<void> check_prompt(const std::vector<std::int32_t>& prompt) const;
    void run();
    bool take_arrivals();
    void step();
    void step_alone();
    void step_ahead(compute::StepQueue& queue);
    void run_and_emit(std::span<const Share> batch);
    void launch(compute::StepQueue& queue, std::span<const Share> batch);
    void collect(compute::StepQueue& queue);
    [[nodiscard]] bool is_gated() const;
    [[nodiscard]] bool is_judging() const;
    [[nodiscard]] Pace pace() const;
    [[nodiscard]] std::int32_t typing_tokens() const;
    void drop_ended();
    void note_admissions();
    void set_prompt(Sequence& sequence, std::vector<std::int32_t> prompt) const;
    void shorten_if_cold(Sequence& sequence);
    void warm_up(std::vector<std::int32_t> prompt);
    compute::StepBatch fill_batch(std::span<const Share> batch);
    Result<compute::StepOutput> run_program(std::span<const Share> batch);
    [[nodiscard]] const compute::StepWatch* watch_long_step(std::span<const Share> batch);
    void abandon(std::span<const Share> batch);
    void make_drafts();
    void predict();
    [[nodiscard]] std::size_t telling_sequences(std::span<const Share> batch) const;
    void store_rows(const compute::StepBatch& step,
                    std::span<const Share> batch,
                    std::span<const float> rows);
    void note_computed(Sequence& sequence, std::int32_t token_count);
    template <typename PickAt>
    void emit_picks(Sequence& sequence,
                    std::int32_t token_count,
                    std::int32_t pick_count,
                    const PickAt& pick_at);
    bool emit_pick(Sequence& sequence, const Pick& pick);
    void judge(Sequence& sequence, std::int32_t token_count, std::span<const float> logits);
    SinkAnswer tell(const Sequence& sequence, const Event& event) noexcept;
    void finish(const Sequence& sequence,
                FinishReason reason,
                const std::optional<TokenEvent>& stop = {});
    void give_up(const Sequence& sequence, const Error& error);
    void give_up_without_logits(const Sequence& sequence);
    std::unique_ptr<Sequence> retire(const Sequence& sequence, Rows rows);
    void finish_all(FinishReason reason);
    void publish_status();

    // Fixed after construction.
    const EngineLimits limits_;
    const Clock& clock_;
    const Compiled compiled_;

    // Engine thread only.
    KvCache cache_;
    Scheduler scheduler_;
    Sampler sampler_;
    EngineStatus counts_;
    std::vector<std::int32_t> tokens_, positions_, sequence_of_, logit_rows_;
    std::vector<compute::SequenceView> views_;
    std::vector<compute::PickOrder> orders_;
    std::vector<const Sequence*> ended_;
    std::deque<Flight> flights_;  ///< launched and not yet collected, oldest first
    TimePoint collected_at_;      ///< the step before the oldest of them
    std::optional<Predictor> predictor_;
    std::vector<Sequence*> predicted_;  ///< in the step that is made
    PrefillRate prefill_rate_;
    Ticket warming_;                   ///< the newest prompt that is computed for later
    std::optional<TimePoint> key_at_;  ///< when the newest keystroke was submitted

    // Guarded by mutex_. Room for all arrivals is taken once.
    mutable Mutex mutex_;
    ConditionVariable arrived_;
    std::vector<std::unique_ptr<Sequence>> arrivals_ HEARTH_GUARDED_BY(mutex_);
    LongStep long_step_;
    /// Of the prompt in it, while one runs that may be given up.
    std::optional<Priority> long_step_priority_ HEARTH_GUARDED_BY(mutex_);
    std::unordered_map<std::uint64_t, CancelSource> unanswered_ HEARTH_GUARDED_BY(mutex_);
    EngineStatus status_ HEARTH_GUARDED_BY(mutex_);
    std::uint64_t last_ticket_ HEARTH_GUARDED_BY(mutex_) = 0;
    bool is_closing_ HEARTH_GUARDED_BY(mutex_) = false;

    std::thread thread_;
};

/// The rows of a step that took `token_count` tokens of a sequence, and what its picks say: they
/// are emitted as long as the draft said the same.
///   pick_at(i)   pick number i of the sequence, asked for in order
template <typename PickAt>
void EngineLoop::emit_picks(Sequence& sequence,
                            std::int32_t token_count,
                            std::int32_t pick_count,
                            const PickAt& pick_at) {
    if (pick_count == 0) return note_computed(sequence, token_count);
    const std::vector<std::int32_t> draft = std::exchange(sequence.draft, {});
    const bool is_predicted = std::exchange(sequence.is_draft_predicted, false) && !draft.empty();
    note_computed(sequence, token_count - pick_count + 1);
    counts_.tokens_drafted += draft.size();
    counts_.tokens_predicted += is_predicted ? draft.size() : 0;
    std::size_t right = 0;
    for (;; ++right, ++counts_.tokens_guessed_right) {
        const Pick pick = pick_at(right);
        if (!emit_pick(sequence, pick)) return;
        if (right == draft.size() || pick.token != draft[right]) break;
        counts_.tokens_predicted_right += is_predicted ? 1 : 0;
        note_computed(sequence, 1);
    }
    if (!draft.empty() && !is_predicted) sequence.lookup.note(draft.size(), right);
    sequence.expects_draft = sequence.picks_in_flight > 0 && limits_.draft_tokens_per_step > 0 &&
                             !sequence.lookup.guess(sequence.tokens, 1).empty();
}

}  // namespace hearth::engine

// A model without arithmetic: its logits are a hash of the tokens that it reads back from the
// key/value store through the block tables. A wrong table, a wrong reuse or a missing copy is a
// wrong text.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/engine/sampler.h"
#include "core/model/model.h"

namespace hearth::test {

inline constexpr std::int32_t kToyVocab = 48;

/// The logits after `tokens`. `memory`: only so many of the last ones count, and the text soon goes
/// round in a circle; 0: all.
inline std::vector<float> toy_logits(std::span<const std::int32_t> tokens, std::size_t memory = 0) {
    if (memory > 0 && memory < tokens.size()) tokens = tokens.last(memory);
    std::uint64_t hash = 14695981039346656037U;
    for (const std::int32_t token : tokens) {
        hash = (hash ^ static_cast<std::uint64_t>(token + 1)) * 1099511628211U;
        hash ^= hash >> 29U;
    }
    std::vector<float> logits;
    for (std::int32_t i = 0; i < kToyVocab; ++i) {
        hash = hash * 6364136223846793005U + 1442695040888963407U;
        logits.push_back(static_cast<float>(hash >> 40U) / 16777216.0F * 8.0F);
    }
    return logits;
}

/// How a test looks into the program, holds it and breaks it.
class ToyControl {
  public:
    /// From now on each step waits for a permit.
    void hold() {
        const LockGuard lock(mutex_);
        is_held_ = true;
    }
    /// Lets `count` held steps go.
    void let(int count) {
        {
            const LockGuard lock(mutex_);
            permits_ += count;
        }
        changed_.notify_all();
    }
    void open() {
        {
            const LockGuard lock(mutex_);
            is_held_ = false;
        }
        changed_.notify_all();
    }
    /// Waits until `count` steps have begun since the start.
    void wait_for_steps(std::size_t count) {
        const LockGuard lock(mutex_);
        while (steps_.size() < count) {
            changed_.wait(mutex_);
        }
    }
    /// Waits until the engine waits for a permit: what is submitted from now on comes together.
    void wait_until_held() {
        const LockGuard lock(mutex_);
        while (!is_waiting_) {
            changed_.wait(mutex_);
        }
    }
    /// The next step returns this error.
    void fail_next(Error error) {
        const LockGuard lock(mutex_);
        failure_ = std::move(error);
    }
    /// The next step throws bad_alloc.
    void run_out_of_memory_next() {
        const LockGuard lock(mutex_);
        is_memory_short_ = true;
    }
    /// Whoever has this token in the sequence gets logits that are not finite.
    void poison(std::int32_t token) {
        const LockGuard lock(mutex_);
        poison_ = token;
    }
    /// Before the first step.
    void set_memory(std::size_t tokens) {
        const LockGuard lock(mutex_);
        memory_ = tokens;
    }
    struct Step {
        std::size_t tokens = 0;
        std::size_t sequences = 0;
    };
    [[nodiscard]] std::vector<Step> steps() const {
        const LockGuard lock(mutex_);
        return steps_;
    }
    /// What the program found wrong with its batches; empty is right.
    [[nodiscard]] std::string faults() const {
        const LockGuard lock(mutex_);
        return faults_;
    }

  private:
    friend class ToyProgram;

    mutable Mutex mutex_;
    ConditionVariable changed_;
    bool is_held_ = false;
    bool is_waiting_ = false;
    std::size_t memory_ = 0;
    int permits_ = 0;
    std::vector<Step> steps_;
    std::optional<Error> failure_;
    bool is_memory_short_ = false;
    std::optional<std::int32_t> poison_;
    std::string faults_;
};

class ToyStore final : public compute::KvStore {
  public:
    explicit ToyStore(std::int32_t block_count) : rows_(static_cast<std::size_t>(block_count)) {}

    [[nodiscard]] std::int32_t block_count() const override {
        return static_cast<std::int32_t>(rows_.size());
    }
    [[nodiscard]] std::int64_t size_bytes() const override { return 0; }
    void copy_block(std::int32_t from, std::int32_t to) override {
        work.emplace_back([this, from, to] {
            rows_.at(static_cast<std::size_t>(to)) = rows_.at(static_cast<std::size_t>(from));
        });
        if (!is_queued) do_work(work.size());
    }
    /// The oldest `count` pieces of work, in order.
    void do_work(std::size_t count) {
        for (; count > 0; --count) {
            work.front()();
            work.pop_front();
        }
    }
    std::int32_t& row(std::span<const std::int32_t> table, std::int32_t position) {
        const auto place = static_cast<std::size_t>(position);
        HEARTH_ASSERT(place / compute::kBlockTokens < table.size());
        return rows_.at(static_cast<std::size_t>(table[place / compute::kBlockTokens]))
            .at(place % compute::kBlockTokens);
    }

    bool is_queued = false;  ///< copies wait for their turn among the steps
    std::deque<std::function<void()>> work;

  private:
    std::vector<std::array<std::int32_t, compute::kBlockTokens>> rows_;
};

class ToyProgram final : public compute::Program, public compute::StepQueue {
  public:
    ToyProgram(ToyControl& control, std::int32_t tokens_max, bool is_queued)
        : control_(control),
          tokens_max_(static_cast<std::size_t>(tokens_max)),
          is_queued_(is_queued) {}

    compute::StepQueue* step_queue() override { return is_queued_ ? this : nullptr; }

    Result<compute::StepOutput> run(const compute::StepBatch& batch,
                                    compute::KvStore& kv) override {
        const LockGuard lock(control_.mutex_);
        note_step(batch);
        if (!wait_for_permit(batch.watch)) {
            spoil_rows(batch, static_cast<ToyStore&>(kv));
            return fail(ErrorCode::cancelled, "nobody waits for the toy");
        }
        if (std::exchange(control_.is_memory_short_, false)) throw std::bad_alloc();
        if (auto failure = std::exchange(control_.failure_, std::nullopt)) return fail(*failure);
        compute_rows(batch, static_cast<ToyStore&>(kv));
        return compute::StepOutput{logits_};
    }

    Result<void> launch(const compute::StepBatch& batch,
                        std::span<const compute::PickOrder> orders,
                        compute::KvStore& kv) override {
        const LockGuard lock(control_.mutex_);
        note_step(batch);
        if (std::exchange(control_.is_memory_short_, false)) throw std::bad_alloc();
        if (orders.size() != batch.logit_rows.size()) control_.faults_ += "rows without orders; ";
        if (++in_flight_ > kStepsMax) control_.faults_ += "too many steps launched; ";
        store_ = &static_cast<ToyStore&>(kv);
        store_->is_queued = true;
        store_->work.emplace_back([this, step = Step(batch, orders)] { compute_step(step); });
        step_ends_.push_back(store_->work.size());
        return {};
    }

    /// Nothing is computed before somebody asks for it: whoever counts on an early result is wrong.
    Result<std::span<const compute::Pick>> collect() override {
        const LockGuard lock(control_.mutex_);
        wait_for_permit(nullptr);
        --in_flight_;
        const std::size_t count = step_ends_.front();
        step_ends_.pop_front();
        for (std::size_t& end : step_ends_) {
            end -= count;
        }
        store_->do_work(count);
        if (auto failure = std::exchange(control_.failure_, std::nullopt)) return fail(*failure);
        return std::span<const compute::Pick>(picks_);
    }

    [[nodiscard]] std::int64_t bytes_per_token() const override { return 0; }

  private:
    /// A batch that outlives its call.
    struct Step {
        Step(const compute::StepBatch& batch, std::span<const compute::PickOrder> picked)
            : tokens(batch.tokens.begin(), batch.tokens.end()),
              positions(batch.positions.begin(), batch.positions.end()),
              sequence_of(batch.sequence_of.begin(), batch.sequence_of.end()),
              logit_rows(batch.logit_rows.begin(), batch.logit_rows.end()),
              orders(picked.begin(), picked.end()) {
            for (const compute::SequenceView& sequence : batch.sequences) {
                tables.emplace_back(sequence.block_table.begin(), sequence.block_table.end());
            }
            for (const compute::PickOrder& order : orders) {
                auto& mask = masks.emplace_back(compute::mask_words(kToyVocab));
                if (order.allowed != nullptr) std::copy_n(order.allowed, mask.size(), mask.begin());
            }
        }
        std::vector<std::int32_t> tokens, positions, sequence_of, logit_rows;
        std::vector<std::vector<std::int32_t>> tables;
        std::vector<compute::PickOrder> orders;
        std::vector<std::vector<std::uint32_t>> masks;
    };

    void note_step(const compute::StepBatch& batch) HEARTH_REQUIRES(control_.mutex_) {
        control_.steps_.push_back({batch.tokens.size(), batch.sequences.size()});
        control_.changed_.notify_all();
        if (batch.tokens.size() > tokens_max_) control_.faults_ += "too many tokens in a step; ";
    }

    /// False when the step is no longer wanted.
    bool wait_for_permit(const compute::StepWatch* watch) HEARTH_REQUIRES(control_.mutex_) {
        control_.is_waiting_ = true;
        control_.changed_.notify_all();
        while (control_.is_held_ && control_.permits_ == 0) {
            if (watch == nullptr) {
                control_.changed_.wait(control_.mutex_);
                continue;
            }
            // Nobody tells of a flag that was raised.
            if (watch->is_unwanted()) {
                control_.is_waiting_ = false;
                return false;
            }
            const TimePoint soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
            control_.changed_.wait_until(control_.mutex_, soon);
        }
        control_.is_waiting_ = false;
        if (control_.is_held_) --control_.permits_;
        return watch == nullptr || !watch->is_unwanted();
    }

    /// What a step that was given up leaves behind.
    static void spoil_rows(const compute::StepBatch& batch, ToyStore& store) {
        for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
            const auto sequence = static_cast<std::size_t>(batch.sequence_of[i]);
            store.row(batch.sequences[sequence].block_table, batch.positions[i]) = -7;
        }
    }

    void compute_step(const Step& step) HEARTH_REQUIRES(control_.mutex_) {
        std::vector<std::int32_t> tokens = step.tokens;
        for (std::int32_t& token : tokens) {
            if (token >= 0) continue;
            const auto row = static_cast<std::size_t>(token_of_row(token));
            token = row < picks_.size() ? picks_[row].token : 0;
            if (row >= picks_.size()) control_.faults_ += "a token of a row that there is not; ";
        }
        std::vector<compute::SequenceView> views;
        for (const auto& table : step.tables) {
            views.push_back({table});
        }
        compute_rows({tokens, step.positions, step.sequence_of, views, step.logit_rows}, *store_);
        picks_.clear();
        for (std::size_t row = 0; row < step.orders.size(); ++row) {
            compute::PickOrder order = step.orders[row];
            if (order.allowed != nullptr) order.allowed = step.masks[row].data();
            picks_.push_back(
                sampler_.pick(std::span(logits_).subspan(row * kToyVocab, kToyVocab), order));
        }
    }

    void compute_rows(const compute::StepBatch& batch, ToyStore& store)
        HEARTH_REQUIRES(control_.mutex_) {
        const auto table = [&](std::size_t i) {
            return batch.sequences[static_cast<std::size_t>(batch.sequence_of[i])].block_table;
        };
        std::set<const std::int32_t*> written;
        for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
            std::int32_t& row = store.row(table(i), batch.positions[i]);
            if (!written.insert(&row).second) control_.faults_ += "two wrote one row; ";
            row = batch.tokens[i];
        }
        logits_.clear();
        for (const std::int32_t wanted : batch.logit_rows) {
            const auto i = static_cast<std::size_t>(wanted);
            std::vector<std::int32_t> tokens;
            bool is_poisoned = false;
            for (std::int32_t position = 0; position <= batch.positions[i]; ++position) {
                tokens.push_back(store.row(table(i), position));
                is_poisoned = is_poisoned || control_.poison_ == tokens.back();
            }
            std::vector<float> logits = toy_logits(tokens, control_.memory_);
            if (is_poisoned) logits[kToyVocab / 2] = std::numeric_limits<float>::quiet_NaN();
            logits_.insert(logits_.end(), logits.begin(), logits.end());
        }
    }

    ToyControl& control_;
    const std::size_t tokens_max_;
    const bool is_queued_;
    std::vector<float> logits_;
    // Of the queue.
    ToyStore* store_ = nullptr;
    std::size_t in_flight_ = 0;
    std::deque<std::size_t> step_ends_;  ///< in the store's work, one behind each launched step
    std::vector<compute::Pick> picks_;   ///< of the last computed step
    engine::Sampler sampler_{kToyVocab};
};

class ToyBackend final : public compute::Backend {
  public:
    explicit ToyBackend(ToyControl& control) : control_(control) {}

    [[nodiscard]] std::string_view name() const override { return "toy"; }
    [[nodiscard]] std::string description() const override { return "no device"; }
    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const compute::Tensor> /*weights*/) override {
        ++uploads;
        return std::make_unique<compute::DeviceWeights>();
    }
    Result<std::unique_ptr<compute::Program>> compile(
        const compute::Plan& plan, compute::DeviceWeights& /*weights*/) override {
        tokens_max = plan.tokens_max;
        return std::unique_ptr<compute::Program>(
            std::make_unique<ToyProgram>(control_, plan.tokens_max, is_queued));
    }
    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& /*layout*/,
                                                            std::int32_t block_count) override {
        if (is_memory_short) return fail(ErrorCode::out_of_memory, "no room for the toy's cache");
        return std::unique_ptr<compute::KvStore>(std::make_unique<ToyStore>(block_count));
    }

    int uploads = 0;
    std::int32_t tokens_max = 0;
    bool is_memory_short = false;
    bool is_queued = false;  ///< its programs pick tokens themselves

  private:
    ToyControl& control_;
};

/// The least Plan that is one: embed, attend, head. Nobody runs it.
class ToyModel final : public model::Model {
  public:
    ToyModel() : table_(static_cast<std::size_t>(kToyVocab * kDim)) {
        config_.architecture = "toy";
        config_.vocab_size = kToyVocab;
        weights_.push_back(
            {"table", compute::Dtype::f32, {kToyVocab, kDim}, std::as_bytes(std::span(table_))});
    }

    [[nodiscard]] const model::ModelConfig& config() const override { return config_; }
    [[nodiscard]] std::span<const compute::Tensor> weights() const override { return weights_; }
    [[nodiscard]] compute::Plan plan(std::int32_t tokens_max) const override {
        compute::Plan plan;
        plan.tokens_max = tokens_max;
        plan.vocab_size = kToyVocab;
        plan.kv = {.layer_count = 1, .key_dim = kDim, .value_dim = kDim};
        const compute::Slice x = plan.add_value("x", kDim);
        const compute::Slice attended = plan.add_value("attended", kDim);
        plan.operations.emplace_back(compute::Embed{.table = is_broken ? 7 : 0, .out = x});
        plan.operations.emplace_back(compute::AttentionGqa{.q = x,
                                                           .k = x,
                                                           .v = x,
                                                           .out = attended,
                                                           .layer = 0,
                                                           .heads = 1,
                                                           .kv_heads = 1,
                                                           .head_dim = kDim,
                                                           .value_dim = kDim,
                                                           .scale = 1.0F});
        plan.operations.emplace_back(compute::Logits{.x = attended, .weight = 0});
        return plan;
    }
    [[nodiscard]] const formats::GgufFile& file() const override {
        assert_failed("the toy comes from no file", __FILE__, __LINE__);
    }

    void set_context_length(std::int32_t tokens) { config_.context_length = tokens; }
    bool is_broken = false;  ///< its plan names a weight that there is not

  private:
    static constexpr std::int64_t kDim = 4;

    model::ModelConfig config_;
    std::vector<float> table_;
    std::vector<compute::Tensor> weights_;
};

}  // namespace hearth::test

// The loop behind the door. One thread takes arrivals, drops what has ended, admits, runs one step
// of the program, emits, and sleeps when no request is left. Where the device picks tokens itself
// (compute::StepQueue) a step is launched before the tokens of the last one are emitted.
#include "core/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/base/thread.h"
#include "core/engine/kv_cache.h"
#include "core/engine/sampler.h"
#include "core/engine/scheduler.h"
#include "core/engine/sequence.h"

namespace hearth::engine {
namespace {

using compute::kBlockTokens;

/// What the backend made of the model. The program goes before the weights it was compiled with.
struct Compiled {
    std::shared_ptr<const model::Model> model;
    std::unique_ptr<compute::DeviceWeights> weights;
    std::unique_ptr<compute::Program> program;
    std::unique_ptr<compute::KvStore> kv;
    std::int32_t vocab_size = 0;
};

Failure refuse(std::string text) {
    return fail(ErrorCode::invalid_argument, std::move(text), "engine");
}

Result<void> check_sampling(const SamplingSettings& sampling) {
    if (!std::isfinite(sampling.temperature) || sampling.temperature < 0.0F) {
        return refuse("the temperature has to be 0 or more");
    }
    if (sampling.top_k < 0) return refuse("top_k has to be 0 (all) or more");
    if (!(sampling.top_p > 0.0F && sampling.top_p <= 1.0F)) {
        return refuse("top_p has to be above 0 and at most 1");
    }
    if (!(sampling.min_p >= 0.0F && sampling.min_p <= 1.0F)) {
        return refuse("min_p has to be between 0 and 1");
    }
    return {};
}

/// What `run` returns; an error where it ran out of memory.
template <typename Run>
auto refuse_when_memory_is_short(const Run& run) -> decltype(run()) {
    try {
        return run();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::out_of_memory,
                    "memory ran out in the middle of a step; close other programs, or lower "
                    "prefill_tokens_per_step",
                    "engine");
    }
}

class EngineLoop final : public Engine {
  public:
    EngineLoop(Compiled compiled, const EngineLimits& limits, const Clock& clock);
    ~EngineLoop() override;

    void start() { thread_ = std::thread(&EngineLoop::run, this); }

    Result<Ticket> submit(Request request) override;
    void cancel(Ticket ticket) override;
    [[nodiscard]] EngineStatus status() const override;
    [[nodiscard]] const EngineLimits& limits() const override { return limits_; }

  private:
    /// One sequence's part of a step that is launched and not yet collected.
    struct Part {
        Sequence* sequence = nullptr;  ///< null once it ended: what comes of it is dropped
        std::int32_t token_count = 0;
        std::int32_t row = 0;  ///< of its first pick
        std::int32_t pick_count = 0;
    };

    [[nodiscard]] Result<void> check(const Request& request) const;
    void run();
    bool take_arrivals();
    void step();
    void step_ahead(compute::StepQueue& queue);
    void run_and_emit(std::span<const Share> batch);
    void launch(compute::StepQueue& queue, std::span<const Share> batch);
    void collect(compute::StepQueue& queue);
    [[nodiscard]] bool is_gated() const;
    void drop_ended();
    void note_admissions();
    compute::StepBatch fill_batch(std::span<const Share> batch);
    Result<compute::StepOutput> run_program(std::span<const Share> batch);
    void make_drafts();
    void note_computed(Sequence& sequence, std::int32_t token_count);
    template <typename PickAt>
    void emit_picks(Sequence& sequence,
                    std::int32_t token_count,
                    std::int32_t pick_count,
                    const PickAt& pick_at);
    bool emit_pick(Sequence& sequence, const Pick& pick);
    SinkAnswer tell(const Sequence& sequence, const Event& event) noexcept;
    void finish(const Sequence& sequence, FinishReason reason);
    void give_up(const Sequence& sequence, const Error& error);
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
    std::deque<std::vector<Part>> flights_;  ///< launched and not yet collected, oldest first

    // Guarded by mutex_. Room for all arrivals is taken once.
    mutable Mutex mutex_;
    ConditionVariable arrived_;
    std::vector<std::unique_ptr<Sequence>> arrivals_ HEARTH_GUARDED_BY(mutex_);
    std::unordered_map<std::uint64_t, CancelSource> unanswered_ HEARTH_GUARDED_BY(mutex_);
    EngineStatus status_ HEARTH_GUARDED_BY(mutex_);
    std::uint64_t last_ticket_ HEARTH_GUARDED_BY(mutex_) = 0;
    bool is_closing_ HEARTH_GUARDED_BY(mutex_) = false;

    std::thread thread_;
};

EngineLoop::EngineLoop(Compiled compiled, const EngineLimits& limits, const Clock& clock)
    : limits_(limits),
      clock_(clock),
      compiled_(std::move(compiled)),
      cache_(compiled_.kv->block_count(),
             [this](std::int32_t from, std::int32_t to) { compiled_.kv->copy_block(from, to); }),
      scheduler_(cache_,
                 {limits.queue_max,
                  limits.sequences_max,
                  limits.prefill_tokens_per_step,
                  limits.draft_tokens_per_step}),
      sampler_(compiled_.vocab_size) {
    arrivals_.reserve(static_cast<std::size_t>(limits.queue_max));
    publish_status();
}

EngineLoop::~EngineLoop() {
    {
        const LockGuard lock(mutex_);
        is_closing_ = true;
    }
    arrived_.notify_all();
    thread_.join();
}

Result<void> EngineLoop::check(const Request& request) const {
    if (!request.sink) return refuse("a request needs a sink");
    if (request.prompt.empty()) return refuse("the prompt is empty");
    if (request.tokens_max < 1) return refuse("tokens_max has to be at least 1");
    const std::size_t prompt_max = static_cast<std::size_t>(limits_.context_tokens_max) - 1;
    if (request.prompt.size() > prompt_max) {
        return fail(ErrorCode::too_large,
                    "the prompt has " + std::to_string(request.prompt.size()) +
                        " tokens; at most " + std::to_string(prompt_max) +
                        " fit into the context with one token of answer",
                    "engine");
    }
    for (const std::int32_t token : request.prompt) {
        if (token < 0 || token >= compiled_.vocab_size) {
            return refuse("token " + std::to_string(token) + " of the prompt is not one of the " +
                          std::to_string(compiled_.vocab_size) + " of the vocabulary");
        }
    }
    return check_sampling(request.sampling);
}

Result<Ticket> EngineLoop::submit(Request request) {
    HEARTH_CHECK(check(request));
    auto sequence = std::make_unique<Sequence>();
    sequence->tokens = std::move(request.prompt);
    sequence->usage.prompt_tokens = sequence->token_count();
    sequence->tokens.reserve(
        std::min(sequence->tokens.size() + static_cast<std::size_t>(request.tokens_max),
                 static_cast<std::size_t>(limits_.context_tokens_max)));
    sequence->length_max =
        std::min(limits_.context_tokens_max - request.tokens_max, sequence->token_count()) +
        request.tokens_max;
    sequence->request = std::move(request);
    sequence->submitted_at = clock_.now();
    Ticket ticket;
    {
        const LockGuard lock(mutex_);
        if (is_closing_) {
            return fail(ErrorCode::unavailable, "the engine is shutting down", "engine");
        }
        if (status_.waiting + static_cast<std::int32_t>(arrivals_.size()) >= limits_.queue_max) {
            return fail(ErrorCode::unavailable,
                        "all " + std::to_string(limits_.queue_max) +
                            " places of the engine's queue are taken; try again later",
                        "engine");
        }
        ticket.id = ++last_ticket_;
        CancelSource source;
        sequence->ticket = ticket;
        sequence->ticket_cancel = source.token();
        unanswered_.emplace(ticket.id, std::move(source));
        arrivals_.push_back(std::move(sequence));
    }
    arrived_.notify_one();
    return ticket;
}

void EngineLoop::cancel(Ticket ticket) {
    // No wake-up: as long as anything is unanswered the loop steps on and looks.
    const LockGuard lock(mutex_);
    const auto found = unanswered_.find(ticket.id);
    if (found != unanswered_.end()) found->second.cancel();
}

EngineStatus EngineLoop::status() const {
    const LockGuard lock(mutex_);
    EngineStatus status = status_;
    status.waiting += static_cast<std::int32_t>(arrivals_.size());
    return status;
}

void EngineLoop::run() {
    name_thread(Thread::engine);
    while (take_arrivals()) {
        step();
    }
    finish_all(FinishReason::cancelled);
}

/// Sleeps until there is something to do. False when the engine closes.
bool EngineLoop::take_arrivals() {
    const LockGuard lock(mutex_);
    while (scheduler_.is_empty() && flights_.empty() && arrivals_.empty() && !is_closing_) {
        arrived_.wait(mutex_);
    }
    for (auto& sequence : arrivals_) {
        scheduler_.enqueue(std::move(sequence));
    }
    arrivals_.clear();
    status_.waiting = static_cast<std::int32_t>(scheduler_.waiting().size());
    return !is_closing_;
}

void EngineLoop::step() {
    try {
        drop_ended();
        if (auto* queue = compiled_.program->step_queue()) {
            step_ahead(*queue);
        } else {
            scheduler_.admit();
            note_admissions();
            publish_status();
            make_drafts();
            run_and_emit(scheduler_.next_batch());
        }
    } catch (const std::bad_alloc&) {
        const Error error{ErrorCode::out_of_memory,
                          "memory ran out in the middle of a step; close other programs, or lower "
                          "the context and the number of sequences",
                          "engine"};
        while (!scheduler_.running().empty()) {
            give_up(*scheduler_.running().back(), error);
        }
    }
    publish_status();
}

/// At most one step ahead. Whoever comes in, makes way or follows a guide needs to know all tokens,
/// so the launched steps are collected first.
void EngineLoop::step_ahead(compute::StepQueue& queue) {
    while (!flights_.empty() && (!scheduler_.is_settled() || is_gated())) {
        collect(queue);
    }
    scheduler_.admit();
    note_admissions();
    publish_status();
    make_drafts();
    const std::span<const Share> batch = scheduler_.next_batch();
    if (!batch.empty()) launch(queue, batch);
    if (flights_.size() == compute::StepQueue::kStepsMax || (batch.empty() && !flights_.empty())) {
        collect(queue);
    }
}

void EngineLoop::run_and_emit(std::span<const Share> batch) {
    if (batch.empty()) return;
    ++counts_.steps;
    const Result<compute::StepOutput> output = run_program(batch);
    if (!output) {
        for (const Share& share : batch) {
            give_up(*share.sequence, output.error());
        }
        return;
    }
    const auto vocab_size = static_cast<std::size_t>(compiled_.vocab_size);
    HEARTH_ASSERT(output->logits.size() == logit_rows_.size() * vocab_size);
    std::size_t row = 0;
    for (const Share& share : batch) {
        Sequence& sequence = *share.sequence;
        const std::int32_t pick_count = sequence.picks_of(share.token_count);
        const auto logits = output->logits.subspan(row * vocab_size);
        emit_picks(sequence, share.token_count, pick_count, [&](std::size_t i) {
            return sampler_.pick(logits.subspan(i * vocab_size, vocab_size), sequence.pick_order());
        });
        row += static_cast<std::size_t>(pick_count);
    }
}

void EngineLoop::launch(compute::StepQueue& queue, std::span<const Share> batch) {
    ++counts_.steps;
    std::vector<Part> parts;
    parts.reserve(batch.size());
    orders_.clear();
    const compute::StepBatch step = fill_batch(batch);
    std::int32_t row = 0;
    for (const Share& share : batch) {
        const Sequence& sequence = *share.sequence;
        const std::int32_t pick_count = sequence.picks_of(share.token_count);
        parts.push_back({share.sequence, share.token_count, row, pick_count});
        row += pick_count;
        for (std::int32_t i = 0; i < pick_count; ++i) {
            orders_.push_back(sequence.pick_order());
            orders_.back().position += i;
        }
    }
    flights_.push_back(std::move(parts));
    const Result<void> launched =
        refuse_when_memory_is_short([&] { return queue.launch(step, orders_, *compiled_.kv); });
    if (!launched) {
        flights_.pop_back();
        for (const Share& share : batch) {
            give_up(*share.sequence, launched.error());
        }
        return;
    }
    for (const Part& part : flights_.back()) {
        part.sequence->rows_in_flight += part.token_count;
        if (part.pick_count == 0) continue;
        ++part.sequence->picks_in_flight;
        part.sequence->newest_row = part.row;
    }
}

void EngineLoop::collect(compute::StepQueue& queue) {
    const std::vector<Part> parts = std::move(flights_.front());
    flights_.pop_front();
    // Ends that are told below strike out the parts of steps launched later, not of this copy: each
    // sequence has one part in it.
    const Result<std::span<const Pick>> picks = queue.collect();
    for (const Part& part : parts) {
        if (part.sequence == nullptr) continue;
        Sequence& sequence = *part.sequence;
        sequence.rows_in_flight -= part.token_count;
        if (part.pick_count > 0) --sequence.picks_in_flight;
        if (!picks) {
            give_up(sequence, picks.error());
            continue;
        }
        const auto own = picks->subspan(static_cast<std::size_t>(part.row));
        emit_picks(
            sequence, part.token_count, part.pick_count, [&](std::size_t i) { return own[i]; });
    }
}

bool EngineLoop::is_gated() const {
    return std::ranges::any_of(scheduler_.running(),
                               [](const auto& sequence) { return sequence->is_gated(); });
}

void EngineLoop::drop_ended() {
    const TimePoint now = clock_.now();
    for (const auto* queue : {&scheduler_.waiting(), &scheduler_.running()}) {
        ended_.clear();
        for (const auto& sequence : *queue) {
            if (sequence->end_reason(now)) ended_.push_back(sequence.get());
        }
        for (const Sequence* sequence : ended_) {
            finish(*sequence, *sequence->end_reason(now));
        }
    }
}

void EngineLoop::note_admissions() {
    const TimePoint now = clock_.now();
    for (const auto& sequence : scheduler_.running()) {
        if (sequence->admitted_at) continue;
        sequence->admitted_at = now;
        sequence->usage.queue_ms = to_ms(now - sequence->submitted_at);
        sequence->usage.cached_tokens = sequence->table.computed_tokens;
        counts_.tokens_cached += static_cast<std::uint64_t>(sequence->table.computed_tokens);
    }
}

/// A known token, one of the draft behind them, or the one that a launched step picks.
std::int32_t token_at(const Sequence& sequence, std::int32_t position) {
    const auto at = static_cast<std::size_t>(position);
    if (at < sequence.tokens.size()) return sequence.tokens[at];
    if (sequence.picks_in_flight > 0) {
        return compute::StepQueue::token_of_row(sequence.newest_row);
    }
    return sequence.draft.at(at - sequence.tokens.size());
}

compute::StepBatch EngineLoop::fill_batch(std::span<const Share> batch) {
    tokens_.clear();
    positions_.clear();
    sequence_of_.clear();
    logit_rows_.clear();
    views_.clear();
    for (const Share& share : batch) {
        const Sequence& sequence = *share.sequence;
        const std::int32_t end = sequence.launched_tokens() + share.token_count;
        for (std::int32_t i = sequence.launched_tokens(); i < end; ++i) {
            tokens_.push_back(token_at(sequence, i));
            positions_.push_back(i);
            sequence_of_.push_back(static_cast<std::int32_t>(views_.size()));
            if (i + 1 >= sequence.length()) {
                logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - 1);
            }
        }
        views_.push_back({sequence.table.blocks});
    }
    return {tokens_, positions_, sequence_of_, views_, logit_rows_};
}

Result<compute::StepOutput> EngineLoop::run_program(std::span<const Share> batch) {
    const compute::StepBatch step = fill_batch(batch);
    return refuse_when_memory_is_short([&] { return compiled_.program->run(step, *compiled_.kv); });
}

/// The next `token_count` rows of a sequence are in the cache.
void EngineLoop::note_computed(Sequence& sequence, std::int32_t token_count) {
    const std::int32_t before = sequence.table.computed_tokens;
    cache_.commit(sequence.tokens, sequence.table, before + token_count);
    const std::int32_t prompt_left = sequence.usage.prompt_tokens - before;
    counts_.tokens_prefilled += static_cast<std::uint64_t>(std::clamp(prompt_left, 0, token_count));
}

/// A guess for every sequence whose next token it could follow.
void EngineLoop::make_drafts() {
    for (const auto& sequence : scheduler_.running()) {
        if (!sequence->is_ready_for_draft()) continue;
        // One token less than may come: the step picks one behind the draft.
        const auto room = static_cast<std::size_t>(sequence->length_max - sequence->length() - 1);
        const auto guess = sequence->lookup.guess(
            sequence->tokens, limits_.draft_tokens_per_step > 0 ? room : std::size_t{0});
        sequence->draft.assign(guess.begin(), guess.end());
        // It held up a step that could have been launched ahead.
        if (sequence->expects_draft && guess.empty()) sequence->lookup.note(1, 0);
        sequence->expects_draft = false;
    }
}

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
    note_computed(sequence, token_count - pick_count + 1);
    counts_.tokens_drafted += draft.size();
    std::size_t right = 0;
    for (;; ++right, ++counts_.tokens_guessed_right) {
        const Pick pick = pick_at(right);
        if (!emit_pick(sequence, pick)) return;
        if (right == draft.size() || pick.token != draft[right]) break;
        note_computed(sequence, 1);
    }
    if (!draft.empty()) sequence.lookup.note(draft.size(), right);
    sequence.expects_draft = sequence.picks_in_flight > 0 && limits_.draft_tokens_per_step > 0 &&
                             !sequence.lookup.guess(sequence.tokens, 1).empty();
}

/// False: the sequence has ended and is gone.
bool EngineLoop::emit_pick(Sequence& sequence, const Pick& pick) {
    const TimePoint now = clock_.now();
    const auto end = [&](FinishReason reason) {
        finish(sequence, reason);
        return false;
    };
    if (const auto reason = sequence.end_reason(now)) return end(*reason);
    if (pick.token == Pick::kNotFinite) {
        give_up(sequence,
                {ErrorCode::internal,
                 "the model produced a number that is not finite for token " +
                     std::to_string(sequence.token_count()) +
                     " of its sequence; check the model file, or try another backend",
                 "engine"});
        return false;
    }
    const Request& request = sequence.request;
    if (std::ranges::find(request.stop_tokens, pick.token) != request.stop_tokens.end()) {
        return end(FinishReason::stop_token);
    }
    sequence.tokens.push_back(pick.token);
    if (request.guide != nullptr) request.guide->accept(pick.token);
    Usage& usage = sequence.usage;
    if (++usage.generated_tokens == 1) usage.first_token_ms = to_ms(now - sequence.submitted_at);
    ++counts_.tokens_generated;
    const SinkAnswer answer = tell(sequence, TokenEvent{pick.token, pick.probability});
    if (answer == SinkAnswer::enough) return end(FinishReason::sink_enough);
    if (sequence.token_count() == sequence.length_max) return end(FinishReason::tokens_max);
    return true;
}

/// A sink that throws has had enough: what its exception says is its owner's affair.
SinkAnswer EngineLoop::tell(const Sequence& sequence, const Event& event) noexcept {
    try {
        return sequence.request.sink(event);
    } catch (...) {
        return SinkAnswer::enough;
    }
}

void EngineLoop::finish(const Sequence& sequence, FinishReason reason) {
    const std::unique_ptr<Sequence> ended = retire(sequence, Rows::keep);
    ended->usage.total_ms = to_ms(clock_.now() - ended->submitted_at);
    if (!ended->admitted_at) ended->usage.queue_ms = ended->usage.total_ms;
    tell(*ended, FinishedEvent{reason, ended->usage});
}

void EngineLoop::give_up(const Sequence& sequence, const Error& error) {
    const std::unique_ptr<Sequence> ended = retire(sequence, Rows::distrust);
    tell(*ended, FailedEvent{error});
}

/// Takes the sequence out of everything, so that whoever hears of its end finds it ended.
std::unique_ptr<Sequence> EngineLoop::retire(const Sequence& sequence, Rows rows) {
    for (std::vector<Part>& parts : flights_) {
        const auto part = std::ranges::find(parts, &sequence, &Part::sequence);
        if (part != parts.end()) part->sequence = nullptr;
    }
    std::unique_ptr<Sequence> retired = scheduler_.retire(sequence, rows);
    ++counts_.requests_finished;
    publish_status();
    const LockGuard lock(mutex_);
    unanswered_.erase(retired->ticket.id);
    return retired;
}

void EngineLoop::finish_all(FinishReason reason) {
    while (!scheduler_.running().empty()) {
        finish(*scheduler_.running().back(), reason);
    }
    while (!scheduler_.waiting().empty()) {
        finish(*scheduler_.waiting().back(), reason);
    }
}

void EngineLoop::publish_status() {
    counts_.waiting = static_cast<std::int32_t>(scheduler_.waiting().size());
    counts_.running = static_cast<std::int32_t>(scheduler_.running().size());
    counts_.cache_blocks = cache_.block_count();
    counts_.cache_blocks_free = cache_.idle_count();
    counts_.expert_uses = compiled_.program->expert_uses();
    const LockGuard lock(mutex_);
    status_ = counts_;
}

/// The limits as this model and this cache allow them.
Result<EngineLimits> bounded_limits(EngineLimits limits, const model::ModelConfig& config) {
    const std::int32_t least = std::min({limits.sequences_max,
                                         limits.queue_max,
                                         limits.prefill_tokens_per_step,
                                         limits.context_tokens_max - 1,
                                         limits.cache_tokens / kBlockTokens});
    if (least < 1) {
        return refuse(
            "the engine needs at least one sequence, one place in its queue, one token "
            "of prefill per step, a context of 2 tokens and a cache of " +
            std::to_string(kBlockTokens));
    }
    limits.draft_tokens_per_step =
        std::clamp(limits.draft_tokens_per_step, 0, limits.prefill_tokens_per_step / 2);
    limits.cache_tokens -= limits.cache_tokens % kBlockTokens;
    limits.context_tokens_max = std::min(limits.context_tokens_max, limits.cache_tokens);
    if (config.context_length > 1) {
        limits.context_tokens_max = std::min(limits.context_tokens_max, config.context_length);
    }
    return limits;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::make(std::shared_ptr<const model::Model> model,
                                             compute::Backend& backend,
                                             const EngineLimits& limits,
                                             const Clock& clock,
                                             std::span<const compute::HostExperts> host_experts) {
    HEARTH_TRY(const EngineLimits bounded, bounded_limits(limits, model->config()));
    compute::Plan plan = model->plan(bounded.prefill_tokens_per_step + bounded.sequences_max);
    plan.kv.dtype = bounded.cache_type;
    HEARTH_CHECK(compute::validate(plan, model->weights()));
    Compiled compiled;
    compiled.vocab_size = static_cast<std::int32_t>(plan.vocab_size);
    HEARTH_TRY(compiled.weights,
               host_experts.empty() ? backend.upload(model->weights())
                                    : backend.upload_partly(model->weights(), host_experts));
    HEARTH_TRY(compiled.program, backend.compile(plan, *compiled.weights));
    HEARTH_TRY(compiled.kv, backend.make_kv_store(plan.kv, bounded.cache_tokens / kBlockTokens));
    compiled.model = std::move(model);
    auto engine = std::make_unique<EngineLoop>(std::move(compiled), bounded, clock);
    engine->start();
    return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace hearth::engine

#include "core/engine/engine_loop.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>

#include "core/base/thread.h"

namespace hearth::engine {
namespace {

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

}  // namespace

void PrefillRate::note(std::int32_t tokens, Duration took) {
    const double seconds = std::chrono::duration<double>(took).count();
    if (tokens < kTokensMin || seconds <= 0.0) return;
    tokens_per_second_ += kNewest * (tokens / seconds - tokens_per_second_);
}

EngineLoop::EngineLoop(Compiled compiled,
                       std::optional<CompiledBlock> block,
                       const EngineLimits& limits,
                       const Clock& clock)
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
      sampler_(compiled_.vocab_size),
      long_step_(clock) {
    arrivals_.reserve(static_cast<std::size_t>(limits.queue_max));
    if (block) predictor_.emplace(std::move(*block), *compiled_.kv);
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
    HEARTH_CHECK(check_prompt(request.prompt));
    HEARTH_CHECK(check_prompt(request.short_prompt));
    if (request.stable_tokens < 0 || request.stable_tokens > std::ssize(request.prompt)) {
        return refuse("stable_tokens has to be a count of tokens of the prompt");
    }
    HEARTH_CHECK(check_asked(request));
    return check_sampling(request.sampling);
}

Result<void> EngineLoop::check_asked(const Request& request) const {
    std::int32_t row = 0;
    for (const Asked& asked : request.asked) {
        if (asked.row < row || asked.row >= std::ssize(request.prompt)) {
            return refuse("what is asked has to go by ascending rows of the prompt");
        }
        if (asked.token < 0 || asked.token >= compiled_.vocab_size) {
            return refuse("what is asked has to be of the vocabulary");
        }
        row = asked.row;
    }
    return {};
}

Result<void> EngineLoop::check_prompt(const std::vector<std::int32_t>& prompt) const {
    const std::size_t prompt_max = static_cast<std::size_t>(limits_.context_tokens_max) - 1;
    if (prompt.size() > prompt_max) {
        return fail(ErrorCode::too_large,
                    "the prompt has " + std::to_string(prompt.size()) + " tokens; at most " +
                        std::to_string(prompt_max) +
                        " fit into the context with one token of answer",
                    "engine");
    }
    for (const std::int32_t token : prompt) {
        if (token < 0 || token >= compiled_.vocab_size) {
            return refuse("token " + std::to_string(token) + " of the prompt is not one of the " +
                          std::to_string(compiled_.vocab_size) + " of the vocabulary");
        }
    }
    return {};
}

Result<Ticket> EngineLoop::submit(Request request) {
    HEARTH_CHECK(check(request));
    auto sequence = std::make_unique<Sequence>();
    sequence->request = std::move(request);
    set_prompt(*sequence, std::move(sequence->request.prompt));
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
        if (long_step_priority_ && sequence->request.priority < *long_step_priority_) {
            long_step_.overtake();
        }
        arrivals_.push_back(std::move(sequence));
    }
    arrived_.notify_one();
    return ticket;
}

void EngineLoop::set_prompt(Sequence& sequence, std::vector<std::int32_t> prompt) const {
    const std::int32_t answer = sequence.request.tokens_max;
    sequence.tokens = std::move(prompt);
    sequence.usage.prompt_tokens = sequence.token_count();
    sequence.tokens.reserve(std::min(sequence.tokens.size() + static_cast<std::size_t>(answer),
                                     static_cast<std::size_t>(limits_.context_tokens_max)));
    sequence.length_max =
        std::min(limits_.context_tokens_max - answer, sequence.token_count()) + answer;
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
        if (sequence->request.priority == Priority::keystroke) key_at_ = sequence->submitted_at;
        shorten_if_cold(*sequence);
        scheduler_.enqueue(std::move(sequence));
    }
    arrivals_.clear();
    status_.waiting = static_cast<std::int32_t>(scheduler_.waiting().size());
    return !is_closing_;
}

void EngineLoop::step() {
    try {
        drop_ended();
        // The block's guesses need the last step's rows and picks.
        if (auto* queue = compiled_.program->step_queue(); queue != nullptr && !predictor_) {
            step_ahead(*queue);
        } else {
            step_alone();
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

void EngineLoop::step_alone() {
    scheduler_.admit();
    note_admissions();
    publish_status();
    const TimePoint begun = clock_.now();
    const std::uint64_t told = counts_.tokens_generated;
    make_drafts();
    predict();
    // On the host a step is given up for the next keystroke instead (LongStep), where none runs
    // yet.
    const bool is_whole = compiled_.program->step_queue() != nullptr;
    const std::int32_t most =
        is_whole || scheduler_.is_for_keystroke() ? typing_tokens() : Scheduler::kAll;
    const std::span<const Share> batch = scheduler_.next_batch(pace(), most);
    const std::size_t telling = telling_sequences(batch);
    run_and_emit(batch);
    if (telling == 0 || !predictor_) return;
    predictor_->worth.note(
        telling, static_cast<std::int32_t>(counts_.tokens_generated - told), clock_.now() - begun);
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
    if (is_judging()) {
        // The device picks tokens and keeps the logits to itself.
        while (!flights_.empty()) {
            collect(queue);
        }
        make_drafts();
        return run_and_emit(scheduler_.next_batch(pace(), typing_tokens()));
    }
    make_drafts();
    const std::span<const Share> batch = scheduler_.next_batch(pace(), typing_tokens());
    if (!batch.empty()) launch(queue, batch);
    if (flights_.size() == compute::StepQueue::kStepsMax || (batch.empty() && !flights_.empty())) {
        collect(queue);
    }
}

Pace EngineLoop::pace() const {
    const bool is_recent = key_at_ && clock_.now() - *key_at_ < kTypingPause;
    return is_recent || scheduler_.is_for_keystroke() ? Pace::typing : Pace::idle;
}

/// Tokens of prompts that are no keystrokes in a step that is not given up: a launched one while
/// somebody is typing, and one beside a keystroke.
std::int32_t EngineLoop::typing_tokens() const {
    return std::max(kTypingTokensMin,
                    static_cast<std::int32_t>(prefill_rate_.tokens_in(kKeyDelayMax)));
}

bool EngineLoop::is_gated() const {
    return std::ranges::any_of(scheduler_.running(),
                               [](const auto& sequence) { return sequence->is_gated(); });
}

bool EngineLoop::is_judging() const {
    return std::ranges::any_of(scheduler_.running(),
                               [](const auto& sequence) { return sequence->is_judged(); });
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

void EngineLoop::shorten_if_cold(Sequence& sequence) {
    Request& request = sequence.request;
    if (request.short_prompt.empty()) return;
    const auto uncached = [this](const std::vector<std::int32_t>& tokens) {
        return static_cast<std::int32_t>(tokens.size()) - cache_.match_prefix(tokens);
    };
    const std::int32_t behind_head = request.stable_tokens > 0
                                         ? sequence.token_count() - request.stable_tokens
                                         : std::int32_t{0};
    const std::int32_t cold = uncached(sequence.tokens) - behind_head;
    if (cold <= prefill_rate_.tokens_in(request.cold_budget)) return;
    if (3 * cold <= 4 * uncached(request.short_prompt)) return;
    sequence.usage.is_short = true;
    sequence.tokens.resize(sequence.tokens.size() - static_cast<std::size_t>(behind_head));
    sequence.cold_head = std::move(sequence.tokens);
    set_prompt(sequence, std::move(request.short_prompt));
}

/// Computes a prompt for whoever asks next; the one before it is no longer of interest.
void EngineLoop::warm_up(std::vector<std::int32_t> prompt) {
    cancel(warming_);
    Request request;
    request.prompt = std::move(prompt);
    request.tokens_max = 1;
    request.priority = Priority::background;
    request.sink = [](const Event&) { return SinkAnswer::enough; };
    // Where there is no place for it, it is left out.
    if (const Result<Ticket> ticket = submit(std::move(request))) warming_ = *ticket;
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
    counts_.has_predictor = predictor_.has_value();
    counts_.expert_uses = compiled_.program->expert_uses();
    const LockGuard lock(mutex_);
    status_ = counts_;
}

}  // namespace hearth::engine

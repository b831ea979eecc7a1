#include "core/assist/model_context.h"

#include <algorithm>
#include <utility>

#include "core/assist/prompt_window.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {

using engine::FinishReason;
using plugin_host::CallStatus;
using plugin_host::DocumentView;
using plugin_host::GenerateTask;
using plugin_host::InfillOptions;
using plugin_host::Part;
using plugin_host::PartKind;
using plugin_host::PieceSink;

namespace {

constexpr std::size_t kPartsMax = 256;

}  // namespace

ModelContext::ModelContext(QueryContextOptions query,
                           const ModelContextOptions& options,
                           std::shared_ptr<ModelAccess> access,
                           std::shared_ptr<ContextGatherer> gatherer)
    : QueryContext(std::move(query)),
      options_(options),
      access_(std::move(access)),
      gatherer_(std::move(gatherer)) {}

engine::Usage ModelContext::usage() const {
    const LockGuard lock(mutex_);
    return usage_;
}

std::optional<Error> ModelContext::error() const {
    const LockGuard lock(mutex_);
    return error_;
}

CallStatus ModelContext::refuse(CallStatus status, Error error) {
    const LockGuard lock(mutex_);
    if (!error_) error_ = std::move(error);
    return status;
}

/// At most a quarter of the model's context: the question needs the room more.
std::int32_t ModelContext::answer_tokens(std::int32_t limit) const {
    return std::clamp(access_->door.context_tokens_max() / 4, 1, limit);
}

/// The folder that the document's path is relative to.
std::string ModelContext::repository() const {
    std::string_view root = document()->uri;
    if (!root.ends_with("/" + document()->path)) return {};
    root.remove_suffix(document()->path.size() + 1);
    return std::string(root.substr(root.rfind('/') + 1));
}

Result<ModelContext::Generation> ModelContext::start(engine::Request request,
                                                     std::unique_ptr<TextGate> gate,
                                                     TimePoint deadline,
                                                     std::span<const engine::TokenEvent> known) {
    Generation generation = {.stream = std::make_shared<AnswerStream>(
                                 access_->tokenizer, std::move(gate), request.tokens_max),
                             .submitted = access_->door.now(),
                             .deadline = deadline,
                             .prompt_tokens = static_cast<std::int32_t>(request.prompt.size()),
                             .goes_on = !known.empty()};
    const auto known_count = static_cast<std::int32_t>(known.size());
    const bool is_whole = generation.stream->replay(known);
    if (is_whole || known_count >= request.tokens_max) {
        generation.stream->end(is_whole ? FinishReason::sink_enough : FinishReason::tokens_max);
        return generation;
    }
    request.tokens_max -= known_count;
    request.deadline = deadline;
    request.cancel = cancel_token();
    request.sink = [stream = generation.stream](const engine::Event& event) {
        return stream->on_event(event);
    };
    const std::span<const tokenizer::TokenId> ends = access_->tokenizer->end_tokens();
    request.stop_tokens.assign(ends.begin(), ends.end());
    HEARTH_TRY(generation.ticket, submit_own(std::move(request)));
    return generation;
}

Result<engine::Ticket> ModelContext::submit_own(engine::Request request) {
    HEARTH_TRY(const engine::Ticket ticket, access_->door.submit(std::move(request)));
    {
        const LockGuard lock(mutex_);
        tickets_.push_back(ticket);
    }
    // end() may have come between.
    if (has_ended()) access_->door.cancel(ticket);
    return ticket;
}

TimePoint ModelContext::wait_until(TimePoint deadline) const {
    const TimePoint now = access_->door.now();
    const Duration left = now >= deadline ? Duration::zero() : deadline - now;
    return std::chrono::steady_clock::now() + std::min<Duration>(left, std::chrono::hours(24));
}

void ModelContext::on_end() {
    std::vector<engine::Ticket> tickets;
    {
        const LockGuard lock(mutex_);
        tickets = tickets_;
    }
    for (const engine::Ticket ticket : tickets) {
        access_->door.cancel(ticket);
    }
}

void ModelContext::note_usage(const Generation& generation, const engine::Usage& usage) {
    const double waited_ms = to_ms(generation.submitted - options_.started);
    const LockGuard lock(mutex_);
    if (!generation.goes_on) {
        usage_.prompt_tokens += usage.prompt_tokens;
        usage_.cached_tokens += usage.cached_tokens;
    }
    usage_.generated_tokens += usage.generated_tokens;
    usage_.queue_ms = std::max(usage_.queue_ms, usage.queue_ms);
    if (usage.first_token_ms > 0.0) {
        const double first_ms = waited_ms + usage.first_token_ms;
        usage_.first_token_ms =
            usage_.first_token_ms > 0.0 ? std::min(usage_.first_token_ms, first_ms) : first_ms;
    }
    usage_.total_ms = std::max(usage_.total_ms, waited_ms + usage.total_ms);
}

void ModelContext::note_time() {
    const double took_ms = to_ms(access_->door.now() - options_.started);
    const LockGuard lock(mutex_);
    usage_.total_ms = std::max(usage_.total_ms, took_ms);
}

ModelContext::Heard ModelContext::hear(const Generation& generation,
                                       std::uint32_t item,
                                       PieceSink& sink) {
    AnswerStream& stream = *generation.stream;
    const TimePoint until = wait_until(generation.deadline);
    Heard heard;
    while (const std::optional<std::string> piece = stream.next(until)) {
        heard.is_read = heard.is_read && !is_cancelled() && sink.emit(item, *piece);
        if (heard.is_read) continue;
        stream.end(FinishReason::cancelled);
        access_->door.cancel(generation.ticket);
    }
    // Here the answer has ended, or the deadline has passed before the engine saw it: a step may
    // be long. Then what is sound is taken now.
    stream.end(FinishReason::deadline);
    while (const std::optional<std::string> piece = stream.next(until)) {
        heard.is_read = heard.is_read && !is_cancelled() && sink.emit(item, *piece);
    }
    heard.outcome = stream.outcome();
    engine::Usage& usage = heard.outcome.usage;
    // Where we did not wait for the engine's count.
    if (!usage.is_short) usage.prompt_tokens = generation.prompt_tokens;
    if (usage.total_ms == 0.0) usage.total_ms = to_ms(access_->door.now() - generation.submitted);
    note_usage(generation, usage);
    return heard;
}

CallStatus ModelContext::pump(const Generation& generation, std::uint32_t item, PieceSink& sink) {
    const auto [outcome, is_read] = hear(generation, item, sink);
    if (outcome.error) return refuse(CallStatus::failed, *outcome.error);
    if (!is_read || is_cancelled() || outcome.reason == FinishReason::cancelled) {
        return CallStatus::cancelled;
    }
    if (outcome.reason == FinishReason::deadline) {
        access_->door.cancel(generation.ticket);
        return refuse(CallStatus::ok,
                      {.code = ErrorCode::timed_out,
                       .text = "the model had no answer in time; ask again, or give it more time",
                       .where = "assist"});
    }
    return CallStatus::ok;
}

CallStatus ModelContext::generate(GenerateTask task, std::span<const Part> parts, PieceSink& sink) {
    const AssistLimits& limits = access_->limits;
    const PromptFormat& format = access_->format;
    if (is_cancelled()) return CallStatus::cancelled;
    if (!format.can(task) || parts.size() > kPartsMax) {
        return refuse(CallStatus::unsupported,
                      {.code = ErrorCode::unsupported,
                       .text = "this model was not made to explain, fix or talk about code; choose "
                               "another model",
                       .where = "assist"});
    }
    struct Plain {
        std::string path, text;
    };
    std::vector<Plain> plain;
    std::vector<Part> rendered;
    plain.reserve(parts.size());
    std::string code[2];  // before the marked line and after it
    std::string marked;
    for (const Part& part : parts) {
        plain.push_back({path_of(part.path), without_carriage_returns(part.text)});
        rendered.push_back({part.kind, plain.back().path, plain.back().text});
        if (part.kind == PartKind::marked_line) marked += plain.back().text;
        if (part.kind == PartKind::code) code[marked.empty() ? 0 : 1] += plain.back().text;
    }
    const bool is_fix = task == GenerateTask::fix;
    engine::Request request;
    request.tokens_max = answer_tokens(is_fix ? limits.fix_tokens_max : limits.explain_tokens_max);
    request.priority = is_fix ? engine::Priority::fix : engine::Priority::chat;
    const std::int32_t room = access_->door.context_tokens_max() - request.tokens_max;
    auto prompt = format.generate(task, rendered, std::min(limits.prompt_tokens_max, room));
    if (!prompt) return refuse(CallStatus::failed, std::move(prompt).error());
    request.prompt = std::move(prompt).value();

    std::vector<std::string> stops(format.stop_strings().begin(), format.stop_strings().end());
    std::unique_ptr<TextGate> gate;
    if (is_fix) {
        FixGate::Options place{.before = std::move(code[0]),
                               .marked = std::move(marked),
                               .after = std::move(code[1]),
                               .language = document()->language,
                               .may_have_fence = !format.is_own(),
                               .stops = std::move(stops),
                               .probability_min = limits.fix_probability_min};
        if (format.is_own() && place.probability_min > 0.0) {
            const bool is_diagnosed = std::ranges::any_of(
                parts, [](const Part& part) { return part.kind == PartKind::diagnostic; });
            return fix_likeliest(std::move(request), place, is_diagnosed, sink);
        }
        gate = std::make_unique<FixGate>(std::move(place));
    } else {
        gate = std::make_unique<ExplainGate>(ExplainGate::Options{
            .stops = std::move(stops), .confidence_min = limits.explain_confidence_min});
    }
    auto generation = start(std::move(request), std::move(gate), options_.deadline);
    if (!generation) return refuse(CallStatus::failed, std::move(generation).error());
    return pump(*generation, 0, sink);
}

}  // namespace hearth::assist

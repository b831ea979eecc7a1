#include "core/assist/model_context.h"

#include <algorithm>
#include <utility>

#include "core/assist/completion_gate.h"
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

constexpr std::uint32_t kCandidatesMax = 4;
constexpr std::size_t kPartsMax = 256;
constexpr float kTemperatureMax = 2.0F;

/// A sink that keeps what it is given.
class Collector final : public PieceSink {
  public:
    explicit Collector(const ModelContext& query) : query_(query) {}
    bool emit(std::uint32_t /*item*/, std::string_view piece) override {
        text_ += piece;
        return !query_.is_cancelled();
    }
    [[nodiscard]] std::string& text() { return text_; }

  private:
    const ModelContext& query_;
    std::string text_;
};

/// Gives \n as \r\n, for documents that end their lines so.
class LineEndSink final : public PieceSink {
  public:
    LineEndSink(PieceSink& sink, bool has_carriage_returns)
        : sink_(sink),
          has_carriage_returns_(has_carriage_returns) {}
    bool emit(std::uint32_t item, std::string_view piece) override {
        return sink_.emit(
            item, has_carriage_returns_ ? with_carriage_returns(piece) : std::string(piece));
    }

  private:
    PieceSink& sink_;
    const bool has_carriage_returns_;
};

/// The pool's clock need not be the one that the operating system waits on.
TimePoint to_wait_until(TimePoint now, TimePoint deadline) {
    const Duration left = now >= deadline ? Duration::zero() : deadline - now;
    return std::chrono::steady_clock::now() + std::min<Duration>(left, std::chrono::hours(24));
}

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

Result<InfillPrompt> ModelContext::make_prompt(const DocumentView& document,
                                               std::int32_t tokens_max) {
    if (!context_) context_ = gatherer_->gather(*this, options_.cursor_byte);
    const std::string path = path_of(document.uri);
    const std::string name = repository();
    return make_infill_prompt(*access_->tokenizer,
                              access_->format,
                              {.repository = name,
                               .path = path,
                               .before = document.text.substr(0, document.cursor_byte),
                               .after = document.text.substr(document.cursor_byte),
                               .context = *context_},
                              tokens_max);
}

Tokens ModelContext::make_short_prompt(const DocumentView& document, const InfillPrompt& whole) {
    const std::int32_t tokens_max = access_->limits.short_prompt_tokens_max;
    if (access_->limits.cold_prompt_budget == Duration::zero()) return {};
    if (std::ssize(whole.tokens) <= tokens_max) return {};
    auto prompt = make_prompt(document, tokens_max);
    // One guide serves both.
    if (!prompt || prompt->healed != whole.healed) return {};
    return std::move(prompt->tokens);
}

Result<ModelContext::Generation> ModelContext::start(engine::Request request,
                                                     std::unique_ptr<TextGate> gate) {
    Generation generation = {.stream = std::make_shared<AnswerStream>(
                                 access_->tokenizer, std::move(gate), request.tokens_max),
                             .ticket = {},
                             .submitted = access_->door.now(),
                             .prompt_tokens = static_cast<std::int32_t>(request.prompt.size())};
    request.deadline = options_.deadline;
    request.cancel = cancel_token();
    request.sink = [stream = generation.stream](const engine::Event& event) {
        return stream->on_event(event);
    };
    const std::span<const tokenizer::TokenId> ends = access_->tokenizer->end_tokens();
    request.stop_tokens.assign(ends.begin(), ends.end());
    HEARTH_TRY(generation.ticket, access_->door.submit(std::move(request)));
    {
        const LockGuard lock(mutex_);
        tickets_.push_back(generation.ticket);
    }
    // end() may have come between.
    if (has_ended()) access_->door.cancel(generation.ticket);
    return generation;
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
    usage_.prompt_tokens += usage.prompt_tokens;
    usage_.cached_tokens += usage.cached_tokens;
    usage_.generated_tokens += usage.generated_tokens;
    usage_.queue_ms = std::max(usage_.queue_ms, usage.queue_ms);
    if (usage.first_token_ms > 0.0) {
        const double first_ms = waited_ms + usage.first_token_ms;
        usage_.first_token_ms =
            usage_.first_token_ms > 0.0 ? std::min(usage_.first_token_ms, first_ms) : first_ms;
    }
    usage_.total_ms = std::max(usage_.total_ms, waited_ms + usage.total_ms);
}

CallStatus ModelContext::pump(const Generation& generation, std::uint32_t item, PieceSink& sink) {
    AnswerStream& stream = *generation.stream;
    const TimePoint until = to_wait_until(access_->door.now(), options_.deadline);
    bool is_read = true;
    while (const std::optional<std::string> piece = stream.next(until)) {
        is_read = is_read && !is_cancelled() && sink.emit(item, *piece);
        if (is_read) continue;
        stream.end(FinishReason::cancelled);
        access_->door.cancel(generation.ticket);
    }
    // Here the answer has ended, or the deadline has passed before the engine saw it: a step may
    // be long. Then what is sound is taken now.
    stream.end(FinishReason::deadline);
    while (const std::optional<std::string> piece = stream.next(until)) {
        is_read = is_read && !is_cancelled() && sink.emit(item, *piece);
    }
    AnswerStream::Outcome outcome = stream.outcome();
    // Where we did not wait for the engine's count.
    if (!outcome.usage.is_short) outcome.usage.prompt_tokens = generation.prompt_tokens;
    if (outcome.usage.total_ms == 0.0) {
        outcome.usage.total_ms = to_ms(access_->door.now() - generation.submitted);
    }
    note_usage(generation, outcome.usage);
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

CallStatus ModelContext::pump_candidates(std::vector<Generation> generations, PieceSink& sink) {
    if (generations.size() == 1) return pump(generations.front(), 0, sink);
    struct Candidate {
        std::string text;
        float confidence;
    };
    std::vector<Candidate> candidates;
    CallStatus status = CallStatus::ok;
    for (const Generation& generation : generations) {
        Collector collector(*this);
        const CallStatus ended = pump(generation, 0, collector);
        if (ended != CallStatus::ok) status = ended;
        if (collector.text().empty()) continue;
        candidates.push_back(
            {std::move(collector.text()), generation.stream->outcome().confidence});
    }
    if (is_cancelled()) return CallStatus::cancelled;
    std::ranges::stable_sort(candidates, std::ranges::greater{}, &Candidate::confidence);
    std::vector<std::string> emitted;
    for (Candidate& candidate : candidates) {
        if (std::ranges::find(emitted, candidate.text) != emitted.end()) continue;
        const auto item = static_cast<std::uint32_t>(emitted.size());
        if (!sink.emit(item, candidate.text)) return CallStatus::cancelled;
        emitted.push_back(std::move(candidate.text));
    }
    return emitted.empty() ? status : CallStatus::ok;
}

std::vector<CopyOffer> ModelContext::find_copies_for(const DocumentView& document) const {
    if (!access_->limits.has_copies) return {};
    std::vector<std::string_view> texts;
    for (const DocumentRef& other : others()) {
        texts.push_back(other->text);
    }
    return find_copy_offers({.before = document.text.substr(0, document.cursor_byte),
                             .after = document.text.substr(document.cursor_byte),
                             .others = texts},
                            document.language,
                            cancel_token());
}

/// An answer without the model takes time as well.
void ModelContext::note_copy() {
    const double took_ms = to_ms(access_->door.now() - options_.started);
    const LockGuard lock(mutex_);
    usage_.total_ms = std::max(usage_.total_ms, took_ms);
}

CallStatus ModelContext::infill(const DocumentView& document,
                                const InfillOptions& options,
                                PieceSink& sink) {
    const AssistLimits& limits = access_->limits;
    if (is_cancelled()) return CallStatus::cancelled;
    if (!access_->format.can_infill()) {
        return refuse(CallStatus::unsupported,
                      {.code = ErrorCode::unsupported,
                       .text = "this model cannot fill in at the cursor: its vocabulary has no "
                               "fill-in-the-middle tokens; choose another model",
                       .where = "assist"});
    }
    if (document.cursor_byte > document.text.size()) {
        return refuse(CallStatus::failed,
                      {.code = ErrorCode::invalid_argument,
                       .text = "cannot complete behind the end of the document",
                       .where = "assist"});
    }
    if (document.text.size() > limits.document_bytes_max) return CallStatus::unsupported;

    const auto tokens_limit =
        static_cast<std::uint32_t>(answer_tokens(limits.completion_tokens_max));
    const std::uint32_t tokens_max =
        options.tokens_max == 0 ? tokens_limit : std::min(options.tokens_max, tokens_limit);
    const std::int32_t room =
        access_->door.context_tokens_max() - static_cast<std::int32_t>(tokens_max);
    LineEndSink line_ends(sink, has_carriage_returns(document.text, document.cursor_byte));
    const std::vector<CopyOffer> copies = find_copies_for(document);
    const Choice certain = choose({}, copies, std::max(kCertainCopy, options_.probability_min));
    if (certain.source == Source::copy) {
        note_copy();
        return line_ends.emit(0, certain.text) ? CallStatus::ok : CallStatus::cancelled;
    }
    const std::int32_t prompt_max = std::min(limits.prompt_tokens_max, room);
    auto prompt = make_prompt(document, prompt_max);
    if (!prompt) return refuse(CallStatus::failed, std::move(prompt).error());
    const Tokens short_prompt = make_short_prompt(document, *prompt);
    if (is_cancelled()) return CallStatus::cancelled;

    const float temperature =
        options.temperature > 0.0F ? std::min(options.temperature, kTemperatureMax) : 0.0F;
    // At temperature 0 all candidates would be the same.
    const std::uint32_t count =
        temperature > 0.0F ? std::clamp(options.candidates_max, 1U, kCandidatesMax) : 1U;
    std::vector<Generation> generations;
    for (std::uint32_t seed = 0; seed < count; ++seed) {
        engine::Request request;
        request.prompt = prompt->tokens;
        request.stable_tokens = prompt->stable_tokens;
        request.short_prompt = short_prompt;
        request.cold_budget = limits.cold_prompt_budget;
        if (const TokenHealing* healing = access_->format.healing()) {
            request.guide = healing->guide(prompt->healed);
        }
        request.sampling.temperature = temperature;
        request.sampling.seed = seed;
        request.tokens_max = static_cast<std::int32_t>(tokens_max);
        request.priority = engine::Priority::keystroke;
        auto gate = std::make_unique<CompletionGate>(
            CompletionGateOptions{.before = document.text.substr(0, document.cursor_byte),
                                  .after = document.text.substr(document.cursor_byte),
                                  .healed = prompt->healed,
                                  .language = document.language,
                                  .lines_max = options.lines_max,
                                  .copies = copies,
                                  .probability_min = options_.probability_min,
                                  .has_checks = options_.probability_min > 0.0});
        auto generation = start(std::move(request), std::move(gate));
        if (generation) {
            generations.push_back(std::move(generation).value());
        } else if (generations.empty()) {
            return refuse(CallStatus::failed, std::move(generation).error());
        } else {
            break;  // the queue is full: fewer candidates
        }
    }
    return pump_candidates(std::move(generations), line_ends);
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
        gate = std::make_unique<FixGate>(
            FixGate::Options{.before = std::move(code[0]),
                             .marked = std::move(marked),
                             .after = std::move(code[1]),
                             .language = document()->language,
                             .may_have_fence = !format.is_own(),
                             .stops = std::move(stops),
                             .probability_min = limits.fix_probability_min});
    } else {
        gate = std::make_unique<ExplainGate>(ExplainGate::Options{
            .stops = std::move(stops), .confidence_min = limits.explain_confidence_min});
    }
    auto generation = start(std::move(request), std::move(gate));
    if (!generation) return refuse(CallStatus::failed, std::move(generation).error());
    return pump(*generation, 0, sink);
}

}  // namespace hearth::assist

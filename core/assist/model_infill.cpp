// A completion: ModelContext's part that fills in at a cursor, one request or several.
#include <algorithm>
#include <utility>

#include "core/assist/model_context.h"
#include "core/assist/prompt_window.h"
#include "core/assist/text_collector.h"
#include "core/assist/text_lines.h"

namespace hearth::assist {

using engine::FinishReason;
using plugin_host::CallStatus;
using plugin_host::DocumentView;
using plugin_host::InfillOptions;
using plugin_host::PieceSink;

namespace {

constexpr std::uint32_t kCandidatesMax = 4;
constexpr float kTemperatureMax = 2.0F;

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

}  // namespace

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

Result<ModelContext::Generation> ModelContext::begin(const Infill& infill,
                                                     const CompletionGateOptions& gate,
                                                     TimePoint deadline,
                                                     std::span<const engine::TokenEvent> known) {
    engine::Request request;
    request.prompt = infill.prompt;
    request.stable_tokens = infill.stable_tokens;
    request.short_prompt = infill.short_prompt;
    request.cold_budget = access_->limits.cold_prompt_budget;
    const std::string_view healed =
        append_said(request.prompt, gate.healed, known, *access_->tokenizer);
    if (const TokenHealing* healing = access_->format.healing()) {
        request.guide = healing->guide(std::string(healed));
    }
    request.sampling = infill.sampling;
    request.wants_rivals = gate.leaves_open || (!known.empty() && !gate.chosen);
    request.tokens_max = infill.tokens_max;
    request.priority = engine::Priority::keystroke;
    auto judge = std::make_unique<CompletionGate>(gate);
    const CompletionGate* judged = judge.get();
    auto generation = start(std::move(request), std::move(judge), deadline, known);
    if (generation) generation->gate = judged;
    return generation;
}

std::vector<SaidLine> ModelContext::go_on(const Infill& infill,
                                          std::vector<SaidLine> beginnings,
                                          TimePoint until) {
    CompletionGateOptions gate = infill.gate;
    gate.lines_max = 1;
    gate.leaves_open = false;
    std::vector<Generation> generations;
    for (const SaidLine& beginning : beginnings) {
        if (is_cancelled() || access_->door.now() >= until) break;
        auto generation = begin(infill, gate, until, beginning.tokens);
        if (!generation) break;  // the queue is full: fewer beginnings
        generations.push_back(std::move(generation).value());
    }
    std::vector<SaidLine> said;
    for (std::size_t i = 0; i < generations.size(); ++i) {
        TextCollector collector(*this);
        const Heard heard = hear(generations[i], 0, collector);
        access_->door.cancel(generations[i].ticket);
        const std::optional<Decision>& decision = generations[i].gate->decision();
        // A line that was cut looks likelier than it is.
        const auto reason = heard.outcome.reason.value_or(FinishReason::cancelled);
        const bool is_said =
            reason == FinishReason::stop_token || reason == FinishReason::sink_enough;
        if (!decision || !is_said) continue;
        said.push_back({generations[i].stream->tokens(), beginnings[i].known_count, *decision});
    }
    return said;
}

LineVerdicts ModelContext::judge(const Infill& infill, std::span<const AskedLine> lines) {
    if (infill.next.empty()) return {};
    const TimePoint until =
        std::min(options_.deadline, access_->door.now() + access_->limits.line_judge_budget);
    auto verdicts = judge_lines(
        {.prompt = infill.prompt,
         .healed = infill.gate.healed,
         .next = infill.next,
         .head = last_line(infill.gate.before)},
        lines,
        *access_->tokenizer,
        [&](std::vector<JudgedPrompt> prompts) {
            return judge_prompts(std::move(prompts), engine::Priority::keystroke, until);
        },
        &access_->verdicts);
    // What cannot be judged is still what the model says.
    return verdicts ? std::move(verdicts).value() : LineVerdicts();
}

CallStatus ModelContext::search(Infill infill, const Generation& first, PieceSink& sink) {
    // The rows of the prompt that was taken are in the cache.
    if (first.stream->outcome().usage.is_short) {
        infill.prompt = std::move(infill.short_prompt);
        infill.stable_tokens = 0;  // that was the long one's
    }
    infill.short_prompt.clear();
    const TimePoint until =
        std::min(options_.deadline, access_->door.now() + access_->limits.line_search_budget);
    FoundLine found = search_line(
        {.tokens = first.stream->tokens(), .decision = *first.gate->decision()},
        infill.gate.copies,
        infill.gate.probability_min,
        {.chances = infill.gate.chances},
        [&](std::vector<SaidLine> beginnings) {
            return go_on(infill, std::move(beginnings), until);
        },
        [&](std::span<const AskedLine> lines) { return judge(infill, lines); });
    if (is_cancelled()) return CallStatus::cancelled;
    if (found.decision.choice.source == Source::none) return CallStatus::ok;
    if (found.tokens.empty()) {
        return sink.emit(0, found.decision.choice.text) ? CallStatus::ok : CallStatus::cancelled;
    }
    infill.gate.leaves_open = false;
    infill.gate.chosen = std::move(found.decision.choice);
    const auto whole = begin(infill, infill.gate, options_.deadline, found.tokens);
    if (!whole) return refuse(CallStatus::failed, whole.error());
    return pump(*whole, 0, sink);
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
        TextCollector collector(*this);
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

/// Why a place cannot be completed at all, if it cannot.
std::optional<CallStatus> ModelContext::refuse_place(const DocumentView& document) {
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
    if (document.text.size() > access_->limits.document_bytes_max) return CallStatus::unsupported;
    return std::nullopt;
}

CallStatus ModelContext::infill(const DocumentView& document,
                                const InfillOptions& options,
                                PieceSink& sink) {
    if (const auto refused = refuse_place(document)) return *refused;
    const AssistLimits& limits = access_->limits;
    const auto tokens_limit =
        static_cast<std::uint32_t>(answer_tokens(limits.completion_tokens_max));
    const auto tokens_max = static_cast<std::int32_t>(
        options.tokens_max == 0 ? tokens_limit : std::min(options.tokens_max, tokens_limit));
    LineEndSink line_ends(sink, has_carriage_returns(document.text, document.cursor_byte));
    const std::vector<CopyOffer> copies = find_copies_for(document);
    const Choice certain = choose({}, copies, std::max(kCertainCopy, options_.probability_min));
    if (certain.source == Source::copy) {
        note_time();
        return line_ends.emit(0, certain.text) ? CallStatus::ok : CallStatus::cancelled;
    }
    const std::int32_t room = access_->door.context_tokens_max() - tokens_max;
    auto prompt = make_prompt(document, std::min(limits.prompt_tokens_max, room));
    if (!prompt) return refuse(CallStatus::failed, std::move(prompt).error());
    if (is_cancelled()) return CallStatus::cancelled;
    Infill infill = {.prompt = prompt->tokens,
                     .stable_tokens = prompt->stable_tokens,
                     .short_prompt = make_short_prompt(document, *prompt),
                     .next = next_lines_of(document),
                     .gate = {.before = document.text.substr(0, document.cursor_byte),
                              .after = document.text.substr(document.cursor_byte),
                              .healed = prompt->healed,
                              .language = document.language,
                              .lines_max = options.lines_max,
                              .copies = copies,
                              .probability_min = options_.probability_min,
                              .has_checks = options_.probability_min > 0.0},
                     .sampling = {},
                     .tokens_max = tokens_max};
    if (options.temperature <= 0.0F) return infill_likeliest(std::move(infill), line_ends);
    infill.sampling.temperature = std::min(options.temperature, kTemperatureMax);
    return infill_by_chance(std::move(infill), options.candidates_max, line_ends);
}

std::string ModelContext::next_lines_of(const DocumentView& document) const {
    const bool is_judged =
        access_->format.goes_on_as_text() && access_->limits.line_judge_budget > Duration::zero();
    if (!is_judged) return {};
    return without_carriage_returns(next_lines(document.text.substr(document.cursor_byte)));
}

CallStatus ModelContext::infill_likeliest(Infill infill, PieceSink& sink) {
    infill.gate.leaves_open =
        infill.gate.has_checks && access_->limits.line_search_budget > Duration::zero();
    if (!infill.next.empty()) infill.gate.chances = kJudgedChances;
    const auto first = begin(infill, infill.gate, options_.deadline);
    if (!first) return refuse(CallStatus::failed, first.error());
    const CallStatus status = pump(*first, 0, sink);
    const bool is_open = first->gate->decision() && first->gate->decision()->is_open;
    if (status != CallStatus::ok || !is_open) return status;
    return search(std::move(infill), *first, sink);
}

CallStatus ModelContext::infill_by_chance(Infill infill,
                                          std::uint32_t candidates_max,
                                          PieceSink& sink) {
    const std::uint32_t count = std::clamp(candidates_max, 1U, kCandidatesMax);
    std::vector<Generation> generations;
    for (std::uint32_t seed = 0; seed < count; ++seed) {
        infill.sampling.seed = seed;
        auto generation = begin(infill, infill.gate, options_.deadline);
        if (generation) {
            generations.push_back(std::move(generation).value());
        } else if (generations.empty()) {
            return refuse(CallStatus::failed, std::move(generation).error());
        } else {
            break;  // the queue is full: fewer candidates
        }
    }
    return pump_candidates(std::move(generations), sink);
}

}  // namespace hearth::assist

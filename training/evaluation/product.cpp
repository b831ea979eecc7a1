#include "training/evaluation/product.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/assist/assist.h"
#include "core/assist/text_lines.h"
#include "training/evaluation/gate_fan.h"

namespace hearth::evaluation {
namespace {

using assist::CompletionGate;
using assist::CompletionGateOptions;
using plugin_host::GenerateTask;
using plugin_host::Part;
using plugin_host::PartKind;

/// Lines that plugins/fix shows above and below the marked one.
constexpr int kFixContextLines = 10;

std::string_view first_lines(std::string_view text, int count) {
    std::string_view rest = text;
    for (int i = 0; i < count; ++i) {
        assist::take_line(rest);
    }
    return text.substr(0, text.size() - rest.size());
}

std::string_view last_lines(std::string_view text, int count) {
    const auto lines = static_cast<int>(std::ranges::count(text, '\n'));
    return text.substr(first_lines(text, lines - count).size());
}

/// One for each situation: however unlikely, while one types, where one asks for it. Returns the
/// first.
const CompletionGate& add_product_gates(GateFan& fan, CompletionGateOptions options) {
    const assist::AssistLimits limits;
    options.probability_min = 0.0;
    const CompletionGate& first = fan.add(std::make_unique<CompletionGate>(options));
    for (const double least : {limits.automatic_probability_min, limits.invoked_probability_min}) {
        options.probability_min = least;
        fan.add(std::make_unique<CompletionGate>(options));
    }
    return first;
}

}  // namespace

LineAnswer copy_line(const LineCase& cursor) {
    LineAnswer answer;
    std::vector<std::string_view> others;
    for (const OpenFile& file : cursor.open_files) {
        others.push_back(file.text);
    }
    answer.copies = assist::find_copy_offers(
        {.before = cursor.prefix, .after = cursor.suffix, .others = others}, cursor.language, {});
    answer.decision.choice = assist::choose({}, answer.copies, 0.0);
    answer.product = answer.decision.choice.text;
    return answer;
}

Result<std::unique_ptr<Product>> Product::make(std::shared_ptr<const model::Model> model,
                                               compute::Backend& backend,
                                               const std::string& plugins) {
    std::unique_ptr<Product> self(new Product);
    HEARTH_TRY(self->tokenizer_, tokenizer::Tokenizer::from_gguf(model->file()));
    self->format_ = std::make_unique<assist::PromptFormat>(*self->tokenizer_);
    if (!self->format_->can_infill()) {
        return fail(ErrorCode::unsupported,
                    "the model cannot fill in at a cursor: its vocabulary has no "
                    "fill-in-the-middle tokens",
                    "evaluation");
    }
    const assist::AssistLimits limits;
    engine::EngineLimits engine_limits;
    engine_limits.context_tokens_max = std::min(
        model->config().context_length, limits.prompt_tokens_max + limits.completion_tokens_max);
    HEARTH_TRY(self->engine_,
               engine::Engine::make(std::move(model), backend, engine_limits, self->clock_));
    if (!plugins.empty()) {
        HEARTH_TRY(self->open_context_, OpenContext::make(plugins, self->clock_));
    }
    return self;
}

Result<Product::Answer> Product::generate(engine::Request request,
                                          std::unique_ptr<assist::TextGate> gate,
                                          std::span<const engine::TokenEvent> known) {
    Answer answer;
    answer.stream =
        std::make_shared<assist::AnswerStream>(tokenizer_, std::move(gate), request.tokens_max);
    request.tokens_max -= static_cast<std::int32_t>(known.size());
    if (answer.stream->replay(known) || request.tokens_max < 1) {
        answer.stream->end(engine::FinishReason::sink_enough);
    } else {
        const auto ends = tokenizer_->end_tokens();
        request.stop_tokens.assign(ends.begin(), ends.end());
        request.sink = [stream = answer.stream](const engine::Event& event) {
            return stream->on_event(event);
        };
        HEARTH_CHECK(engine_->submit(std::move(request)));
    }
    while (const auto piece = answer.stream->next(TimePoint::max())) {
        answer.text += *piece;
    }
    if (const auto outcome = answer.stream->outcome(); outcome.error) return fail(*outcome.error);
    return answer;
}

Result<engine::Request> Product::make_request(GenerateTask task,
                                              std::span<const Part> parts) const {
    if (!format_->can(task)) {
        return fail(ErrorCode::unsupported,
                    "the model was not made to explain or to fix code",
                    "evaluation");
    }
    const assist::AssistLimits limits;
    const std::int32_t room = engine_->limits().context_tokens_max;
    const std::int32_t tokens_max = std::clamp(
        room / 4, 1, task == GenerateTask::fix ? limits.fix_tokens_max : limits.explain_tokens_max);
    engine::Request request;
    HEARTH_TRY(
        request.prompt,
        format_->generate(task, parts, std::min(limits.prompt_tokens_max, room - tokens_max)));
    request.tokens_max = tokens_max;
    return request;
}

std::vector<std::string> Product::stop_strings() const {
    const auto stops = format_->stop_strings();
    return {stops.begin(), stops.end()};
}

Result<Product::Answer> Product::go_on(const Line& line,
                                       std::span<const engine::TokenEvent> known,
                                       std::unique_ptr<assist::TextGate> gate) {
    engine::Request request;
    request.prompt = line.prompt.tokens;
    request.tokens_max = line.tokens_max;
    request.wants_rivals = true;
    const std::string_view healed =
        assist::append_said(request.prompt, line.prompt.healed, known, *tokenizer_);
    if (const assist::TokenHealing* healing = format_->healing()) {
        request.guide = healing->guide(std::string(healed));
    }
    return generate(std::move(request), std::move(gate), known);
}

Result<assist::FoundLine> Product::find(const Line& line, assist::SaidLine first) {
    std::optional<Error> error;
    CompletionGateOptions options = line.gate;
    options.lines_max = 1;
    options.leaves_open = false;
    const auto go_on_with = [&](const std::vector<assist::SaidLine>& beginnings) {
        std::vector<assist::SaidLine> said;
        for (const assist::SaidLine& beginning : beginnings) {
            auto gate = std::make_unique<CompletionGate>(options);
            const CompletionGate& judged = *gate;
            const auto answer = go_on(line, beginning.tokens, std::move(gate));
            if (!answer) error = answer.error();
            // A line that was cut looks likelier than it is.
            const bool is_cut =
                answer && answer->stream->outcome().reason == engine::FinishReason::tokens_max;
            if (!answer || !judged.decision() || is_cut) continue;
            said.push_back({answer->stream->tokens(), beginning.known_count, *judged.decision()});
        }
        return said;
    };
    const auto judge_with = [&](std::span<const assist::AskedLine> lines) {
        assist::LineVerdicts verdicts;
        if (line.next.empty()) return verdicts;
        auto judged = assist::judge_lines(
            {.prompt = line.prompt.tokens, .healed = line.prompt.healed, .next = line.next},
            lines,
            *tokenizer_,
            [this](std::vector<assist::JudgedPrompt> prompts) {
                return judge(std::move(prompts), engine::Priority::keystroke);
            });
        if (judged) return std::move(judged).value();
        error = judged.error();
        return verdicts;
    };
    auto found = assist::search_line(std::move(first),
                                     line.gate.copies,
                                     0.0,
                                     {.chances = line.gate.chances},
                                     go_on_with,
                                     judge_with);
    if (error) return fail(*std::move(error));
    return found;
}

Result<Product::Line> Product::make_line(const LineCase& cursor) {
    const assist::AssistLimits limits;
    const std::int32_t room = engine_->limits().context_tokens_max;
    Line line;
    line.tokens_max = std::clamp(room / 4, 1, limits.completion_tokens_max);
    std::vector<assist::ContextPiece> context;
    if (open_context_) context = open_context_->gather(cursor);
    const assist::InfillSource source = {.repository = cursor.project,
                                         .path = cursor.path,
                                         .before = cursor.prefix,
                                         .after = cursor.suffix,
                                         .context = context};
    const std::int32_t prompt_max = std::min(limits.prompt_tokens_max, room - line.tokens_max);
    HEARTH_TRY(line.prompt, make_infill_prompt(*tokenizer_, *format_, source, prompt_max));
    line.gate = {.before = cursor.prefix,
                 .after = cursor.suffix,
                 .language = cursor.language,
                 .lines_max = cursor.lines_max};
    if (format_->goes_on_as_text()) line.next = assist::next_lines(cursor.suffix);
    if (!line.next.empty()) line.gate.chances = assist::kJudgedChances;
    return line;
}

Result<LineAnswer> Product::complete_line(const LineCase& cursor) {
    LineAnswer answer = copy_line(cursor);
    HEARTH_TRY(Line line, make_line(cursor));
    line.gate.healed = line.prompt.healed;
    auto fan = std::make_unique<GateFan>();
    const GateFan& fanned = *fan;
    line.gate.has_checks = false;
    const CompletionGate& bare = fan->add(std::make_unique<CompletionGate>(line.gate));
    line.gate.has_checks = true;
    line.gate.copies = answer.copies;
    line.gate.leaves_open = true;
    const CompletionGate& decided = add_product_gates(*fan, line.gate);
    HEARTH_TRY(const Answer said, go_on(line, {}, std::move(fan)));
    answer.model = fanned.text(0);
    if (bare.decision()) answer.greedy = bare.decision()->model_tokens;
    if (answer.model.empty() && bare.decision()) answer.model = bare.decision()->model_line;
    if (decided.decision()) answer.decision = *decided.decision();
    if (answer.decision.is_open) {
        HEARTH_CHECK(search(line, said.stream->tokens(), answer));
        return answer;
    }
    answer.product = fanned.text(1);
    answer.automatic = fanned.text(2);
    answer.invoked = fanned.text(3);
    return answer;
}

/// A line that was left open: what is found, and the lines behind it.
Result<void> Product::search(Line& line,
                             std::vector<engine::TokenEvent> first,
                             LineAnswer& answer) {
    HEARTH_TRY(assist::FoundLine found,
               find(line, {.tokens = std::move(first), .decision = answer.decision}));
    answer.decision = std::move(found.decision);
    const assist::Choice& choice = answer.decision.choice;
    answer.product = answer.automatic = answer.invoked = choice.text;
    if (!found.tokens.empty()) {
        line.gate.leaves_open = false;
        line.gate.chosen = choice;
        auto fan = std::make_unique<GateFan>();
        const GateFan& fanned = *fan;
        add_product_gates(*fan, line.gate);
        HEARTH_TRY(const Answer more, go_on(line, found.tokens, std::move(fan)));
        answer.product = fanned.text(0);
        answer.automatic = fanned.text(1);
        answer.invoked = fanned.text(2);
    }
    const assist::AssistLimits limits;
    if (choice.probability < limits.automatic_probability_min) answer.automatic.clear();
    if (choice.probability < limits.invoked_probability_min) answer.invoked.clear();
    return {};
}

Result<ExplainAnswer> Product::explain(const ExplainCase& function) {
    auto fan = std::make_unique<GateFan>();
    const GateFan& fanned = *fan;
    for (const double least : {0.0, assist::AssistLimits{}.explain_confidence_min}) {
        fan->add(std::make_unique<assist::ExplainGate>(
            assist::ExplainGate::Options{.stops = stop_strings(), .confidence_min = least}));
    }
    const std::array parts = {Part{PartKind::code, function.path, function.code}};
    HEARTH_TRY(engine::Request request, make_request(GenerateTask::explain, parts));
    HEARTH_TRY(const Answer said, generate(std::move(request), std::move(fan)));
    return ExplainAnswer{.answer = std::string(assist::trim(fanned.text(0))),
                         .shown = std::string(assist::trim(fanned.text(1))),
                         .confidence = fanned.evidence().confidence()};
}

std::vector<assist::LogProbabilities> Product::judge(std::vector<assist::JudgedPrompt> prompts,
                                                     engine::Priority priority) {
    return assist::judge_by_requests(
        std::move(prompts),
        priority,
        [this](engine::Request request) { return engine_->submit(std::move(request)); },
        TimePoint::max());
}

Result<FixAnswer> Product::fix(const FixCase& place) {
    const std::string before(last_lines(place.before, kFixContextLines));
    const std::string after(first_lines(place.after, kFixContextLines));
    const assist::AssistLimits limits;
    const assist::FixGate::Options marked{.before = before,
                                          .marked = place.line,
                                          .after = after,
                                          .language = place.language,
                                          .may_have_fence = !format_->is_own(),
                                          .stops = stop_strings(),
                                          .probability_min = limits.fix_probability_min};
    auto gate = std::make_unique<assist::FixGate>(marked);
    const assist::FixGate& judged = *gate;
    const std::array parts = {Part{PartKind::code, place.path, before},
                              Part{PartKind::marked_line, place.path, place.line},
                              Part{PartKind::code, place.path, after}};
    HEARTH_TRY(engine::Request request, make_request(GenerateTask::fix, parts));
    const assist::Tokens prompt = request.prompt;
    HEARTH_TRY(const Answer said, generate(std::move(request), std::move(gate)));
    FixAnswer answer{.answer = judged.answer(),
                     .fault = judged.fault(),
                     .found = {},
                     .shown = said.text,
                     .shown_if_wrong = said.text};
    if (!format_->is_own()) return answer;
    const assist::Judge ask = [this](std::vector<assist::JudgedPrompt> prompts) {
        return judge(std::move(prompts), engine::Priority::fix);
    };
    HEARTH_TRY(auto found,
               assist::search_fix(
                   {.place = marked, .prompt = prompt, .said = answer.answer}, *tokenizer_, ask));
    if (!found) return answer;
    answer.found = *std::move(found);
    const auto line_if = [&](bool is_sure) { return is_sure ? answer.found.line : std::string(); };
    answer.shown = line_if(answer.found.probability >= limits.fix_probability_min);
    answer.shown_if_wrong =
        line_if(answer.found.probability_if_wrong >= limits.diagnosed_fix_probability_min);
    return answer;
}

}  // namespace hearth::evaluation

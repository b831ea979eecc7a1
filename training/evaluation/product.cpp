#include "training/evaluation/product.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "core/assist/assist.h"
#include "core/assist/infill_prompt.h"
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

}  // namespace

LineAnswer copy_line(const LineCase& cursor) {
    LineAnswer answer;
    answer.copies = assist::find_copy_offers(
        {.before = cursor.prefix, .after = cursor.suffix, .others = {}}, cursor.language, {});
    answer.decision.choice = assist::choose({}, answer.copies, 0.0);
    answer.product = answer.decision.choice.text;
    return answer;
}

Result<std::unique_ptr<Product>> Product::make(std::shared_ptr<const model::Model> model,
                                               compute::Backend& backend) {
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
    return self;
}

Result<Product::Answer> Product::generate(assist::Tokens prompt,
                                          std::int32_t tokens_max,
                                          std::unique_ptr<assist::TextGate> gate,
                                          std::shared_ptr<engine::TokenGuide> guide) {
    Answer answer;
    answer.stream = std::make_shared<assist::AnswerStream>(tokenizer_, std::move(gate), tokens_max);
    engine::Request request;
    request.prompt = std::move(prompt);
    request.guide = std::move(guide);
    request.tokens_max = tokens_max;
    const auto ends = tokenizer_->end_tokens();
    request.stop_tokens.assign(ends.begin(), ends.end());
    request.sink = [stream = answer.stream](const engine::Event& event) {
        return stream->on_event(event);
    };
    HEARTH_CHECK(engine_->submit(std::move(request)));
    while (const auto piece = answer.stream->next(TimePoint::max())) {
        answer.text += *piece;
    }
    if (const auto outcome = answer.stream->outcome(); outcome.error) return fail(*outcome.error);
    return answer;
}

Result<Product::Answer> Product::generate(GenerateTask task,
                                          std::span<const Part> parts,
                                          std::unique_ptr<assist::TextGate> gate) {
    if (!format_->can(task)) {
        return fail(ErrorCode::unsupported,
                    "the model was not made to explain or to fix code",
                    "evaluation");
    }
    const assist::AssistLimits limits;
    const std::int32_t room = engine_->limits().context_tokens_max;
    const std::int32_t tokens_max = std::clamp(
        room / 4, 1, task == GenerateTask::fix ? limits.fix_tokens_max : limits.explain_tokens_max);
    HEARTH_TRY(
        assist::Tokens prompt,
        format_->generate(task, parts, std::min(limits.prompt_tokens_max, room - tokens_max)));
    return generate(std::move(prompt), tokens_max, std::move(gate));
}

std::vector<std::string> Product::stop_strings() const {
    const auto stops = format_->stop_strings();
    return {stops.begin(), stops.end()};
}

Result<LineAnswer> Product::complete_line(const LineCase& cursor) {
    const assist::AssistLimits limits;
    const std::int32_t room = engine_->limits().context_tokens_max;
    const std::int32_t tokens_max = std::clamp(room / 4, 1, limits.completion_tokens_max);
    HEARTH_TRY(assist::InfillPrompt prompt,
               assist::make_infill_prompt(*tokenizer_,
                                          *format_,
                                          {.repository = {},
                                           .path = cursor.path,
                                           .before = cursor.prefix,
                                           .after = cursor.suffix,
                                           .context = {}},
                                          std::min(limits.prompt_tokens_max, room - tokens_max)));
    LineAnswer answer = copy_line(cursor);
    CompletionGateOptions options = {.before = cursor.prefix,
                                     .after = cursor.suffix,
                                     .healed = prompt.healed,
                                     .language = cursor.language,
                                     .lines_max = cursor.lines_max,
                                     .has_checks = false};
    auto fan = std::make_unique<GateFan>();
    const GateFan& fanned = *fan;
    const CompletionGate& bare = fan->add(std::make_unique<CompletionGate>(options));
    options.copies = answer.copies;
    options.has_checks = true;
    const CompletionGate& decided = fan->add(std::make_unique<CompletionGate>(options));
    for (const double least : {limits.automatic_probability_min, limits.invoked_probability_min}) {
        options.probability_min = least;
        fan->add(std::make_unique<CompletionGate>(options));
    }
    const assist::TokenHealing* healing = format_->healing();
    HEARTH_TRY(const Answer said,
               generate(std::move(prompt.tokens),
                        tokens_max,
                        std::move(fan),
                        healing == nullptr ? nullptr : healing->guide(prompt.healed)));
    if (decided.decision()) answer.decision = *decided.decision();
    answer.model = fanned.text(0);
    if (answer.model.empty() && bare.decision()) answer.model = bare.decision()->model_line;
    answer.product = fanned.text(1);
    answer.automatic = fanned.text(2);
    answer.invoked = fanned.text(3);
    return answer;
}

Result<ExplainAnswer> Product::explain(const ExplainCase& function) {
    auto fan = std::make_unique<GateFan>();
    const GateFan& fanned = *fan;
    for (const double least : {0.0, assist::AssistLimits{}.explain_confidence_min}) {
        fan->add(std::make_unique<assist::ExplainGate>(
            assist::ExplainGate::Options{.stops = stop_strings(), .confidence_min = least}));
    }
    const std::array parts = {Part{PartKind::code, function.path, function.code}};
    HEARTH_TRY(const Answer said, generate(GenerateTask::explain, parts, std::move(fan)));
    return ExplainAnswer{.answer = std::string(assist::trim(fanned.text(0))),
                         .shown = std::string(assist::trim(fanned.text(1))),
                         .confidence = fanned.evidence().confidence()};
}

Result<FixAnswer> Product::fix(const FixCase& place) {
    const std::string before(last_lines(place.before, kFixContextLines));
    const std::string after(first_lines(place.after, kFixContextLines));
    auto gate = std::make_unique<assist::FixGate>(
        assist::FixGate::Options{.before = before,
                                 .marked = place.line,
                                 .after = after,
                                 .language = place.language,
                                 .may_have_fence = !format_->is_own(),
                                 .stops = stop_strings(),
                                 .probability_min = assist::AssistLimits{}.fix_probability_min});
    const assist::FixGate& judged = *gate;
    const std::array parts = {Part{PartKind::code, place.path, before},
                              Part{PartKind::marked_line, place.path, place.line},
                              Part{PartKind::code, place.path, after}};
    HEARTH_TRY(const Answer said, generate(GenerateTask::fix, parts, std::move(gate)));
    return FixAnswer{.answer = judged.answer(),
                     .shown = said.text,
                     .log_probability = judged.evidence().log_probability,
                     .fault = judged.fault()};
}

}  // namespace hearth::evaluation

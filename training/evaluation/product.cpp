#include "training/evaluation/product.h"

#include <algorithm>
#include <chrono>

#include "core/assist/answer_stream.h"
#include "core/assist/assist.h"
#include "core/assist/infill_prompt.h"

namespace hearth::evaluation {

LineAnswer copy_line(const LineCase& cursor) {
    LineAnswer answer;
    answer.copies = assist::find_copy_offers(
        {.before = cursor.prefix, .after = cursor.suffix, .others = {}}, cursor.language, {});
    answer.decision.choice = assist::choose({}, answer.copies, 0.0);
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

Result<LineAnswer> Product::complete_line(const LineCase& cursor) {
    const assist::AssistLimits limits;
    const std::int32_t room = engine_->limits().context_tokens_max;
    engine::Request request;
    request.tokens_max = std::clamp(room / 4, 1, limits.completion_tokens_max);
    HEARTH_TRY(
        request.prompt,
        assist::make_infill_prompt(*tokenizer_,
                                   *format_,
                                   {.repository = {},
                                    .path = cursor.path,
                                    .before = cursor.prefix,
                                    .after = cursor.suffix,
                                    .context = {}},
                                   std::min(limits.prompt_tokens_max, room - request.tokens_max)));
    LineAnswer answer = copy_line(cursor);
    auto gate = std::make_unique<assist::CompletionGate>(
        assist::CompletionGateOptions{.before = cursor.prefix,
                                      .after = cursor.suffix,
                                      .language = cursor.language,
                                      .lines_max = 1,
                                      .copies = answer.copies});
    const assist::CompletionGate& decided = *gate;
    auto stream =
        std::make_shared<assist::AnswerStream>(tokenizer_, std::move(gate), request.tokens_max);
    const auto ends = tokenizer_->end_tokens();
    request.stop_tokens.assign(ends.begin(), ends.end());
    request.sink = [stream](const engine::Event& event) { return stream->on_event(event); };
    HEARTH_CHECK(engine_->submit(std::move(request)));
    while (stream->next(TimePoint::max())) {
    }
    if (const auto outcome = stream->outcome(); outcome.error) return fail(*outcome.error);
    if (decided.decision()) answer.decision = *decided.decision();
    return answer;
}

}  // namespace hearth::evaluation

// A fix: ModelContext's part that mends a line with a model of our own, which is made to say one
// line and nothing else.
#include <utility>

#include "core/assist/fix_search.h"
#include "core/assist/model_context.h"
#include "core/assist/text_collector.h"

namespace hearth::assist {

using plugin_host::CallStatus;
using plugin_host::PieceSink;

CallStatus ModelContext::fix_likeliest(engine::Request request,
                                       const FixGate::Options& place,
                                       bool is_diagnosed,
                                       PieceSink& sink) {
    const AssistLimits& limits = access_->limits;
    const Tokens prompt = request.prompt;
    auto gate = std::make_unique<FixGate>(place);
    const FixGate& judged = *gate;  // the stream's, which lives as long as the generation
    const auto generation = start(std::move(request), std::move(gate), options_.deadline);
    if (!generation) return refuse(CallStatus::failed, generation.error());
    TextCollector shown(*this);
    const CallStatus status = pump(*generation, 0, shown);
    if (status != CallStatus::ok || error()) return status;
    const Judge judge = [this](std::vector<JudgedPrompt> prompts) {
        return judge_prompts(std::move(prompts), engine::Priority::fix, options_.deadline);
    };
    auto found = search_fix(
        {.place = place, .prompt = prompt, .said = judged.answer()}, *access_->tokenizer, judge);
    if (!found) return refuse(CallStatus::failed, std::move(found).error());
    if (is_cancelled()) return CallStatus::cancelled;
    note_time();
    std::string line = std::move(shown.text());  // where nothing could be judged
    if (const std::optional<FoundFix>& likeliest = *found) {
        const bool is_sure =
            is_diagnosed ? likeliest->probability_if_wrong >= limits.diagnosed_fix_probability_min
                         : likeliest->probability >= limits.fix_probability_min;
        line = is_sure ? likeliest->line : std::string();
    }
    if (line.empty()) return CallStatus::ok;
    return sink.emit(0, line) ? CallStatus::ok : CallStatus::cancelled;
}

std::vector<LogProbabilities> ModelContext::judge_prompts(std::vector<JudgedPrompt> prompts,
                                                          engine::Priority priority,
                                                          TimePoint until) {
    const Submit submit = [&](engine::Request request) -> Result<engine::Ticket> {
        request.deadline = until;
        request.cancel = cancel_token();
        return submit_own(std::move(request));
    };
    return judge_by_requests(std::move(prompts), priority, submit, wait_until(until));
}

}  // namespace hearth::assist

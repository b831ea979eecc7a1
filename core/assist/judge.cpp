#include "core/assist/judge.h"

#include <memory>
#include <utility>
#include <variant>

#include "core/base/bounded_queue.h"

namespace hearth::assist {

using tokenizer::TokenId;

JudgedPrompt make_judged_prompt(std::span<const TokenId> prompt,
                                std::span<const TokenId> tokens,
                                std::size_t first) {
    JudgedPrompt out;
    out.tokens.assign(prompt.begin(), prompt.end());
    out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end() - 1);
    for (std::size_t i = first; i < tokens.size(); ++i) {
        out.asked.push_back({static_cast<std::int32_t>(prompt.size() + i) - 1, tokens[i]});
    }
    return out;
}

std::vector<LogProbabilities> judge_by_requests(std::vector<JudgedPrompt> prompts,
                                                engine::Priority priority,
                                                const Submit& submit,
                                                TimePoint until) {
    using Told = std::pair<std::size_t, LogProbabilities>;
    const auto told = std::make_shared<BoundedQueue<Told>>(prompts.size());
    std::size_t waited_for = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        engine::Request request;
        request.prompt = std::move(prompts[i].tokens);
        request.asked = std::move(prompts[i].asked);
        request.tokens_max = 1;
        request.priority = priority;
        request.sink = [told, i](const engine::Event& event) {
            const auto* finished = std::get_if<engine::FinishedEvent>(&event);
            (void)told->try_push({i, finished ? finished->log_probabilities : LogProbabilities()});
            return engine::SinkAnswer::go_on;
        };
        if (!submit(std::move(request))) continue;  // the queue is full: fewer are judged
        ++waited_for;
    }
    std::vector<LogProbabilities> out(prompts.size());
    for (; waited_for > 0; --waited_for) {
        std::optional<Told> next = told->pop_until(until);
        if (!next) break;
        out[next->first] = std::move(next->second);
    }
    return out;
}

}  // namespace hearth::assist

#include "core/cli/bench_drafts.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/bounded_queue.h"

namespace hearth::cli {
namespace {

struct Answered {
    std::vector<std::int32_t> tokens;
    double tokens_per_s = 0.0;
};

Result<Answered> ask(engine::Engine& engine,
                     std::span<const std::int32_t> prompt,
                     std::int32_t answer_tokens) {
    // Room for every event that can come: the sink never waits. It may still be in the queue when
    // the last event has been read, and has a share of it.
    const auto events =
        std::make_shared<BoundedQueue<engine::Event>>(static_cast<std::size_t>(answer_tokens) + 1);
    engine::Request request;
    request.prompt.assign(prompt.begin(), prompt.end());
    request.tokens_max = answer_tokens;
    request.sink = [events](const engine::Event& event) {
        return events->try_push(event) ? engine::SinkAnswer::go_on : engine::SinkAnswer::enough;
    };
    HEARTH_TRY([[maybe_unused]] const auto ticket, engine.submit(std::move(request)));
    Answered answered;
    while (const auto event = events->pop()) {
        if (const auto* failed = std::get_if<engine::FailedEvent>(&*event)) {
            return fail(failed->error);
        }
        if (const auto* token = std::get_if<engine::TokenEvent>(&*event)) {
            answered.tokens.push_back(token->token);
            continue;
        }
        const engine::Usage& usage = std::get<engine::FinishedEvent>(*event).usage;
        const double seconds = (usage.total_ms - usage.first_token_ms) / 1000.0;
        answered.tokens_per_s = (usage.generated_tokens - 1) / std::max(seconds, 1e-9);
        return answered;
    }
    return fail(ErrorCode::internal, "the engine ended without an answer", "bench");
}

}  // namespace

Result<DraftBench> measure_drafts(engine::Engine& with,
                                  engine::Engine& without,
                                  std::span<const std::int32_t> text,
                                  const BenchSettings& settings) {
    const auto prompt_tokens = static_cast<std::size_t>(settings.prompt_tokens);
    if (prompt_tokens == 0 || settings.decode_tokens < 2 || text.size() < prompt_tokens) {
        return fail(ErrorCode::invalid_argument,
                    "drafts want -p above 0, -n above 1 and a text of at least -p tokens; it has " +
                        std::to_string(text.size()),
                    "bench");
    }
    DraftBench bench{.with = {},
                     .without = {},
                     .answers = settings.run_count,
                     .answer_tokens = settings.decode_tokens,
                     .prompt_tokens = settings.prompt_tokens};
    const std::size_t stride =
        (text.size() - prompt_tokens) / (static_cast<std::size_t>(settings.run_count) + 1);
    std::vector<double> rates_with;
    std::vector<double> rates_without;
    for (std::int32_t run = 0; run <= settings.run_count; ++run) {
        const auto prompt = text.subspan(static_cast<std::size_t>(run) * stride, prompt_tokens);
        HEARTH_TRY(const Answered drafted, ask(with, prompt, settings.decode_tokens));
        HEARTH_TRY(const Answered plain, ask(without, prompt, settings.decode_tokens));
        if (drafted.tokens != plain.tokens) {
            return fail(ErrorCode::internal,
                        "the text with drafts is another one than without; this is an error in "
                        "hearth, please report it with the model and the backend",
                        "bench");
        }
        if (run == 0) continue;
        rates_with.push_back(drafted.tokens_per_s);
        rates_without.push_back(plain.tokens_per_s);
    }
    bench.with = summarise(std::move(rates_with));
    bench.without = summarise(std::move(rates_without));
    const engine::EngineStatus status = with.status();
    bench.drafted = static_cast<std::int64_t>(status.tokens_predicted);
    bench.right = static_cast<std::int64_t>(status.tokens_predicted_right);
    return bench;
}

}  // namespace hearth::cli

// hearth generate: continues a prompt in process, without the daemon.
#include <algorithm>
#include <ostream>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/bounded_queue.h"
#include "core/cli/engine_commands.h"
#include "core/cli/model_options.h"
#include "core/engine/engine.h"
#include "core/grammar/grammar_guide.h"
#include "core/grammar/json_schema.h"
#include "core/tokenizer/stream_decoder.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::cli {
namespace {

struct GenerateOptions {
    ModelOptions model;
    std::string prompt;
    std::int32_t tokens_max = 128;
    float temperature = 0.0F;
    std::uint64_t seed = 0;
    std::string grammar_file, schema_file;
    bool is_json = false;
};

/// The user's own prompt: names of special tokens in it are those tokens.
Result<std::vector<std::int32_t>> encode_prompt(const tokenizer::Tokenizer& tokenizer,
                                                const std::string& prompt) {
    HEARTH_TRY(auto tokens, tokenizer.encode(prompt, {.parses_special = true}));
    const tokenizer::SpecialTokens& special = tokenizer.special();
    const bool wants_begin = special.adds_begin_of_text && special.begin_of_text.has_value();
    if (wants_begin && (tokens.empty() || tokens.front() != *special.begin_of_text)) {
        tokens.insert(tokens.begin(), *special.begin_of_text);
    }
    return tokens;
}

/// What the answer is held to; null: nothing.
Result<std::shared_ptr<engine::TokenGuide>> make_guide(const GenerateOptions& options,
                                                       const tokenizer::Tokenizer& tokenizer) {
    std::string rules;
    if (!options.grammar_file.empty()) {
        HEARTH_TRY(rules, read_file(options.grammar_file));
    } else if (!options.schema_file.empty()) {
        HEARTH_TRY(const std::string schema, read_file(options.schema_file));
        HEARTH_TRY(rules, grammar::gbnf_of_schema(schema));
    } else {
        return std::shared_ptr<engine::TokenGuide>();
    }
    HEARTH_TRY(auto grammar, grammar::Grammar::parse(rules));
    return grammar::make_guide(
        std::move(grammar), tokenizer, std::make_shared<tokenizer::TokenOrder>(tokenizer));
}

const char* to_text(engine::FinishReason reason) {
    switch (reason) {
        case engine::FinishReason::stop_token:
            return "stop_token";
        case engine::FinishReason::tokens_max:
            return "tokens_max";
        case engine::FinishReason::sink_enough:
            return "sink_enough";
        case engine::FinishReason::deadline:
            return "deadline";
        case engine::FinishReason::cancelled:
            return "cancelled";
    }
    return "unknown";
}

void print_json(std::ostream& out, const std::string& text, const engine::FinishedEvent& end) {
    const nlohmann::ordered_json json = {{"text", text},
                                         {"finish", to_text(end.reason)},
                                         {"tokens", end.usage.generated_tokens},
                                         {"prompt_tokens", end.usage.prompt_tokens},
                                         {"cached_tokens", end.usage.cached_tokens},
                                         {"first_token_ms", end.usage.first_token_ms},
                                         {"total_ms", end.usage.total_ms}};
    out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

/// Prints the answer as it comes; with --json at its end.
Result<int> print_answer(BoundedQueue<engine::Event>& events,
                         const tokenizer::Tokenizer& tokenizer,
                         bool is_json,
                         std::ostream& out) {
    tokenizer::StreamDecoder decoder(tokenizer);
    std::string text;
    const auto show = [&](const std::string& piece) {
        if (is_json) {
            text += piece;
        } else {
            out << piece << std::flush;
        }
    };
    while (const auto event = events.pop()) {
        if (const auto* failed = std::get_if<engine::FailedEvent>(&*event)) {
            return fail(failed->error);
        }
        if (const auto* token = std::get_if<engine::TokenEvent>(&*event)) {
            show(decoder.feed(token->token));
            continue;
        }
        show(decoder.finish());
        if (is_json) {
            print_json(out, text, std::get<engine::FinishedEvent>(*event));
        } else {
            out << '\n';
        }
        return kExitDone;
    }
    return fail(ErrorCode::internal, "the engine ended without an answer", "generate");
}

Result<int> run_generate(const GenerateOptions& options, const EngineContext& context) {
    HEARTH_TRY(const auto model, open_model(options.model, context));
    HEARTH_TRY(const auto tokenizer, tokenizer::Tokenizer::from_gguf(model->file()));
    HEARTH_TRY(auto prompt, encode_prompt(*tokenizer, options.prompt));
    HEARTH_TRY(const auto guide, make_guide(options, *tokenizer));

    const auto prompt_tokens = static_cast<std::int32_t>(prompt.size());
    const std::int32_t context_tokens = static_cast<std::int32_t>(std::min<std::int64_t>(
        std::int64_t{prompt_tokens} + options.tokens_max, model->config().context_length));
    // One block more than the sequence: the cache may keep a block while it gives another.
    const engine::EngineLimits limits{.context_tokens_max = context_tokens,
                                      .cache_tokens = context_tokens + 2 * compute::kBlockTokens,
                                      .sequences_max = 1};
    const SteadyClock clock;
    // Room for every event that can come: the sink never waits.
    BoundedQueue<engine::Event> events(static_cast<std::size_t>(options.tokens_max) + 1);
    HEARTH_TRY(const LoadedEngine loaded,
               open_engine(options.model, model, limits, clock, context));
    const auto stop_tokens = tokenizer->end_tokens();
    engine::Request request;
    request.prompt = std::move(prompt);
    request.sampling.temperature = options.temperature;
    request.sampling.seed = options.seed;
    request.guide = guide;
    request.stop_tokens = {stop_tokens.begin(), stop_tokens.end()};
    request.tokens_max = options.tokens_max;
    request.sink = [&events](const engine::Event& event) {
        return events.try_push(event) ? engine::SinkAnswer::go_on : engine::SinkAnswer::enough;
    };
    HEARTH_TRY([[maybe_unused]] const auto ticket, loaded.engine->submit(std::move(request)));
    return print_answer(events, *tokenizer, options.is_json, context.out);
}

}  // namespace

void add_generate(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<GenerateOptions>();
    CLI::App* command =
        program.add("generate", "Continue a prompt, here and now", [options, &context] {
            return run_generate(*options, context);
        });
    add_model_option(*command, options->model);
    add_backend_options(*command, options->model);
    add_prediction_option(*command, options->model);
    command
        ->add_option("--prompt",
                     options->prompt,
                     "The text to continue; names of special tokens in it are those tokens")
        ->required();
    command->add_option("-n", options->tokens_max, "Tokens at most")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 20));
    command->add_option("--temperature", options->temperature, "0: always the likeliest token")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 100.0));
    command
        ->add_option(
            "--seed", options->seed, "Of the random numbers: the same seed gives the same text")
        ->capture_default_str();
    auto* grammar = command->add_option(
        "--grammar", options->grammar_file, "A file of rules (GBNF) that the answer follows");
    command
        ->add_option("--json-schema",
                     options->schema_file,
                     "A file with a JSON Schema: the answer is JSON of that kind")
        ->excludes(grammar);
    command->add_flag("--json", options->is_json, "Print JSON: the text, counts and times");
}

}  // namespace hearth::cli

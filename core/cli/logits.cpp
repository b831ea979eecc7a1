// hearth logits: the raw logits of a row of tokens, for comparison with other engines.
#include <filesystem>
#include <fstream>
#include <ostream>
#include <system_error>
#include <vector>

#include "core/cli/engine_commands.h"
#include "core/cli/forward.h"
#include "core/cli/model_options.h"

namespace hearth::cli {
namespace {

struct LogitsOptions {
    ModelOptions model;
    std::vector<std::int32_t> tokens;
    std::string out;
};

Result<void> check_tokens(const std::vector<std::int32_t>& tokens,
                          const model::ModelConfig& config) {
    for (const std::int32_t token : tokens) {
        if (token >= 0 && token < config.vocab_size) continue;
        return fail(ErrorCode::invalid_argument,
                    "token " + std::to_string(token) + " is outside the vocabulary of " +
                        std::to_string(config.vocab_size),
                    "logits");
    }
    return {};
}

Result<void> write_logits(Forward& forward, const LogitsOptions& options) {
    std::ofstream file(options.out, std::ios::binary);
    const std::span<const std::int32_t> tokens(options.tokens);
    for (std::size_t begin = 0; begin < tokens.size() && file; begin += kStepTokens) {
        const auto piece =
            tokens.subspan(begin, std::min<std::size_t>(kStepTokens, tokens.size() - begin));
        HEARTH_TRY(const auto output,
                   forward.step(piece, static_cast<std::int32_t>(begin), Forward::LogitRows::all));
        const auto bytes = std::as_bytes(output.logits);
        file.write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
    }
    file.close();
    if (!file) {
        return fail(ErrorCode::io, "cannot write the logits to " + options.out, "logits");
    }
    return {};
}

Result<int> run_logits(const LogitsOptions& options, const EngineContext& context) {
    HEARTH_TRY(const auto model, open_model(options.model, context));
    HEARTH_CHECK(check_tokens(options.tokens, model->config()));
    HEARTH_TRY(const auto backend, open_backend(options.model, context));
    HEARTH_TRY(const compute::Dtype cache, cache_type(options.model, context));
    HEARTH_TRY(const auto forward,
               Forward::make(*model,
                             *backend,
                             {.first_tokens_max = static_cast<std::int32_t>(options.tokens.size()),
                              .cache_type = cache}));
    HEARTH_CHECK(write_logits(*forward, options));
    context.out << options.tokens.size() << " rows of " << model->config().vocab_size
                << " logits written to " << options.out << "\n";
    return kExitDone;
}

}  // namespace

void add_logits(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<LogitsOptions>();
    CLI::App* command =
        program.add("logits",
                    "Write the logits of a row of tokens: raw little-endian F32, one row of "
                    "vocabulary size per position",
                    [options, &context] { return run_logits(*options, context); });
    add_model_option(*command, options->model);
    add_backend_options(*command, options->model);
    command->add_option("--tokens", options->tokens, "Token numbers: 1,2,3")
        ->delimiter(',')
        ->required();
    command->add_option("--out", options->out, "The file to write")->required();
}

}  // namespace hearth::cli

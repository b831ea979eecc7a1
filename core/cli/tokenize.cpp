// hearth tokenize: how a text falls into tokens.
#include <istream>
#include <iterator>
#include <ostream>

#include <nlohmann/json.hpp>

#include "core/cli/engine_commands.h"
#include "core/cli/model_options.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::cli {
namespace {

struct TokenizeOptions {
    ModelOptions model;
    bool only_ids = false;
    bool parses_special = false;
    std::string file;  ///< empty: standard input
};

/// A token's bytes as a JSON string on one line; bytes that are no text become U+FFFD.
std::string quoted(std::string_view bytes) {
    return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<int> run_tokenize(const TokenizeOptions& options, const EngineContext& context) {
    HEARTH_TRY(const std::string path, model_path(options.model, context));
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    HEARTH_TRY(const auto tokenizer, tokenizer::Tokenizer::from_gguf(*file));
    std::string text;
    if (options.file.empty()) {
        text.assign(std::istreambuf_iterator<char>(context.in), {});
    } else {
        HEARTH_TRY(text, read_file(options.file));
    }
    HEARTH_TRY(const auto tokens,
               tokenizer->encode(text, {.parses_special = options.parses_special}));
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (options.only_ids) {
            context.out << (i == 0 ? "" : ",") << tokens[i];
        } else {
            context.out << tokens[i] << '\t' << quoted(tokenizer->token_bytes(tokens[i])) << '\n';
        }
    }
    if (options.only_ids) context.out << '\n';
    return kExitDone;
}

}  // namespace

void add_tokenize(Program& program, const EngineContext& context) {
    const auto options = std::make_shared<TokenizeOptions>();
    CLI::App* command = program.add(
        "tokenize", "Print the tokens of a text, one a line with its bytes", [options, &context] {
            return run_tokenize(*options, context);
        });
    add_model_option(*command, options->model);
    command->add_flag(
        "--ids", options->only_ids, "Only the numbers, as `logits --tokens` takes them");
    command->add_flag("--special",
                      options->parses_special,
                      "Names of special tokens in the text become those tokens");
    command->add_option("file", options->file, "The text (default: standard input)");
}

}  // namespace hearth::cli

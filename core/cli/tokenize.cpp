// hearth tokenize: how a text falls into tokens.
#include <fstream>
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

Result<std::string> read_text(const TokenizeOptions& options, const EngineContext& context) {
    const auto all = [](std::istream& stream) {
        return std::string(std::istreambuf_iterator<char>(stream), {});
    };
    if (options.file.empty()) return all(context.in);
    std::ifstream file(options.file, std::ios::binary);
    std::string text = all(file);
    if (!file.is_open() || file.bad()) {
        return fail(ErrorCode::not_found, "cannot read " + options.file, "tokenize");
    }
    return text;
}

/// A token's bytes as a JSON string on one line; bytes that are no text become U+FFFD.
std::string quoted(std::string_view bytes) {
    return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<int> run_tokenize(const TokenizeOptions& options, const EngineContext& context) {
    HEARTH_TRY(const std::string path, model_path(options.model, context));
    HEARTH_TRY(const auto file, formats::GgufFile::load(path));
    HEARTH_TRY(const auto tokenizer, tokenizer::Tokenizer::from_gguf(*file));
    HEARTH_TRY(const std::string text, read_text(options, context));
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

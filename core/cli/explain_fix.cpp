// hearth explain and hearth fix: some lines of a file, through the daemon.
#include <iostream>

#include "core/cli/daemon_client.h"
#include "core/cli/daemon_commands.h"

namespace hearth::cli {
namespace {

struct Options {
    std::string file;
    std::string lines;
    std::string message;
    bool is_json = false;
};

Result<int> run(const Options& options,
                const std::string& method,
                const std::string& nothing_found) {
    HEARTH_TRY(lsp::HearthTextParams params, read_source(options.file));
    HEARTH_TRY(const LineRange range, parse_lines(params.text, options.lines));
    params.begin_byte = range.begin_byte;
    params.end_byte = range.end_byte;
    if (!options.message.empty()) params.message = options.message;
    HEARTH_TRY(const std::unique_ptr<lsp::Client> client, find_daemon(true));
    HEARTH_TRY(const auto result,
               client->call<lsp::HearthTextResult>(method, params, kAnswerPatience));
    if (options.is_json) {
        std::cout << to_json_line(result) << "\n";
    } else if (result.text.empty()) {
        std::cerr << nothing_found << "\n";
    } else {
        std::cout << result.text << "\n";
    }
    return kExitDone;
}

CLI::App* add(Program& program,
              const std::string& name,
              const std::string& description,
              const std::string& nothing_found,
              const std::shared_ptr<Options>& options) {
    CLI::App* command = program.add(
        name, description, [=] { return run(*options, "hearth/" + name, nothing_found); });
    command->add_option("FILE", options->file, "source file")->required();
    command->add_option("--lines", options->lines, "A-B or A, from 1, both included")->required();
    command->add_flag("--json", options->is_json, "text, counts and times as one line of JSON");
    return command;
}

}  // namespace

void add_explain_command(Program& program) {
    add(program,
        "explain",
        "Explain some lines of a file",
        "the model is not sure about these lines; a larger one may be: --model",
        std::make_shared<Options>());
}

void add_fix_command(Program& program) {
    const auto options = std::make_shared<Options>();
    CLI::App* command = add(program,
                            "fix",
                            "Print what the faulty line among some lines of a file should be",
                            "no fix found for these lines that the model is sure of",
                            options);
    command->add_option("--message", options->message, "what the compiler or linter said");
}

}  // namespace hearth::cli

// hearth complete: one completion at a place in a file, through the daemon.
#include <iostream>

#include "core/cli/daemon_client.h"
#include "core/cli/daemon_commands.h"

namespace hearth::cli {
namespace {

struct Options {
    std::string file;
    std::string place;
    bool is_json = false;
};

Result<int> run(const Options& options) {
    HEARTH_TRY(lsp::HearthTextParams params, read_source(options.file));
    HEARTH_TRY(params.begin_byte, parse_place(params.text, options.place));
    params.end_byte = params.begin_byte;
    HEARTH_TRY(const std::unique_ptr<lsp::Client> client, find_daemon(true));
    HEARTH_TRY(const auto result,
               client->call<lsp::HearthTextResult>("hearth/complete", params, kAnswerPatience));
    if (options.is_json) {
        std::cout << to_json_line(result) << "\n";
    } else if (!result.text.empty()) {
        std::cout << result.text << "\n";
    }
    return kExitDone;
}

}  // namespace

void add_complete_command(Program& program) {
    const auto options = std::make_shared<Options>();
    CLI::App* command = program.add(
        "complete", "Complete the code at a place in a file", [options] { return run(*options); });
    command->add_option("FILE", options->file, "source file")->required();
    command
        ->add_option(
            "--at", options->place, "LINE:COLUMN, from 1; columns count characters, a tab is one")
        ->required();
    command->add_flag("--json", options->is_json, "text, counts and times as one line of JSON");
}

}  // namespace hearth::cli

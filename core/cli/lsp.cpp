// hearth lsp: what an editor starts. Its standard input and output are the conversation.
#include "core/cli/daemon_client.h"
#include "core/cli/daemon_commands.h"
#include "lsp/stdio_bridge/stdio_bridge.h"

namespace hearth::cli {

void add_lsp_command(Program& program) {
    CLI::App* command =
        program.add("lsp", "Speak LSP on standard input and output, for editors", [] {
            return Result<int>(fail(lsp::run_stdio_bridge(make_daemon_start())));
        });
    // Editors pass these by habit; the conversation is always on stdio, and initialize tells the
    // process.
    command->add_flag("--stdio")->description("accepted; it is the only way");
    command->add_option_function<std::int64_t>(
        "--clientProcessId", [](std::int64_t) {}, "accepted");
}

}  // namespace hearth::cli

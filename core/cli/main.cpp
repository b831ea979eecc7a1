// hearth: the command line. Each command is a file of its own; this one lists them.
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>

#include "core/cli/daemon_commands.h"
#include "core/cli/engine_commands.h"
#include "core/cli/settings.h"

int main(int argc, char** argv) {
    using namespace hearth::cli;  // NOLINT(google-build-using-namespace): the list below is the
                                  // program
    std::signal(SIGPIPE, SIG_IGN);
    try {
        const EngineContext context{.settings_path = settings_path(),
                                    .program_folder = Program::folder(),
                                    .in = std::cin,
                                    .out = std::cout,
                                    .err = std::cerr};
        Program program(
            "hearth",
            "A coding assistant that runs on this machine: completes, explains and fixes code.");
        add_serve_command(program);
        add_stop_command(program);
        add_status_command(program);
        add_doctor_command(program);
        add_lsp_command(program);
        add_complete_command(program);
        add_explain_command(program);
        add_fix_command(program);
        add_engine_commands(program, context);
        add_plugins_commands(program);
        return program.run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hearth: %s\n", error.what());
        return kExitFailed;
    }
}

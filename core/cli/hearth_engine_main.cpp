// hearth-engine: the commands that need no daemon.
#include <cstdio>
#include <exception>
#include <iostream>

#include "core/cli/engine_commands.h"
#include "core/cli/settings.h"

int main(int argc, char** argv) {
    namespace cli = hearth::cli;
    try {
        const cli::EngineContext context{.settings_path = cli::settings_path(),
                                         .program_folder = cli::Program::folder(),
                                         .in = std::cin,
                                         .out = std::cout,
                                         .err = std::cerr};
        cli::Program program("hearth-engine",
                             "The engine of hearth without its daemon: runs and measures models.");
        cli::add_engine_commands(program, context);
        return program.run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hearth-engine: %s\n", error.what());
        return cli::kExitFailed;
    }
}

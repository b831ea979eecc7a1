// hearth serve: becomes the hearthd that lies beside it, in the foreground.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/cli/daemon_commands.h"
#include "core/cli/serve_options.h"

namespace hearth::cli {
namespace {

Result<int> run(const ServeOptions& options) {
    const std::string program = Program::folder() + "/hearthd";
    std::vector<std::string> words = to_arguments(options);
    words.insert(words.begin(), program);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    ::execv(program.c_str(), argv.data());
    return fail(ErrorCode::io, "cannot start " + program + ": " + std::strerror(errno), "cli");
}

}  // namespace

void add_serve_command(Program& program) {
    const auto options = std::make_shared<ServeOptions>();
    CLI::App* command = program.add(
        "serve", "Run the daemon in the foreground", [options] { return run(*options); });
    add_serve_options(*command, *options);
}

}  // namespace hearth::cli

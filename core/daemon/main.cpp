// hearthd: the daemon. `hearth serve` runs it in the foreground; clients start it in the
// background.
#include <csignal>
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>

#include "core/base/thread.h"
#include "core/base/version.h"
#include "core/cli/program.h"
#include "core/daemon/daemon.h"
#include "lsp/client/daemon_start.h"

namespace hearth::daemon {
namespace {

Result<void> serve(const cli::ServeOptions& options, Log& log) {
    DaemonOptions daemon_options;
    daemon_options.serve = options;
    daemon_options.program_folder = cli::Program::folder();
    HEARTH_TRY(daemon_options.settings, cli::load_settings(cli::settings_path()));
    HEARTH_TRY(daemon_options.runtime_folder, lsp::ensure_runtime_folder());
    HEARTH_TRY(const std::unique_ptr<Daemon> daemon, Daemon::start(daemon_options, log));
    daemon->run();
    return {};
}

int run(int argc, char** argv) {
    name_thread(Thread::main);
    std::signal(SIGPIPE, SIG_IGN);
    CLI::App app("The hearth daemon: hosts the model and serves every editor of this user.",
                 "hearthd");
    app.set_version_flag("--version", std::string(build_id()));
    cli::ServeOptions options;
    cli::add_serve_options(app, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? cli::kExitDone : cli::kExitMisused;
    }
    Log log;
    const Result<void> outcome = serve(options, log);
    if (outcome) return cli::kExitDone;
    log.error(outcome.error().where.empty() ? "daemon" : outcome.error().where,
              outcome.error().text);
    return cli::kExitFailed;
}

}  // namespace
}  // namespace hearth::daemon

int main(int argc, char** argv) {
    try {
        return hearth::daemon::run(argc, argv);
    } catch (const std::exception& error) {
        // The roof: no memory, or a mistake of ours. What was asked is lost; the next client starts
        // a new daemon.
        std::fprintf(stderr, "error: daemon: %s\n", error.what());
        return 1;
    }
}

// hearth stop: ends the daemon in good order.
#include <iostream>

#include "core/cli/daemon_client.h"
#include "core/cli/daemon_commands.h"

namespace hearth::cli {
namespace {

constexpr Duration kStopPatience = std::chrono::seconds(30);

Result<int> run() {
    Result<std::unique_ptr<lsp::Client>> client = find_daemon(false);
    if (!client && client.error().code == ErrorCode::unavailable) {
        std::cout << "no daemon runs\n";
        return kExitDone;
    }
    if (!client) return fail(std::move(client).error());
    HEARTH_TRY(const lsp::LspAny answer, (*client)->call("hearth/stop", {}, kStopPatience));
    // The connection closes when the daemon has let go of everything that waits for it.
    while (const Result<std::optional<lsp::Message>> message = (*client)->receive(kStopPatience)) {
        if (!message->has_value())
            return fail(ErrorCode::timed_out, "the daemon did not end in time", "cli");
    }
    std::cout << "stopped\n";
    return kExitDone;
}

}  // namespace

void add_stop_command(Program& program) {
    program.add("stop", "End the daemon", [] { return run(); });
}

}  // namespace hearth::cli

// Where the daemon's socket lies, and how a client starts the daemon when none runs.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"
#include "lsp/client/client.h"

namespace hearth::lsp {

/// The folder of the socket, the lock and the log: $HEARTH_RUNTIME_DIR, else
/// $XDG_RUNTIME_DIR/hearth, else a folder hearth-UID in the temporary folder. Made with mode 0700
/// where it is missing.
///
/// Errors: io; unsupported (the folder belongs to another user, or others may write to it).
Result<std::string> ensure_runtime_folder();

/// The socket in that folder.
std::string socket_path(const std::string& runtime_folder);

struct DaemonStart {
    std::string program;                           ///< path of hearthd
    std::vector<std::string> arguments;            ///< for a daemon that has to be started
    Duration patience = std::chrono::seconds(60);  ///< for it to answer
};

/// Connects and says hello. With `start`, a missing daemon is started first and an idle one of
/// another build is replaced; without, a missing daemon is an error.
///
/// Errors: unavailable (none runs, or it ended while starting: the end of its log is in the text),
/// io.
Result<std::unique_ptr<Client>> connect_daemon(const std::string& runtime_folder,
                                               const DaemonStart* start);

}  // namespace hearth::lsp

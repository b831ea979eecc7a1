// The door of lsp/stdio_bridge: what an editor starts as `hearth lsp`. It carries bytes between
// stdin/stdout and the daemon's socket; it knows frames but no message.
#pragma once

#include <string>

#include "core/base/result.h"
#include "lsp/client/daemon_start.h"

namespace hearth::lsp {

/// Runs until the daemon ends the conversation, the editor closes stdin, or either dies; then ends
/// the process with the daemon's status byte (0 after shutdown and exit), else 1. Returns only when
/// it could not begin.
///
/// Errors: those of ensure_runtime_folder and connect_daemon.
Error run_stdio_bridge(const DaemonStart& start);

}  // namespace hearth::lsp

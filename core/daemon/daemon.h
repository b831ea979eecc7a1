// The roof: builds every room in order, serves until told to stop, takes everything down in
// reverse. Nobody includes it.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/base/result.h"
#include "core/cli/serve_options.h"
#include "core/cli/settings.h"

namespace hearth::daemon {

struct DaemonOptions {
    cli::ServeOptions serve;
    cli::Settings settings;
    std::string program_folder;  ///< plugins, backends and the default model lie beside it
    std::string runtime_folder;  ///< the socket and the lock
};

/// One daemon per runtime folder.   Thread: main.
class Daemon {
  public:
    /// Loads the model and the plugins and listens.
    ///
    /// Errors: unavailable (another daemon serves this folder), and those of the model, the backend
    /// and the socket.
    static Result<std::unique_ptr<Daemon>> start(const DaemonOptions& options, Log& log);

    virtual ~Daemon() = default;
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// Serves until hearth/stop, SIGINT, SIGTERM, or the idle limit. The destructor does the rest.
    virtual void run() = 0;

  protected:
    Daemon() = default;
};

}  // namespace hearth::daemon

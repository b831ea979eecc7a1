// What the shipped plugins show of the other open files at a cursor, as a model is shown it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/assist/context_gatherer.h"
#include "core/base/log.h"
#include "core/plugin_host/plugin_host.h"

namespace hearth::evaluation {

struct LineCase;

/// Thread: one at a time.
class OpenContext {
  public:
    /// `clock` outlives it.
    ///
    ///   folder   of plugins
    ///
    /// Errors: not_found (no plugin in the folder gives context).
    static Result<std::unique_ptr<OpenContext>> make(const std::string& folder, const Clock& clock);

    ~OpenContext();
    OpenContext(const OpenContext&) = delete;
    OpenContext& operator=(const OpenContext&) = delete;

    /// As behind an editor, without a limit of time.
    std::vector<assist::ContextPiece> gather(const LineCase& cursor);

  private:
    OpenContext() = default;

    Log log_{LogLevel::warning};
    std::unique_ptr<plugin_host::PluginHost> plugins_;
    std::unique_ptr<assist::ContextGatherer> gatherer_;
};

}  // namespace hearth::evaluation

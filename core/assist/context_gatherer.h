// ContextGatherer: asks all context providers at once, each on a thread of their own pool, and
// takes what has come when the time is up. Nothing is kept from one query to the next: queries may
// belong to different people.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/assist/infill_prompt.h"
#include "core/assist/query_context.h"
#include "core/base/mutex.h"
#include "core/plugin_host/job_pool.h"
#include "core/plugin_host/plugin_host.h"

namespace hearth::assist {

struct ContextLimits {
    Duration budget;  ///< what providers have given by then is used
    Duration grace;   ///< a provider that takes so much longer is left behind
    std::uint64_t bytes_max;
};

/// Shared with jobs that may outlive the assistant.   Thread: any.
class ContextGatherer {
  public:
    /// `plugins` outlives the call of shut().
    ContextGatherer(plugin_host::PluginHost& plugins,
                    std::unique_ptr<plugin_host::JobPool> pool,
                    const ContextLimits& limits);

    /// Pieces for the query's document, best first, in the order of the providers; never of the
    /// document itself. Waits for the budget at most; a provider that is late, fails, or finds the
    /// pool full is left out.
    std::vector<ContextPiece> gather(const QueryContext& query, std::uint64_t cursor_byte);

    /// Waits for the providers that still answer. From here on gather() gives nothing.
    void shut();

  private:
    struct Inquiry;

    std::shared_ptr<Inquiry> ask(const QueryContext& query, std::uint64_t cursor_byte);

    const ContextLimits limits_;
    Mutex mutex_;
    plugin_host::PluginHost* plugins_ HEARTH_GUARDED_BY(mutex_);
    std::unique_ptr<plugin_host::JobPool> pool_ HEARTH_GUARDED_BY(mutex_);
};

}  // namespace hearth::assist

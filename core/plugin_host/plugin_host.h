// The door of core/plugin_host: finds, checks, loads and guards plugins, and turns C structs into
// C++ values and back. Public headers: plugin_host.h, job_pool.h. What a plugin may ask of the
// daemon reaches core/assist through JobContext.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"

namespace hearth::plugin_host {

/// A document as a plugin sees it: UTF-8, byte offsets. Borrowed.
struct DocumentView {
    std::string_view uri;
    std::string_view language;
    std::string_view text;
    std::uint64_t cursor_byte = 0;
};

struct ByteRange {
    std::uint64_t begin_byte = 0;
    std::uint64_t end_byte = 0;
};

struct DiagnosticView {
    ByteRange range;
    std::uint32_t severity = 1;  ///< LSP's numbers: 1 error to 4 hint
    std::string_view source;
    std::string_view message;
};

struct SelectionView {
    ByteRange selection;
    std::span<const DiagnosticView> diagnostics;
};

/// How a plugin's call ended: the ABI's status.
enum class CallStatus { ok, cancelled, unsupported, failed };

struct InfillOptions {
    std::uint32_t tokens_max = 0;
    std::uint32_t lines_max = 0;
    std::uint32_t candidates_max = 1;
    float temperature = 0.0F;
};

enum class GenerateTask { explain, fix, chat };
enum class PartKind { instruction, code, diagnostic, marked_line };
struct Part {
    PartKind kind;
    std::string_view path;
    std::string_view text;
};

/// Where pieces of an answer go. False: nobody reads on.
class PieceSink {
  public:
    PieceSink() = default;
    PieceSink(const PieceSink&) = delete;
    PieceSink& operator=(const PieceSink&) = delete;
    virtual ~PieceSink() = default;
    virtual bool emit(std::uint32_t item, std::string_view piece) = 0;
};

/// One request as the host serves it; implemented by core/assist. Shared: an abandoned call may
/// outlive its query, and everything that it can still reach must live on with it.
///
/// Thread: emit, infill, generate and documents on the [job] thread of the call; is_cancelled on
/// any.
class JobContext : public PieceSink {
  public:
    /// The query was cancelled, answered or abandoned.
    [[nodiscard]] virtual bool is_cancelled() const = 0;
    /// The other documents of the user's editor, most recently used first.
    [[nodiscard]] virtual std::span<const DocumentView> documents() const = 0;
    /// Serves hearth.host.infill: the answer streams into `sink`.
    virtual CallStatus infill(const DocumentView& document,
                              const InfillOptions& options,
                              PieceSink& sink) = 0;
    /// Serves hearth.host.generate: the answer streams into `sink`, item 0.
    virtual CallStatus generate(GenerateTask task,
                                std::span<const Part> parts,
                                PieceSink& sink) = 0;
};

enum class ActionKind { explains, fixes };
struct Action {
    std::size_t plugin_index = 0;  ///< into plugins(), for run_action
    std::uint32_t id = 0;          ///< the plugin's own
    ActionKind kind = ActionKind::explains;
    std::string title;
    ByteRange range;
};

enum class PluginState { active, left_out };

struct PluginInfo {
    std::string path;
    std::string id;  ///< empty when the library was refused before it could be asked
    std::string name;
    std::string version;
    std::vector<std::string> extensions;
    PluginState state = PluginState::active;
    std::string reason;  ///< why it is left out, a sentence for the user
};

/// The time that a plugin may spend by itself in one call. The time that it waits for the host
/// (infill, generate) is not the plugin's. Shorter than what a JobPool gives the whole job: then a
/// plugin that hangs is left out before it has cost a pool its threads.
struct TimeBudgets {
    Duration complete = std::chrono::seconds(4);
    Duration list_actions = std::chrono::milliseconds(200);
    Duration run_action = std::chrono::seconds(60);
    Duration gather = std::chrono::milliseconds(200);
    Duration init = std::chrono::seconds(5);
};

struct PluginHostOptions {
    /// Folders that are scanned for `*.so`, in order: the shipped one, then those named in the
    /// settings. Nothing else is ever loaded.
    std::vector<std::string> folders;
    TimeBudgets budgets;
    /// Calls that fail or overstep in a row, or that never return, before a plugin is left out.
    std::int32_t failures_max = 3;
    /// The plugins' own settings: (plugin id, name) -> value.
    struct Setting {
        std::string plugin_id, name, value;
    };
    std::vector<Setting> settings;
};

/// All plugins of the daemon.
///
/// Each call is guarded: exceptions, statuses, text and sizes are checked, and a plugin that fails
/// or oversteps too often is left out. A call that does not return keeps its thread: job_pool.h
/// says how that is replaced. Such a call touches neither the host, the log nor the clock once the
/// host is gone. Thread: load and the destructor [main]; calls [job], several at once; the rest
/// any.
class PluginHost {
  public:
    /// Never fails as a whole: what cannot be loaded is left out, named in plugins() and in the
    /// log.
    static std::unique_ptr<PluginHost> load(const PluginHostOptions& options,
                                            Log& log,
                                            const Clock& clock);

    virtual ~PluginHost() = default;
    PluginHost(const PluginHost&) = delete;
    PluginHost& operator=(const PluginHost&) = delete;

    [[nodiscard]] virtual std::vector<PluginInfo> plugins() const = 0;

    /// Asks the active plugins that offer inline completion, in order, until one emits something.
    /// Status of the last. `document` and everything it points to is kept alive by `context` (an
    /// abandoned call still reads it).
    virtual CallStatus complete(const std::shared_ptr<JobContext>& context,
                                const DocumentView& document) = 0;

    /// What may be done at a selection, all plugins together, at most `room` actions.
    virtual std::vector<Action> list_actions(const std::shared_ptr<JobContext>& context,
                                             const DocumentView& document,
                                             const SelectionView& selection,
                                             std::size_t room) = 0;
    virtual CallStatus run_action(const std::shared_ptr<JobContext>& context,
                                  const DocumentView& document,
                                  const SelectionView& selection,
                                  const Action& action) = 0;

    /// How many plugins provide context; gather asks the one at `provider_index`.
    [[nodiscard]] virtual std::size_t provider_count() const = 0;
    virtual CallStatus gather(std::size_t provider_index,
                              const std::shared_ptr<JobContext>& context,
                              const DocumentView& document,
                              std::uint64_t budget_bytes) = 0;

    /// Sentences for the user that have come up since the last call (a plugin was left out), each
    /// told once.
    virtual std::vector<std::string> take_messages() = 0;

  protected:
    PluginHost() = default;
};

/// Checks one library as `hearth plugins check FILE` does: loads it, walks every table, calls every
/// lookup. Errors: unsupported or corrupt, a sentence that names what is wrong.
Result<std::vector<PluginInfo>> check_plugin(const std::string& path);

}  // namespace hearth::plugin_host

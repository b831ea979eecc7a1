// The guard around each call into a plugin. Call is one call: the job that the plugin sees, what it
// emits, how it ends. Ledger is what all calls share: who is inside which plugin and for how long,
// who failed, and what the user should be told. It does not stop a plugin that hangs: job_pool.h
// replaces its thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/mutex.h"
#include "core/plugin_host/plugin.h"
#include "core/plugin_host/plugin_host.h"
#include "plugins/abi/hearth/hearth.h"

namespace hearth::plugin_host {

class Call;

/// Thread: any. Shared by the host, its plugins and their calls.
class Ledger {
  public:
    /// `log` and `clock` outlive it or its close().
    Ledger(Log& log, const Clock& clock, std::int32_t failures_max);

    /// From here on neither log nor clock is touched: only calls that never returned are left.
    void close();

    void write(LogLevel level, std::string_view room, std::string_view text);
    /// Into the log and, once, to the user.
    void tell(std::string sentence);
    std::vector<std::string> take_messages();

    /// Each plugin's state now; calls past their budget are counted first.
    [[nodiscard]] bool is_active(const Plugin& plugin);
    [[nodiscard]] PluginInfo info(const Plugin& plugin);
    /// Whether any call stands in the plugin.
    [[nodiscard]] bool is_inside(const Plugin& plugin);
    void leave_out(Plugin& plugin, std::string_view why);

    /// False after close().
    [[nodiscard]] bool begin(Call& call);
    /// `failure` says what the plugin did wrong; empty if nothing. False if the call came too late.
    bool end(Call& call, const std::string& failure, bool is_success);
    [[nodiscard]] bool is_overdue(const Call& call);
    /// The time between the two is the host's, not the plugin's.
    void enter_host(Call& call);
    void leave_host(Call& call);
    /// The call in flight that a plugin names by its job's host_data; null if there is none such.
    [[nodiscard]] Call* find_call(const void* host_data);

  private:
    void count_overdue() HEARTH_REQUIRES(mutex_);
    void count_failure(Plugin& plugin, const std::string& what) HEARTH_REQUIRES(mutex_);
    void tell_locked(std::string sentence) HEARTH_REQUIRES(mutex_);
    void leave_out_locked(Plugin& plugin, std::string_view why) HEARTH_REQUIRES(mutex_);

    const std::int32_t failures_max_;
    Mutex mutex_;
    Log* log_ HEARTH_GUARDED_BY(mutex_);
    const Clock* clock_ HEARTH_GUARDED_BY(mutex_);
    std::vector<Call*> calls_ HEARTH_GUARDED_BY(mutex_);
    std::vector<std::string> messages_ HEARTH_GUARDED_BY(mutex_);
};

/// The most that one call may emit, in all its items together.
constexpr std::uint64_t kAnswerBytesMax = 1u << 20;
/// Items of one job are numbered below this.
constexpr std::uint32_t kItemsMax = 64;

/// What a call is, as its limits and the sentences about it need to know.
struct CallKind {
    std::string_view verb;  ///< "complete", a literal
    Duration budget;
    std::uint64_t bytes_max = kAnswerBytesMax;
    bool is_cut = false;  ///< past bytes_max is no failure: the answer is cut at a line's end
};

/// One call of one plugin. Lives on the stack of the [job] thread that makes it; if the plugin
/// never returns it lives on there, with all that it keeps alive.
class Call {
  public:
    Call(std::shared_ptr<Plugin> plugin,
         std::shared_ptr<JobContext> context,
         const DocumentView& document,
         const CallKind& kind);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() = default;

    /// Calls the plugin, checks how it ends and writes it into the ledger. Once.
    CallStatus run(const std::function<hearth_status(const hearth_job*)>& work);

    /// Notes the first thing that the plugin did wrong: the call will count as failed.
    void complain(std::string what);
    /// A plugin that fails because the host did is not to blame.
    void on_host_failed() { has_host_failed_ = true; }

    [[nodiscard]] Plugin& plugin() { return *plugin_; }
    [[nodiscard]] JobContext& context() { return *context_; }
    [[nodiscard]] const hearth_document& document() const { return document_; }
    [[nodiscard]] bool is_own_job(const hearth_job& job) const { return job.emit == emit; }
    [[nodiscard]] bool is_on_its_thread() const;
    [[nodiscard]] bool has_emitted() const { return emitted_bytes_ > 0; }

  private:
    friend class Ledger;

    static bool is_cancelled(const hearth_job* job) noexcept;
    static bool emit(const hearth_job* job, std::uint32_t item, hearth_text piece) noexcept;
    bool take(std::uint32_t item, hearth_text piece);

    // Fixed after construction.
    const std::shared_ptr<Plugin> plugin_;
    const std::shared_ptr<JobContext> context_;
    const hearth_document document_;
    const CallKind kind_;
    const std::thread::id thread_ = std::this_thread::get_id();
    const hearth_job job_;

    // The call's own thread only.
    std::uint64_t emitted_bytes_ = 0;
    bool is_full_ = false;
    bool has_host_failed_ = false;
    std::string complaint_;

    // Guarded by the ledger's mutex.
    TimePoint started_ = {};
    Duration host_time_ = Duration::zero();
    std::optional<TimePoint> in_host_since_ = {};
    bool is_overdue_ = false;
};

/// The C forms of the values of the door; borrowed alike.
[[nodiscard]] hearth_text to_text(std::string_view text);
[[nodiscard]] hearth_document to_document(const DocumentView& document);
/// Empty if the text is null although it has bytes, too long, or not UTF-8.
[[nodiscard]] std::optional<std::string_view> from_text(hearth_text text, std::uint64_t bytes_max);

}  // namespace hearth::plugin_host

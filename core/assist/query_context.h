// QueryContext: one query as plugins see it: its documents, whether it is still wanted, and where
// pieces go. Without a model; ModelContext adds it. Context providers and action lists get this
// one.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/assist/assist.h"
#include "core/base/mutex.h"

namespace hearth::assist {

struct QueryContextOptions {
    DocumentRef document;
    std::vector<DocumentRef> others;
    CancelToken cancel;
    std::uint32_t items_max = 1;
    std::uint64_t bytes_max = 1u << 18;  ///< of all items together
    OnPiece on_piece = {};               ///< hears the pieces of item 0
};

/// Owner and life: shared by the query and the plugin's call, which may outlive it; keeps the
/// documents. Thread: as JobContext says; end() and take_items() any.
class QueryContext : public plugin_host::JobContext {
  public:
    explicit QueryContext(QueryContextOptions options);

    /// False once the query has ended or was cancelled, and for what is over a limit.
    bool emit(std::uint32_t item, std::string_view piece) override;
    [[nodiscard]] bool is_cancelled() const override;
    [[nodiscard]] std::span<const plugin_host::DocumentView> documents() const override {
        return views_;
    }
    plugin_host::CallStatus infill(const plugin_host::DocumentView& document,
                                   const plugin_host::InfillOptions& options,
                                   plugin_host::PieceSink& sink) override;
    plugin_host::CallStatus generate(plugin_host::GenerateTask task,
                                     std::span<const plugin_host::Part> parts,
                                     plugin_host::PieceSink& sink) override;

    [[nodiscard]] const DocumentRef& document() const { return options_.document; }
    [[nodiscard]] plugin_host::DocumentView view(std::uint64_t cursor_byte) const;
    /// Plugins know documents by their uri; the model is told paths. Empty means the query's own.
    [[nodiscard]] std::string path_of(std::string_view path_or_uri) const;
    [[nodiscard]] const std::vector<DocumentRef>& others() const { return options_.others; }
    [[nodiscard]] const CancelToken& cancel_token() const { return options_.cancel; }
    /// What was emitted so far, by item.
    std::vector<std::string> take_items();

    /// Nobody waits any more. From its return on, no piece is taken and on_piece is not called.
    void end();

  protected:
    [[nodiscard]] bool has_ended() const { return has_ended_.load(); }
    /// Called once by end(), on its thread.
    virtual void on_end() {}

  private:
    const QueryContextOptions options_;
    std::vector<plugin_host::DocumentView> views_;  ///< of others; fixed after construction
    std::atomic<bool> has_ended_{false};

    Mutex mutex_;
    std::vector<std::string> items_ HEARTH_GUARDED_BY(mutex_);
    std::uint64_t bytes_ HEARTH_GUARDED_BY(mutex_) = 0;
};

}  // namespace hearth::assist

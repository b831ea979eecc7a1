#include "core/plugin_host/plugin_host.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "core/base/assert.h"
#include "core/base/thread.h"
#include "core/plugin_host/guard.h"
#include "core/plugin_host/job_pool.h"
#include "core/plugin_host/library.h"
#include "core/plugin_host/plugin.h"
#include "core/plugin_host/start.h"

namespace hearth::plugin_host {
namespace {

using Plugins = std::vector<std::shared_ptr<Plugin>>;

constexpr std::uint64_t kTitleBytesMax = 256;
constexpr std::size_t kActionsMax = 64;

/// The `*.so` of a folder by name. A folder that cannot be trusted or read gives one refusal.
std::vector<std::string> scan_folder(const std::string& folder,
                                     const std::shared_ptr<Ledger>& ledger,
                                     Plugins& plugins) {
    if (const auto trusted = check_trusted(folder); !trusted) {
        plugins.push_back(make_refused(folder, "", trusted.error().text, ledger));
        return {};
    }
    std::vector<std::string> paths;
    std::error_code failed;
    for (std::filesystem::directory_iterator it(folder, failed), end; !failed && it != end;
         it.increment(failed)) {
        if (it->path().extension() == ".so") paths.push_back(it->path().string());
    }
    if (failed) {
        plugins.push_back(
            make_refused(folder, "", "the folder cannot be read: " + failed.message(), ledger));
    }
    std::ranges::sort(paths);
    return paths;
}

bool is_character_border(std::string_view text, std::uint64_t byte) {
    return byte == text.size() || (byte < text.size() && (text[byte] & '\xC0') != '\x80');
}

/// Empty if the plugin wrote an action that cannot be.
std::optional<Action> from_action(const hearth_action& action,
                                  std::size_t plugin_index,
                                  std::string_view text) {
    const auto title = from_text(action.title, kTitleBytesMax);
    const auto [begin, end] = action.range;
    if (!title || title->empty() || action.kind > HEARTH_ACTION_FIXES || begin > end ||
        !is_character_border(text, begin) || !is_character_border(text, end)) {
        return std::nullopt;
    }
    return Action{
        .plugin_index = plugin_index,
        .id = action.id,
        .kind = action.kind == HEARTH_ACTION_FIXES ? ActionKind::fixes : ActionKind::explains,
        .title = std::string(*title),
        .range = {.begin_byte = begin, .end_byte = end}};
}

/// A selection in its C form. Borrows from the view.
class CSelection {
  public:
    explicit CSelection(const SelectionView& view) {
        for (const DiagnosticView& diagnostic : view.diagnostics) {
            diagnostics_.push_back({.range = to_range(diagnostic.range),
                                    .severity = diagnostic.severity,
                                    .source = to_text(diagnostic.source),
                                    .message = to_text(diagnostic.message)});
        }
        value_ = {.selection = to_range(view.selection),
                  .diagnostics = diagnostics_.data(),
                  .diagnostic_count = static_cast<std::uint32_t>(diagnostics_.size())};
    }
    CSelection(const CSelection&) = delete;
    CSelection& operator=(const CSelection&) = delete;

    [[nodiscard]] const hearth_selection* get() const { return &value_; }

  private:
    static hearth_range to_range(const ByteRange& range) {
        return {.begin_byte = range.begin_byte, .end_byte = range.end_byte};
    }

    std::vector<hearth_diagnostic> diagnostics_;
    hearth_selection value_ = {};
};

class LoadedPluginHost final : public PluginHost {
  public:
    LoadedPluginHost(const PluginHostOptions& options, Log& log, const Clock& clock)
        : clock_(clock),
          budgets_(options.budgets),
          ledger_(std::make_shared<Ledger>(log, clock, options.failures_max)) {
        Plugins plugins;
        const auto pool = make_start_pool(clock);
        for (const std::string& folder : options.folders) {
            for (const std::string& path : scan_folder(folder, ledger_, plugins)) {
                StartOptions start{.ledger = ledger_, .settings = options.settings};
                for (const auto& plugin : plugins) {
                    if (plugin->instance != nullptr) {
                        start.known_ids.emplace(plugin->info.id, plugin->info.path);
                    }
                }
                std::ranges::move(start_within(*pool, budgets_.init, path, std::move(start)),
                                  std::back_inserter(plugins));
            }
        }
        for (std::size_t i = 0; i < plugins.size(); ++i) {
            if (plugins[i]->instance == nullptr) ledger_->tell(plugins[i]->info.reason);
            if (plugins[i]->tables.context_provider != nullptr) {
                provider_indices_.push_back(i);
            }
        }
        plugins_ = std::make_shared<const Plugins>(std::move(plugins));
    }

    ~LoadedPluginHost() override {
        assert_on(Thread::main);
        const auto pool = make_start_pool(clock_);
        std::set<std::shared_ptr<Library>> open;
        std::set<std::shared_ptr<Library>> kept;
        for (const std::shared_ptr<Plugin>& plugin : *plugins_) {
            if (plugin->instance == nullptr) continue;
            open.insert(plugin->library);
            const bool is_destroyed =
                !ledger_->is_inside(*plugin) && destroy_within(*pool, budgets_.init, plugin);
            if (!is_destroyed) kept.insert(plugin->library);
        }
        for (const std::shared_ptr<Library>& library : open) {
            if (!kept.contains(library)) library->close();
        }
        ledger_->close();
    }

    [[nodiscard]] std::vector<PluginInfo> plugins() const override {
        std::vector<PluginInfo> infos;
        for (const std::shared_ptr<Plugin>& plugin : *plugins_) {
            infos.push_back(ledger_->info(*plugin));
        }
        return infos;
    }

    CallStatus complete(const std::shared_ptr<JobContext>& context,
                        const DocumentView& document) override {
        assert_on(Thread::job);
        // A call that never returns may outlive the host: from here on no member is touched.
        const std::shared_ptr<const Plugins> plugins = plugins_;
        const Duration budget = budgets_.complete;
        CallStatus status = CallStatus::unsupported;
        for (const std::shared_ptr<Plugin>& plugin : *plugins) {
            const hearth_inline_completion* const table = plugin->tables.inline_completion;
            if (table == nullptr || !plugin->ledger->is_active(*plugin)) continue;
            Call call(plugin, context, document, {.verb = "complete", .budget = budget});
            status = call.run([&](const hearth_job* job) {
                return table->complete(plugin->instance, &call.document(), job);
            });
            if (call.has_emitted() || context->is_cancelled()) break;
        }
        return status;
    }

    std::vector<Action> list_actions(const std::shared_ptr<JobContext>& context,
                                     const DocumentView& document,
                                     const SelectionView& selection,
                                     std::size_t room) override {
        assert_on(Thread::job);
        const std::shared_ptr<const Plugins> plugins = plugins_;
        const Duration budget = budgets_.list_actions;
        const CSelection c_selection(selection);
        std::vector<Action> actions;
        for (std::size_t i = 0; i < plugins->size() && !context->is_cancelled(); ++i) {
            const std::shared_ptr<Plugin>& plugin = (*plugins)[i];
            const hearth_code_action* const table = plugin->tables.code_action;
            if (table == nullptr || !plugin->ledger->is_active(*plugin)) continue;
            const std::size_t left = std::min(room - actions.size(), kActionsMax);
            if (left == 0) break;
            Call call(plugin, context, document, {.verb = "list", .budget = budget});
            std::vector<Action> listed;
            const CallStatus status = call.run([&](const hearth_job*) {
                std::vector<hearth_action> out(left);
                const std::uint32_t count = table->list(plugin->instance,
                                                        &call.document(),
                                                        c_selection.get(),
                                                        out.data(),
                                                        static_cast<std::uint32_t>(left));
                if (count > left) call.complain("listed more actions than there was room for");
                for (std::size_t k = 0; k < std::min<std::size_t>(count, left); ++k) {
                    auto action = from_action(out[k], i, document.text);
                    if (!action) {
                        call.complain("listed an action whose title, kind or range cannot be");
                        break;
                    }
                    listed.push_back(std::move(*action));
                }
                return HEARTH_OK;
            });
            if (status == CallStatus::ok) std::ranges::move(listed, std::back_inserter(actions));
        }
        return actions;
    }

    CallStatus run_action(const std::shared_ptr<JobContext>& context,
                          const DocumentView& document,
                          const SelectionView& selection,
                          const Action& action) override {
        assert_on(Thread::job);
        const std::shared_ptr<const Plugins> plugins = plugins_;
        if (action.plugin_index >= plugins->size()) return CallStatus::unsupported;
        const std::shared_ptr<Plugin>& plugin = (*plugins)[action.plugin_index];
        const hearth_code_action* const table = plugin->tables.code_action;
        if (table == nullptr || !ledger_->is_active(*plugin)) return CallStatus::unsupported;
        const CSelection c_selection(selection);
        const std::uint32_t id = action.id;
        Call call(plugin, context, document, {.verb = "run", .budget = budgets_.run_action});
        return call.run([&](const hearth_job* job) {
            return table->run(plugin->instance, &call.document(), c_selection.get(), id, job);
        });
    }

    [[nodiscard]] std::size_t provider_count() const override { return provider_indices_.size(); }

    CallStatus gather(std::size_t provider_index,
                      const std::shared_ptr<JobContext>& context,
                      const DocumentView& document,
                      std::uint64_t budget_bytes) override {
        assert_on(Thread::job);
        HEARTH_ASSERT(provider_index < provider_indices_.size());
        const std::shared_ptr<Plugin> plugin = (*plugins_)[provider_indices_[provider_index]];
        if (!ledger_->is_active(*plugin)) return CallStatus::unsupported;
        const CallKind kind{.verb = "gather",
                            .budget = budgets_.gather,
                            .bytes_max = std::min(budget_bytes, kAnswerBytesMax),
                            .is_cut = true};
        Call call(plugin, context, document, kind);
        return call.run([&](const hearth_job* job) {
            return plugin->tables.context_provider->gather(
                plugin->instance, &call.document(), kind.bytes_max, job);
        });
    }

    std::vector<std::string> take_messages() override { return ledger_->take_messages(); }

  private:
    // Fixed after construction.
    const Clock& clock_;
    const TimeBudgets budgets_;
    const std::shared_ptr<Ledger> ledger_;
    std::shared_ptr<const Plugins> plugins_;
    std::vector<std::size_t> provider_indices_;
};

}  // namespace

std::unique_ptr<PluginHost> PluginHost::load(const PluginHostOptions& options,
                                             Log& log,
                                             const Clock& clock) {
    assert_on(Thread::main);
    return std::make_unique<LoadedPluginHost>(options, log, clock);
}

}  // namespace hearth::plugin_host

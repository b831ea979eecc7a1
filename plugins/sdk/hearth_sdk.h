// The C++20 comfort over the C border: derive a class from Plugin and from what it offers
// (InlineCompletion, CodeAction, ContextProvider), and name it in HEARTH_PLUGIN. Views borrow as
// the C structs do; no exception gets out. Header only; needs nothing but plugins/abi.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "hearth/hearth.h"

namespace hearth::sdk {

inline std::string_view to_view(hearth_text text) {
    return {text.data, static_cast<std::size_t>(text.bytes)};
}

inline hearth_text to_text(std::string_view text) {
    return {text.data(), text.size()};
}

/// How a job ends.
enum class Status : hearth_status {
    ok = HEARTH_OK,
    cancelled = HEARTH_CANCELLED,
    unsupported = HEARTH_UNSUPPORTED,
    failed = HEARTH_FAILED,
};

struct Range {
    std::uint64_t begin_byte = 0;
    std::uint64_t end_byte = 0;
};

/// A document, borrowed for the call.
class Document {
  public:
    explicit Document(const hearth_document& abi) : abi_(&abi) {}

    [[nodiscard]] std::string_view uri() const { return to_view(abi_->uri); }
    [[nodiscard]] std::string_view language() const { return to_view(abi_->language); }
    [[nodiscard]] std::string_view text() const { return to_view(abi_->text); }
    [[nodiscard]] std::uint64_t cursor_byte() const { return abi_->cursor_byte; }
    [[nodiscard]] std::string_view before_cursor() const { return text().substr(0, cursor_byte()); }
    [[nodiscard]] std::string_view after_cursor() const { return text().substr(cursor_byte()); }
    [[nodiscard]] const hearth_document& abi() const { return *abi_; }

  private:
    const hearth_document* abi_;
};

struct Diagnostic {
    Range range;
    std::uint32_t severity = 1;  ///< 1 error, 2 warning, 3 information, 4 hint
    std::string_view source;
    std::string_view message;
};

/// A selection and what is wrong in it, borrowed for the call.
class Selection {
  public:
    explicit Selection(const hearth_selection& abi) : abi_(&abi) {}

    [[nodiscard]] Range range() const {
        return {abi_->selection.begin_byte, abi_->selection.end_byte};
    }
    [[nodiscard]] bool is_empty() const { return range().begin_byte == range().end_byte; }
    [[nodiscard]] std::uint32_t diagnostic_count() const { return abi_->diagnostic_count; }
    [[nodiscard]] Diagnostic diagnostic(std::uint32_t index) const {
        const hearth_diagnostic& abi = abi_->diagnostics[index];
        return {{abi.range.begin_byte, abi.range.end_byte},
                abi.severity,
                to_view(abi.source),
                to_view(abi.message)};
    }

  private:
    const hearth_selection* abi_;
};

/// The request in flight, borrowed for the call.
class Job {
  public:
    explicit Job(const hearth_job& abi) : abi_(&abi) {}

    [[nodiscard]] bool is_cancelled() const { return abi_->is_cancelled(abi_); }
    /// False: nobody reads on.
    [[nodiscard]] bool emit(std::string_view piece, std::uint32_t item = 0) const {
        return abi_->emit(abi_, item, to_text(piece));
    }
    [[nodiscard]] const hearth_job& abi() const { return *abi_; }

  private:
    const hearth_job* abi_;
};

/// A job of the plugin's own that keeps item 0 instead of passing it on, to look at it first.
class CollectingJob {
  public:
    /// Ends early once more than `bytes_max` have come.
    CollectingJob(const Job& outer, std::size_t bytes_max) : outer_(outer), bytes_max_(bytes_max) {}
    CollectingJob(const CollectingJob&) = delete;
    CollectingJob& operator=(const CollectingJob&) = delete;
    ~CollectingJob() = default;

    [[nodiscard]] Job job() const { return Job(frame_.abi); }
    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] bool is_whole() const { return is_whole_; }

  private:
    struct Frame {
        hearth_job abi;  // first: the functions get a pointer to it
        CollectingJob* self;
    };
    static CollectingJob& self_of(const hearth_job* job) noexcept {
        return *reinterpret_cast<const Frame*>(job)->self;
    }
    static bool is_cancelled(const hearth_job* job) noexcept {
        return self_of(job).outer_.is_cancelled();
    }
    static bool emit(const hearth_job* job, std::uint32_t item, hearth_text piece) noexcept {
        CollectingJob& self = self_of(job);
        if (item != 0) return true;
        self.is_whole_ = self.text_.size() + piece.bytes <= self.bytes_max_;
        if (!self.is_whole_) return false;
        try {
            self.text_ += to_view(piece);
        } catch (const std::bad_alloc&) {
            self.is_whole_ = false;
        }
        return self.is_whole_;
    }

    const Job outer_;
    const std::size_t bytes_max_;
    std::string text_;
    bool is_whole_ = true;
    Frame frame_ = {{outer_.abi().host_data, is_cancelled, emit}, this};
};

/// A part of what is asked of the model: see hearth/ext/host_generate.h.
struct Part {
    std::uint32_t kind = HEARTH_PART_CODE;
    std::string_view path;
    std::string_view text;
};

class Infill {
  public:
    Infill(const hearth_host& host, const hearth_host_infill& table)
        : host_(&host),
          table_(&table) {}
    [[nodiscard]] Status operator()(const Document& document,
                                    const hearth_infill_options& options,
                                    const Job& job) const {
        return Status(table_->infill(host_, &document.abi(), &options, &job.abi()));
    }

  private:
    const hearth_host* host_;
    const hearth_host_infill* table_;
};

class Generate {
  public:
    Generate(const hearth_host& host, const hearth_host_generate& table)
        : host_(&host),
          table_(&table) {}
    [[nodiscard]] Status operator()(std::uint32_t task,
                                    std::span<const Part> parts,
                                    const Job& job) const {
        std::vector<hearth_part> abi;
        abi.reserve(parts.size());
        for (const Part& part : parts) {
            abi.push_back({part.kind, to_text(part.path), to_text(part.text)});
        }
        return Status(table_->generate(
            host_, task, abi.data(), static_cast<std::uint32_t>(abi.size()), &job.abi()));
    }

  private:
    const hearth_host* host_;
    const hearth_host_generate* table_;
};

/// The daemon. What it does not have is empty, which is never an error.
class Host {
  public:
    explicit Host(const hearth_host& abi) : abi_(&abi) {}

    [[nodiscard]] std::optional<Infill> infill() const {
        const auto* table = find<hearth_host_infill>(HEARTH_EXT_HOST_INFILL);
        return table == nullptr ? std::nullopt : std::optional(Infill(*abi_, *table));
    }
    [[nodiscard]] std::optional<Generate> generate() const {
        const auto* table = find<hearth_host_generate>(HEARTH_EXT_HOST_GENERATE);
        return table == nullptr ? std::nullopt : std::optional(Generate(*abi_, *table));
    }
    /// The user's other documents, most recently used first; copies of the C structs.
    [[nodiscard]] std::optional<std::vector<hearth_document>> documents(const Job& job) const {
        const auto* table = find<hearth_host_documents>(HEARTH_EXT_HOST_DOCUMENTS);
        if (table == nullptr) return std::nullopt;
        std::vector<hearth_document> found;
        const std::uint32_t count = table->count(abi_, &job.abi());
        for (std::uint32_t i = 0; i < count; ++i) {
            hearth_document document = {};
            if (table->at(abi_, &job.abi(), i, &document)) found.push_back(document);
        }
        return found;
    }
    /// The plugin's own setting; empty if not set. Lives as long as the host.
    [[nodiscard]] std::optional<std::string_view> setting(const char* name) const {
        const auto* table = find<hearth_host_settings>(HEARTH_EXT_HOST_SETTINGS);
        hearth_text value = {};
        if (table == nullptr || !table->find(abi_, name, &value)) return std::nullopt;
        return to_view(value);
    }
    /// Never the user's code.
    void log(std::uint32_t level, std::string_view line) const noexcept {
        const auto* table = find<hearth_host_log>(HEARTH_EXT_HOST_LOG);
        if (table != nullptr) table->write(abi_, level, to_text(line));
    }

  private:
    template <typename Table>
    const Table* find(const char* id) const noexcept {
        return static_cast<const Table*>(abi_->get_extension(abi_, id));
    }

    const hearth_host* abi_;
};

/// The base of every plugin. The constructor must not use the host yet.
class Plugin {
  public:
    explicit Plugin(Host host) : host_(host) {}
    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;
    virtual ~Plugin() = default;

    /// [main] False: leave this plugin out; log why.
    virtual bool init() { return true; }

  protected:
    [[nodiscard]] const Host& host() const { return host_; }

  private:
    const Host host_;
};

/// What a plugin may offer; several at once. Every verb is [job].
struct InlineCompletion {
    static constexpr const char* kId = HEARTH_EXT_INLINE_COMPLETION;
    virtual Status complete(const Document& document, const Job& job) = 0;

  protected:
    ~InlineCompletion() = default;
};

struct Action {
    std::string title;
    std::uint32_t id = 0;
    std::uint32_t kind = HEARTH_ACTION_EXPLAINS;
    Range range;
};

struct CodeAction {
    static constexpr const char* kId = HEARTH_EXT_CODE_ACTION;
    /// Quick; what is past `room` is dropped.
    virtual std::vector<Action> list(const Document& document,
                                     const Selection& selection,
                                     std::size_t room) = 0;
    virtual Status run(const Document& document,
                       const Selection& selection,
                       std::uint32_t id,
                       const Job& job) = 0;

  protected:
    ~CodeAction() = default;
};

struct ContextProvider {
    static constexpr const char* kId = HEARTH_EXT_CONTEXT_PROVIDER;
    virtual Status gather(const Document& document, std::uint64_t budget_bytes, const Job& job) = 0;

  protected:
    ~ContextProvider() = default;
};

/// The C side of one instance of `T`.
template <typename T>
class Instance {
  public:
    static const hearth_plugin* create(const hearth_host* host) noexcept {
        try {
            return &(new Instance(*host))->abi_;
        } catch (...) {
            return nullptr;
        }
    }

    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

  private:
    explicit Instance(const hearth_host& host) : host_(host), plugin_(host_) {}
    ~Instance() = default;

    static Instance& of(const hearth_plugin* plugin) noexcept {
        return *static_cast<Instance*>(plugin->plugin_data);
    }

    /// The exception barrier: whatever `work` throws goes to the log, and `failed` to the host.
    template <typename Result, typename Work>
    Result guarded(const char* verb, Result failed, const Work& work) noexcept {
        try {
            return work();
        } catch (const std::exception& e) {
            log_failure(verb, e.what());
        } catch (...) {
            log_failure(verb, "unknown exception");
        }
        return failed;
    }
    void log_failure(const char* verb, const char* what) noexcept {
        try {
            host_.log(HEARTH_LOG_ERROR, std::string(verb) + ": " + what);
        } catch (...) {
            host_.log(HEARTH_LOG_ERROR, verb);
        }
    }

    static bool init(const hearth_plugin* abi) noexcept {
        Instance& self = of(abi);
        if (self.is_init_called_.exchange(true)) {
            self.host_.log(HEARTH_LOG_ERROR, "init was called a second time");
            return false;
        }
        return self.guarded("init", false, [&] { return self.plugin_.init(); });
    }
    static void destroy(const hearth_plugin* abi) noexcept { delete &of(abi); }
    static const void* get_extension(const hearth_plugin*, const char* id) noexcept {
        if (id == nullptr) return nullptr;
        if constexpr (std::is_base_of_v<InlineCompletion, T>) {
            static constexpr hearth_inline_completion kTable = {complete};
            if (std::strcmp(id, InlineCompletion::kId) == 0) return &kTable;
        }
        if constexpr (std::is_base_of_v<CodeAction, T>) {
            static constexpr hearth_code_action kTable = {list, run};
            if (std::strcmp(id, CodeAction::kId) == 0) return &kTable;
        }
        if constexpr (std::is_base_of_v<ContextProvider, T>) {
            static constexpr hearth_context_provider kTable = {gather};
            if (std::strcmp(id, ContextProvider::kId) == 0) return &kTable;
        }
        return nullptr;
    }

    static hearth_status complete(const hearth_plugin* abi,
                                  const hearth_document* document,
                                  const hearth_job* job) noexcept {
        Instance& self = of(abi);
        return static_cast<hearth_status>(self.guarded("complete", Status::failed, [&] {
            return self.plugin_.complete(Document(*document), Job(*job));
        }));
    }
    static std::uint32_t list(const hearth_plugin* abi,
                              const hearth_document* document,
                              const hearth_selection* selection,
                              hearth_action* out,
                              std::uint32_t room) noexcept {
        // The titles live until the next call on this thread.
        thread_local std::vector<Action> actions;
        Instance& self = of(abi);
        return self.guarded("list", 0U, [&] {
            actions = self.plugin_.list(Document(*document), Selection(*selection), room);
            std::uint32_t count = 0;
            for (const Action& action : actions) {
                if (count == room) break;
                out[count++] = {to_text(action.title),
                                action.id,
                                action.kind,
                                {action.range.begin_byte, action.range.end_byte}};
            }
            return count;
        });
    }
    static hearth_status run(const hearth_plugin* abi,
                             const hearth_document* document,
                             const hearth_selection* selection,
                             std::uint32_t id,
                             const hearth_job* job) noexcept {
        Instance& self = of(abi);
        return static_cast<hearth_status>(self.guarded("run", Status::failed, [&] {
            return self.plugin_.run(Document(*document), Selection(*selection), id, Job(*job));
        }));
    }
    static hearth_status gather(const hearth_plugin* abi,
                                const hearth_document* document,
                                std::uint64_t budget_bytes,
                                const hearth_job* job) noexcept {
        Instance& self = of(abi);
        return static_cast<hearth_status>(self.guarded("gather", Status::failed, [&] {
            return self.plugin_.gather(Document(*document), budget_bytes, Job(*job));
        }));
    }

    const hearth_plugin abi_ = {this, init, destroy, get_extension};
    const Host host_;
    std::atomic<bool> is_init_called_ = false;
    T plugin_;
};

/// One line of a library's list of plugins.
struct Registration {
    hearth_descriptor descriptor;
    const hearth_plugin* (*create)(const hearth_host* host) noexcept;
};

}  // namespace hearth::sdk

/// One line of HEARTH_PLUGINS.
#define HEARTH_PLUGIN_CLASS(Type, id, name, version)                                \
    ::hearth::sdk::Registration {                                                   \
        hearth_descriptor{id, name, version}, ::hearth::sdk::Instance<Type>::create \
    }

/// A library with one plugin. In one source file, outside of namespaces.
#define HEARTH_PLUGIN(Type, id, name, version) \
    HEARTH_PLUGINS(HEARTH_PLUGIN_CLASS(Type, id, name, version))

/// A library with several: HEARTH_PLUGINS(HEARTH_PLUGIN_CLASS(...), HEARTH_PLUGIN_CLASS(...)).
#define HEARTH_PLUGINS(...)                                                                      \
    namespace {                                                                                  \
    constexpr ::hearth::sdk::Registration kHearthPlugins[] = {__VA_ARGS__};                      \
    const hearth_descriptor* hearth_describe(uint32_t index) noexcept {                          \
        return index < std::size(kHearthPlugins) ? &kHearthPlugins[index].descriptor : nullptr;  \
    }                                                                                            \
    uint32_t hearth_count() noexcept {                                                           \
        return static_cast<uint32_t>(std::size(kHearthPlugins));                                 \
    }                                                                                            \
    const hearth_plugin* hearth_create(const hearth_host* host, const char* id) noexcept {       \
        for (const ::hearth::sdk::Registration& plugin : kHearthPlugins) {                       \
            if (std::strcmp(plugin.descriptor.id, id) == 0) return plugin.create(host);          \
        }                                                                                        \
        return nullptr;                                                                          \
    }                                                                                            \
    constexpr hearth_plugin_factory kHearthFactory = {                                           \
        hearth_count, hearth_describe, hearth_create};                                           \
    const void* hearth_factory(const char* id) noexcept {                                        \
        return std::strcmp(id, HEARTH_PLUGIN_FACTORY) == 0 ? &kHearthFactory : nullptr;          \
    }                                                                                            \
    }                                                                                            \
    extern "C" {                                                                                 \
    HEARTH_EXPORT extern const hearth_entry hearth_plugin_entry; /* NOLINT: the border's name */ \
    const hearth_entry hearth_plugin_entry = {{HEARTH_ABI_MAJOR, HEARTH_ABI_MINOR},              \
                                              hearth_factory};                                   \
    }                                                                                            \
    static_assert(true)

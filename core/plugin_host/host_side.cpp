// What a plugin may ask of the host: log, settings, and, within a job, documents, infill and
// generate. Each function checks what it is given, since it comes from a plugin, and is noexcept,
// since what calls it may be C.
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "core/plugin_host/guard.h"
#include "core/plugin_host/plugin.h"

namespace hearth::plugin_host {
namespace {

constexpr std::uint64_t kLogLineBytesMax = 1024;
constexpr std::uint64_t kUriBytesMax = 1u << 16;
constexpr std::uint64_t kDocumentBytesMax = 64u << 20;
constexpr std::uint64_t kPartBytesMax = 1u << 20;
constexpr std::uint32_t kPartsMax = 64;

Plugin& plugin_of(const hearth_host* host) {
    return *static_cast<Plugin*>(host->host_data);
}

// --- hearth.host.log -----------------------------------------------------------------------------

void write_log(const hearth_host* host, std::uint32_t level, hearth_text line) noexcept {
    line.bytes = std::min(line.bytes, kLogLineBytesMax);
    if (line.data == nullptr) return;
    std::string text(line.data, line.bytes);
    // One line, and nothing that steers a terminal.
    std::ranges::replace_if(
        text, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, ' ');
    const auto known = std::min<std::uint32_t>(level, HEARTH_LOG_ERROR);
    constexpr LogLevel kLevels[] = {
        LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error};
    Plugin& plugin = plugin_of(host);
    plugin.ledger->write(kLevels[known], "plugin " + plugin.info.id, text);
}

// --- hearth.host.settings ------------------------------------------------------------------------

bool find_setting(const hearth_host* host, const char* name, hearth_text* out) noexcept {
    const Plugin& plugin = plugin_of(host);
    if (name == nullptr || out == nullptr) return false;
    const auto found = plugin.settings.find(std::string_view(name));
    if (found == plugin.settings.end()) return false;
    *out = to_text(found->second);
    return true;
}

// --- within a job --------------------------------------------------------------------------------

/// The call that `job` belongs to, if it is one of this plugin, in flight, and asked on its thread.
Call* call_of(const hearth_host* host, const hearth_job* job, std::string_view asked) {
    Plugin& plugin = plugin_of(host);
    Call* const call = job == nullptr ? nullptr : plugin.ledger->find_call(job->host_data);
    if (call != nullptr && &call->plugin() == &plugin && call->is_on_its_thread()) return call;
    plugin.ledger->write(LogLevel::error,
                         "plugin " + plugin.info.id,
                         std::string(asked) +
                             " was asked with a job that is not in flight on this thread; a job of "
                             "the plugin's own copies host_data from the one that it was given");
    return nullptr;
}

/// Pieces on their way into a plugin's job: the host's, or one that the plugin made.
class JobSink final : public PieceSink {
  public:
    JobSink(Call& call, const hearth_job& job) : call_(call), job_(job) {}

    bool emit(std::uint32_t item, std::string_view piece) override {
        if (call_.is_own_job(job_)) return job_.emit(&job_, item, to_text(piece));
        // What the plugin's own functions take is the plugin's time again.
        Ledger& ledger = *call_.plugin().ledger;
        ledger.leave_host(call_);
        bool is_wanted = false;
        try {
            is_wanted = !job_.is_cancelled(&job_) && job_.emit(&job_, item, to_text(piece));
        } catch (...) {
            call_.complain("let an exception out of its own job's emit");
        }
        ledger.enter_host(call_);
        return is_wanted;
    }

  private:
    Call& call_;
    const hearth_job& job_;
};

hearth_status to_status(CallStatus status) {
    switch (status) {
        case CallStatus::ok:
            return HEARTH_OK;
        case CallStatus::cancelled:
            return HEARTH_CANCELLED;
        case CallStatus::unsupported:
            return HEARTH_UNSUPPORTED;
        case CallStatus::failed:
            break;
    }
    return HEARTH_FAILED;
}

/// Serves one question of a plugin; `ask` gets the context and where pieces go.
template <typename Ask>
hearth_status serve(Call& call, const hearth_job& job, const Ask& ask) {
    if (job.emit == nullptr || job.is_cancelled == nullptr) {
        call.complain("asked the host with a job that has a null function");
        return HEARTH_FAILED;
    }
    JobSink sink(call, job);
    Ledger& ledger = *call.plugin().ledger;
    ledger.enter_host(call);
    const CallStatus status = ask(call.context(), sink);
    ledger.leave_host(call);
    if (status == CallStatus::failed) call.on_host_failed();
    return to_status(status);
}

bool is_same(hearth_text a, hearth_text b) {
    return a.data == b.data && a.bytes == b.bytes;
}

std::optional<DocumentView> document_view(const Call& call, const hearth_document* document) {
    if (document == nullptr) return std::nullopt;
    // The host's own text is known to be text; anything else is looked at.
    const bool is_own = is_same(document->text, call.document().text);
    const auto text =
        is_own ? std::optional(std::string_view(document->text.data, document->text.bytes))
               : from_text(document->text, kDocumentBytesMax);
    const auto uri = from_text(document->uri, kUriBytesMax);
    const auto language = from_text(document->language, kUriBytesMax);
    if (!text || !uri || !language || document->cursor_byte > text->size()) return std::nullopt;
    return DocumentView{
        .uri = *uri, .language = *language, .text = *text, .cursor_byte = document->cursor_byte};
}

hearth_status infill(const hearth_host* host,
                     const hearth_document* document,
                     const hearth_infill_options* options,
                     const hearth_job* job) noexcept {
    Call* const call = call_of(host, job, HEARTH_EXT_HOST_INFILL);
    if (call == nullptr) return HEARTH_FAILED;
    const auto view = document_view(*call, document);
    if (!view || options == nullptr) {
        call->complain("asked for infill with a null, broken or misplaced document or options");
        return HEARTH_FAILED;
    }
    const float temperature = std::isfinite(options->temperature) ? options->temperature : 0.0F;
    const InfillOptions checked{
        .tokens_max = options->tokens_max,
        .lines_max = options->lines_max,
        .candidates_max = std::clamp<std::uint32_t>(options->candidates_max, 1, kItemsMax),
        .temperature = std::max(0.0F, temperature)};
    return serve(*call, *job, [&](JobContext& context, PieceSink& sink) {
        return context.infill(*view, checked, sink);
    });
}

std::optional<Part> part_view(const hearth_part& part) {
    constexpr PartKind kKinds[] = {
        PartKind::instruction, PartKind::code, PartKind::diagnostic, PartKind::marked_line};
    const auto path = from_text(part.path, kUriBytesMax);
    const auto text = from_text(part.text, kPartBytesMax);
    if (part.kind > HEARTH_PART_MARKED_LINE || !path || !text) return std::nullopt;
    return Part{.kind = kKinds[part.kind], .path = *path, .text = *text};
}

hearth_status generate(const hearth_host* host,
                       std::uint32_t task,
                       const hearth_part* parts,
                       std::uint32_t count,
                       const hearth_job* job) noexcept {
    Call* const call = call_of(host, job, HEARTH_EXT_HOST_GENERATE);
    if (call == nullptr) return HEARTH_FAILED;
    if (task > HEARTH_TASK_CHAT) return HEARTH_UNSUPPORTED;
    std::vector<Part> views;
    for (std::uint32_t i = 0; parts != nullptr && i < std::min(count, kPartsMax); ++i) {
        if (const auto view = part_view(parts[i])) views.push_back(*view);
    }
    if (views.empty() || views.size() != count) {
        call->complain("asked to generate from no parts, from too many, or from a broken one");
        return HEARTH_FAILED;
    }
    constexpr GenerateTask kTasks[] = {
        GenerateTask::explain, GenerateTask::fix, GenerateTask::chat};
    return serve(*call, *job, [&](JobContext& context, PieceSink& sink) {
        return context.generate(kTasks[task], views, sink);
    });
}

std::uint32_t count_documents(const hearth_host* host, const hearth_job* job) noexcept {
    Call* const call = call_of(host, job, HEARTH_EXT_HOST_DOCUMENTS);
    return call == nullptr ? 0 : static_cast<std::uint32_t>(call->context().documents().size());
}

bool document_at(const hearth_host* host,
                 const hearth_job* job,
                 std::uint32_t index,
                 hearth_document* out) noexcept {
    Call* const call = call_of(host, job, HEARTH_EXT_HOST_DOCUMENTS);
    if (call == nullptr || out == nullptr) return false;
    const std::span<const DocumentView> documents = call->context().documents();
    if (index >= documents.size()) return false;
    *out = to_document(documents[index]);
    return true;
}

constexpr hearth_host_log kLog = {.write = write_log};
constexpr hearth_host_settings kSettings = {.find = find_setting};
constexpr hearth_host_documents kDocuments = {.count = count_documents, .at = document_at};
constexpr hearth_host_infill kInfill = {.infill = infill};
constexpr hearth_host_generate kGenerate = {.generate = generate};

const void* host_extension(const hearth_host* host, const char* id) noexcept {
    if (id == nullptr || !plugin_of(host).is_host_open) return nullptr;
    const std::string_view asked(id);
    if (asked == HEARTH_EXT_HOST_LOG) return &kLog;
    if (asked == HEARTH_EXT_HOST_SETTINGS) return &kSettings;
    if (asked == HEARTH_EXT_HOST_DOCUMENTS) return &kDocuments;
    if (asked == HEARTH_EXT_HOST_INFILL) return &kInfill;
    if (asked == HEARTH_EXT_HOST_GENERATE) return &kGenerate;
    return nullptr;
}

}  // namespace

void make_host(Plugin& plugin) {
    plugin.host = {.abi = {.major = HEARTH_ABI_MAJOR, .minor = HEARTH_ABI_MINOR},
                   .host_data = &plugin,
                   .get_extension = host_extension};
}

}  // namespace hearth::plugin_host

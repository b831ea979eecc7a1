// The Assistant: three pools, and for each query one job that calls the plugins with a context of
// its own. Every query is answered exactly once, whatever the plugin does.

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/assist/assist.h"
#include "core/assist/model_context.h"
#include "core/assist/text_lines.h"
#include "core/plugin_host/job_pool.h"

namespace hearth::assist {
namespace {

using plugin_host::Action;
using plugin_host::ActionKind;
using plugin_host::ByteRange;
using plugin_host::CallStatus;
using plugin_host::DiagnosticView;
using plugin_host::JobPool;

// A job holds its thread until its answer is there, so a pool has as many threads as answers of its
// kind should be in the making at once.
constexpr plugin_host::JobPoolOptions kKeystrokePool = {.thread_count = 8, .queue_max = 32};
constexpr plugin_host::JobPoolOptions kActionPool = {.thread_count = 4, .queue_max = 16};
constexpr plugin_host::JobPoolOptions kContextPool = {.thread_count = 4, .queue_max = 32};
constexpr std::uint32_t kSuggestionsMax = 8;
constexpr std::size_t kActionsMax = 32;

Failure shutting_down() {
    return fail(ErrorCode::cancelled, "the request was cancelled", "assist");
}

Failure pool_full() {
    return fail(ErrorCode::unavailable, "too many requests are waiting; try again", "assist");
}

Failure overstepped() {
    return fail(
        ErrorCode::timed_out,
        "a plugin did not return in time and was left behind; `hearth plugins list` names it",
        "assist");
}

/// Answers once; when it was never answered, its end says that the query was cancelled.
template <typename T>
class OnceDone {
  public:
    explicit OnceDone(Done<T> done) : done_(std::move(done)) {}
    OnceDone(const OnceDone&) = delete;
    OnceDone& operator=(const OnceDone&) = delete;
    ~OnceDone() { answer(shutting_down()); }

    void answer(Result<T> result) {
        if (!is_answered_.exchange(true)) done_(std::move(result));
    }

  private:
    const Done<T> done_;
    std::atomic<bool> is_answered_{false};
};

/// The queries in progress, so that the end of the assistant can end them.
class LiveQueries {
  public:
    void add(const std::shared_ptr<QueryContext>& query) {
        const LockGuard lock(mutex_);
        std::erase_if(queries_, [](const auto& old) { return old.expired(); });
        queries_.push_back(query);
    }
    void end_all() {
        std::vector<std::weak_ptr<QueryContext>> queries;
        {
            const LockGuard lock(mutex_);
            queries.swap(queries_);
        }
        for (const std::weak_ptr<QueryContext>& weak : queries) {
            if (const std::shared_ptr<QueryContext> query = weak.lock()) query->end();
        }
    }

  private:
    Mutex mutex_;
    std::vector<std::weak_ptr<QueryContext>> queries_ HEARTH_GUARDED_BY(mutex_);
};

bool is_inside(const ByteRange& range, const Document& document) {
    return range.begin_byte <= range.end_byte && range.end_byte <= document.text.size();
}

/// Why a query has no answer, if that is not an ordinary "nothing".
std::optional<Error> reason_of(CallStatus status, const ModelContext& context) {
    if (context.is_cancelled() || status == CallStatus::cancelled) return shutting_down().error;
    if (std::optional<Error> error = context.error()) return error;
    if (status == CallStatus::failed) {
        return Error{.code = ErrorCode::internal,
                     .text = "the plugin failed; the log says why",
                     .where = "assist"};
    }
    return std::nullopt;
}

/// The document as it would be with the selected entry of the editor's popup inserted.
DocumentRef with_selected(const CompletionQuery& query) {
    if (!query.selected_text) return query.document;
    auto document = std::make_shared<Document>(*query.document);
    document->text.replace(query.selected_begin_byte,
                           query.cursor_byte - query.selected_begin_byte,
                           *query.selected_text);
    return document;
}

CompletionAnswer to_answer(std::vector<std::string> items, std::string_view selected_text) {
    CompletionAnswer answer;
    std::vector<std::string> seen;
    for (std::string& item : items) {
        if (is_blank(item) || std::ranges::find(seen, item) != seen.end()) continue;
        answer.suggestions.push_back({std::string(selected_text) + item});
        seen.push_back(std::move(item));
    }
    return answer;
}

/// The replacement as it goes into the document: its line ends, and a last newline where the
/// replaced text has one. Empty when it changes nothing but blank space at the ends of lines.
std::string fit_to_range(std::string text, const Document& document, const ByteRange& range) {
    const std::string_view original =
        std::string_view(document.text).substr(range.begin_byte, range.end_byte - range.begin_byte);
    if (text.empty() || same_lines(text, original)) return {};
    while (!original.ends_with('\n') && (text.ends_with('\n') || text.ends_with('\r'))) {
        text.pop_back();
    }
    if (original.ends_with('\n') && !text.ends_with('\n')) text += '\n';
    return has_carriage_returns(document.text, range.begin_byte) ? with_carriage_returns(text)
                                                                 : text;
}

class PooledAssistant final : public Assistant {
  public:
    PooledAssistant(const AssistantParts& parts, const AssistLimits& limits)
        : plugins_(parts.plugins),
          log_(parts.log),
          clock_(parts.clock),
          limits_(limits),
          access_(
              std::make_shared<ModelAccess>(parts.engine, parts.clock, parts.tokenizer, limits)),
          gatherer_(std::make_shared<ContextGatherer>(
              parts.plugins,
              JobPool::make("context", kContextPool, parts.clock),
              ContextLimits{.budget = limits.context_budget,
                            .grace = limits.plugin_grace,
                            .bytes_max = limits.context_bytes_max})),
          keystrokes_(JobPool::make("keystroke", kKeystrokePool, parts.clock)),
          actions_(JobPool::make("action", kActionPool, parts.clock)) {}

    ~PooledAssistant() override {
        live_.end_all();
        actions_.reset();
        keystrokes_.reset();
        gatherer_->shut();
        access_->door.shut();
    }

    void complete(CompletionQuery query, Done<CompletionAnswer> done) override;
    void list_actions(ActionQuery query, Done<std::vector<Action>> done) override;
    void run_action(ActionQuery query,
                    Action action,
                    OnPiece on_piece,
                    Done<ActionAnswer> done) override;

  private:
    /// Puts `run` into a pool; the query's end and answer are seen to in every other case.
    template <typename T, typename Run>
    void submit(JobPool& pool,
                const std::shared_ptr<QueryContext>& context,
                const std::shared_ptr<OnceDone<T>>& once,
                Duration budget,
                Run run);

    plugin_host::PluginHost& plugins_;
    Log& log_;
    const Clock& clock_;
    const AssistLimits limits_;
    const std::shared_ptr<ModelAccess> access_;
    const std::shared_ptr<ContextGatherer> gatherer_;
    LiveQueries live_;
    std::unique_ptr<JobPool> keystrokes_, actions_;
};

template <typename T, typename Run>
void PooledAssistant::submit(JobPool& pool,
                             const std::shared_ptr<QueryContext>& context,
                             const std::shared_ptr<OnceDone<T>>& once,
                             Duration budget,
                             Run run) {
    live_.add(context);
    JobPool::Job job;
    job.run = [context, once, run = std::move(run)] {
        auto answer = context->is_cancelled() ? Result<T>(shutting_down()) : run();
        context->end();
        once->answer(std::move(answer));
    };
    job.on_abandoned = [context, once] {
        context->end();
        once->answer(overstepped());
    };
    job.budget = budget;
    if (!pool.try_submit(std::move(job))) once->answer(pool_full());
}

void PooledAssistant::complete(CompletionQuery query, Done<CompletionAnswer> done) {
    auto once = std::make_shared<OnceDone<CompletionAnswer>>(std::move(done));
    const Document& document = *query.document;
    const bool is_selected_inside =
        !query.selected_text || query.selected_begin_byte <= query.cursor_byte;
    if (query.cursor_byte > document.text.size() || !is_selected_inside) {
        once->answer(fail(ErrorCode::invalid_argument,
                          "cannot complete at byte " + std::to_string(query.cursor_byte) +
                              ": the document has " + std::to_string(document.text.size()),
                          "assist"));
        return;
    }
    if (document.text.size() > limits_.document_bytes_max) {
        log_.debug("assist",
                   "no completion: the document has " + std::to_string(document.text.size()) +
                       " bytes, the limit is " + std::to_string(limits_.document_bytes_max));
        once->answer(CompletionAnswer{});
        return;
    }
    const TimePoint now = clock_.now();
    const TimePoint deadline =
        std::min(query.deadline.value_or(TimePoint::max()), now + limits_.completion_budget);
    const std::uint64_t cursor_byte = query.selected_text
                                          ? query.selected_begin_byte + query.selected_text->size()
                                          : query.cursor_byte;
    auto context = std::make_shared<ModelContext>(
        QueryContextOptions{.document = with_selected(query),
                            .others = std::move(query.open_documents),
                            .cancel = query.cancel,
                            .items_max = kSuggestionsMax},
        ModelContextOptions{.cursor_byte = cursor_byte,
                            .started = now,
                            .deadline = deadline,
                            .probability_min = query.trigger == Trigger::automatic
                                                   ? limits_.automatic_probability_min
                                                   : limits_.invoked_probability_min},
        access_,
        gatherer_);
    auto run = [&plugins = plugins_,
                context,
                cursor_byte,
                selected = query.selected_text.value_or("")]() -> Result<CompletionAnswer> {
        const CallStatus status = plugins.complete(context, context->view(cursor_byte));
        CompletionAnswer answer = to_answer(context->take_items(), selected);
        answer.usage = context->usage();
        if (context->is_cancelled() || answer.suggestions.empty()) {
            if (std::optional<Error> error = reason_of(status, *context)) {
                return fail(*std::move(error));
            }
        }
        return answer;
    };
    submit(*keystrokes_,
           context,
           once,
           limits_.completion_budget + limits_.plugin_grace,
           std::move(run));
}

void PooledAssistant::list_actions(ActionQuery query, Done<std::vector<Action>> done) {
    auto once = std::make_shared<OnceDone<std::vector<Action>>>(std::move(done));
    if (!is_inside(query.selection, *query.document)) {
        once->answer(fail(ErrorCode::invalid_argument,
                          "cannot list actions: the selection is not inside the document",
                          "assist"));
        return;
    }
    auto context = std::make_shared<QueryContext>(QueryContextOptions{
        .document = query.document, .others = query.open_documents, .cancel = query.cancel});
    auto run =
        [&plugins = plugins_, context, query = std::move(query)]() -> Result<std::vector<Action>> {
        std::vector<DiagnosticView> views;
        for (const Diagnostic& diagnostic : query.diagnostics) {
            views.push_back(
                {diagnostic.range, diagnostic.severity, diagnostic.source, diagnostic.message});
        }
        std::vector<Action> actions =
            plugins.list_actions(context,
                                 context->view(query.selection.begin_byte),
                                 {query.selection, views},
                                 kActionsMax);
        if (context->is_cancelled()) return shutting_down();
        std::erase_if(actions, [&](const Action& action) {
            return !is_inside(action.range, *query.document);
        });
        return actions;
    };
    // With the keystrokes: it is quick, and must not wait behind long answers.
    submit(*keystrokes_, context, once, limits_.plugin_grace, std::move(run));
}

void PooledAssistant::run_action(ActionQuery query,
                                 Action action,
                                 OnPiece on_piece,
                                 Done<ActionAnswer> done) {
    auto once = std::make_shared<OnceDone<ActionAnswer>>(std::move(done));
    if (!is_inside(query.selection, *query.document) || !is_inside(action.range, *query.document)) {
        once->answer(fail(ErrorCode::invalid_argument,
                          "cannot run \"" + action.title +
                              "\": its range is not inside the document; ask for the actions again",
                          "assist"));
        return;
    }
    const TimePoint now = clock_.now();
    const bool is_fix = action.kind == ActionKind::fixes;
    auto context = std::make_shared<ModelContext>(
        QueryContextOptions{.document = query.document,
                            .others = query.open_documents,
                            .cancel = query.cancel,
                            .on_piece = is_fix ? OnPiece() : std::move(on_piece)},
        ModelContextOptions{.cursor_byte = query.selection.begin_byte,
                            .started = now,
                            .deadline = std::min(query.deadline.value_or(TimePoint::max()),
                                                 now + limits_.action_budget),
                            .probability_min = 0.0},
        access_,
        gatherer_);
    auto run = [&plugins = plugins_,
                context,
                is_fix,
                query = std::move(query),
                action = std::move(action)]() -> Result<ActionAnswer> {
        std::vector<DiagnosticView> views;
        for (const Diagnostic& diagnostic : query.diagnostics) {
            views.push_back(
                {diagnostic.range, diagnostic.severity, diagnostic.source, diagnostic.message});
        }
        const CallStatus status = plugins.run_action(
            context, context->view(query.selection.begin_byte), {query.selection, views}, action);
        const std::vector<std::string> items = context->take_items();
        ActionAnswer answer;
        answer.range = action.range;
        answer.usage = context->usage();
        if (!items.empty()) {
            answer.text = is_fix ? fit_to_range(items.front(), *query.document, action.range)
                                 : std::string(trim(items.front()));
        }
        answer.is_found = !answer.text.empty();
        if (context->is_cancelled() || !answer.is_found) {
            if (std::optional<Error> error = reason_of(status, *context)) {
                return fail(*std::move(error));
            }
        }
        return answer;
    };
    submit(*actions_, context, once, limits_.action_budget + limits_.plugin_grace, std::move(run));
}

}  // namespace

std::unique_ptr<Assistant> Assistant::make(const AssistantParts& parts,
                                           const AssistLimits& limits) {
    return std::make_unique<PooledAssistant>(parts, limits);
}

}  // namespace hearth::assist

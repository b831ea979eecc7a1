#include "training/evaluation/open_context.h"

#include <utility>

#include "core/assist/assist.h"
#include "core/assist/query_context.h"
#include "core/plugin_host/job_pool.h"
#include "training/evaluation/product.h"

namespace hearth::evaluation {
namespace {

/// Longer than any plugin takes: what is gathered does not hang on the load of the machine.
constexpr Duration kGatherBudget = std::chrono::minutes(1);

assist::DocumentRef to_document(std::string path, std::string language, std::string text) {
    assist::Document document;
    document.uri = "file:///project/" + path;
    document.path = std::move(path);
    document.language = std::move(language);
    document.text = std::move(text);
    return std::make_shared<const assist::Document>(std::move(document));
}

}  // namespace

Result<std::unique_ptr<OpenContext>> OpenContext::make(const std::string& folder,
                                                       const Clock& clock) {
    std::unique_ptr<OpenContext> self(new OpenContext);
    plugin_host::PluginHostOptions options;
    options.folders = {folder};
    options.budgets.gather = kGatherBudget;
    self->plugins_ = plugin_host::PluginHost::load(options, self->log_, clock);
    if (self->plugins_->provider_count() == 0) {
        return fail(ErrorCode::not_found,
                    "no plugin in " + folder + " gives context; name the folder of the built ones",
                    "evaluation");
    }
    self->gatherer_ = std::make_unique<assist::ContextGatherer>(
        *self->plugins_,
        plugin_host::JobPool::make("context", {.thread_count = 1}, clock),
        assist::ContextLimits{.budget = kGatherBudget,
                              .grace = kGatherBudget,
                              .bytes_max = assist::AssistLimits{}.context_bytes_max});
    return self;
}

OpenContext::~OpenContext() {
    if (gatherer_) gatherer_->shut();
}

std::vector<assist::ContextPiece> OpenContext::gather(const LineCase& cursor) {
    if (cursor.open_files.empty()) return {};
    assist::QueryContextOptions query;
    query.document = to_document(cursor.path, cursor.language, cursor.prefix + cursor.suffix);
    for (const OpenFile& file : cursor.open_files) {
        query.others.push_back(to_document(file.path, cursor.language, file.text));
    }
    return gatherer_->gather(assist::QueryContext(std::move(query)), cursor.prefix.size());
}

}  // namespace hearth::evaluation

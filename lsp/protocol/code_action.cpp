#include "lsp/protocol/code_action.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, CodeActionContext& value) {
    archive("diagnostics", value.diagnostics);
    archive("only", value.only);
    archive("triggerKind", value.trigger_kind);
}
template <typename A>
void describe(A& archive, CodeActionParams& value) {
    archive("textDocument", value.text_document);
    archive("range", value.range);
    archive("context", value.context);
    archive("workDoneToken", value.work_done_token);
}
template <typename A>
void describe(A& archive, CodeAction& value) {
    archive("title", value.title);
    archive("kind", value.kind);
    archive("diagnostics", value.diagnostics);
    archive("edit", value.edit);
    archive("command", value.command);
    archive("tags", value.tags);
    archive("data", value.data);
}
template <typename A>
void describe(A& archive, ActionTicket& value) {
    archive("uri", value.uri);
    archive("version", value.version);
    archive("selection", value.selection);
    archive("diagnostics", value.diagnostics);
    archive("plugin", value.plugin_index);
    archive("action", value.action_id);
    archive("isFix", value.is_fix);
    archive("range", value.range);
    archive("title", value.title);
}

/// A list of actions is written as the array that LSP wants.
LspAny to_any_array(const std::vector<CodeAction>& actions) {
    return LspAny(std::make_shared<Json>(JsonWriter::write(actions)));
}
LspAny to_any_array(const std::vector<Command>& commands) {
    return LspAny(std::make_shared<Json>(JsonWriter::write(commands)));
}
Result<std::vector<CodeAction>> from_any_array(const LspAny& any) {
    std::vector<CodeAction> actions;
    static const Json empty = Json::object();
    JsonReader reader(empty, "result");
    if (any.is_absent()) return actions;
    reader.read(*any.get(), actions, "result");
    if (!reader.fault().empty()) return fail(ErrorCode::invalid_argument, reader.fault(), "lsp");
    return actions;
}

HEARTH_LSP_STRUCT(CodeActionParams);
HEARTH_LSP_STRUCT(CodeAction);
HEARTH_LSP_STRUCT(ActionTicket);

}  // namespace hearth::lsp

#include "lsp/protocol/workspace.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, ExecuteCommandParams& value) {
    archive("command", value.command);
    archive("arguments", value.arguments);
    archive("workDoneToken", value.work_done_token);
}
template <typename A>
void describe(A& archive, ApplyWorkspaceEditParams& value) {
    archive("label", value.label);
    archive("edit", value.edit);
}
template <typename A>
void describe(A& archive, ApplyWorkspaceEditResult& value) {
    archive("applied", value.applied);
    archive("failureReason", value.failure_reason);
}
template <typename A>
void describe(A& archive, TextDocumentContentParams& value) {
    archive("uri", value.uri);
}
template <typename A>
void describe(A& archive, TextDocumentContentResult& value) {
    archive("text", value.text);
}

HEARTH_LSP_STRUCT(ExecuteCommandParams);
HEARTH_LSP_STRUCT(ApplyWorkspaceEditParams);
HEARTH_LSP_STRUCT(ApplyWorkspaceEditResult);
HEARTH_LSP_STRUCT(TextDocumentContentParams);
HEARTH_LSP_STRUCT(TextDocumentContentResult);

}  // namespace hearth::lsp

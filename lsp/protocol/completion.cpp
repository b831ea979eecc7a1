#include "lsp/protocol/completion.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, SelectedCompletionInfo& value) {
    archive("range", value.range);
    archive("text", value.text);
}
template <typename A>
void describe(A& archive, InlineCompletionContext& value) {
    archive("triggerKind", value.trigger_kind);
    archive("selectedCompletionInfo", value.selected_completion_info);
}
template <typename A>
void describe(A& archive, InlineCompletionParams& value) {
    archive("textDocument", value.text_document);
    archive("position", value.position);
    archive("context", value.context);
}
template <typename A>
void describe(A& archive, InlineCompletionItem& value) {
    archive("insertText", value.insert_text);
    archive("filterText", value.filter_text);
    archive("range", value.range);
}
template <typename A>
void describe(A& archive, InlineCompletionList& value) {
    archive("items", value.items);
}
template <typename A>
void describe(A& archive, CompletionItem& value) {
    archive("label", value.label);
    archive("kind", value.kind);
    archive("detail", value.detail);
    archive("documentation", value.documentation);
    archive("sortText", value.sort_text);
    archive("filterText", value.filter_text);
    archive("textEdit", value.text_edit);
}
template <typename A>
void describe(A& archive, CompletionList& value) {
    archive("isIncomplete", value.is_incomplete);
    archive("items", value.items);
}
template <typename A>
void describe(A& archive, Hover& value) {
    archive("contents", value.contents);
    archive("range", value.range);
}

HEARTH_LSP_STRUCT(InlineCompletionParams);
HEARTH_LSP_STRUCT(InlineCompletionList);
HEARTH_LSP_STRUCT(CompletionList);
HEARTH_LSP_STRUCT(Hover);

}  // namespace hearth::lsp

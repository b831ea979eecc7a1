#include "lsp/protocol/text_sync.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

template <typename A>
void describe(A& archive, DidOpenTextDocumentParams& value) {
    archive("textDocument", value.text_document);
}
template <typename A>
void describe(A& archive, TextDocumentContentChangeEvent& value) {
    archive("range", value.range);
    archive("text", value.text);
}
template <typename A>
void describe(A& archive, DidChangeTextDocumentParams& value) {
    archive("textDocument", value.text_document);
    archive("contentChanges", value.content_changes);
}
template <typename A>
void describe(A& archive, DidCloseTextDocumentParams& value) {
    archive("textDocument", value.text_document);
}

HEARTH_LSP_STRUCT(DidOpenTextDocumentParams);
HEARTH_LSP_STRUCT(DidChangeTextDocumentParams);
HEARTH_LSP_STRUCT(DidCloseTextDocumentParams);

}  // namespace hearth::lsp

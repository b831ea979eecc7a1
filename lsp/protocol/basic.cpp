#include "lsp/protocol/basic.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {

LspAny LspAny::null() {
    return LspAny(std::make_shared<Json>(nullptr));
}

bool operator==(const LspAny& a, const LspAny& b) {
    if (a.is_absent() || b.is_absent()) return a.is_absent() == b.is_absent();
    return *a.value_ == *b.value_;
}

HEARTH_LSP_STRUCT(Position);
HEARTH_LSP_STRUCT(Range);
HEARTH_LSP_STRUCT(TextDocumentPositionParams);
HEARTH_LSP_STRUCT(Diagnostic);
HEARTH_LSP_STRUCT(WorkspaceEdit);
HEARTH_LSP_STRUCT(Command);
HEARTH_LSP_STRUCT(MarkupContent);

}  // namespace hearth::lsp

// Documents as the editor opens, changes and closes them.
#pragma once

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

struct DidOpenTextDocumentParams {
    TextDocumentItem text_document;

    friend bool operator==(const DidOpenTextDocumentParams&,
                           const DidOpenTextDocumentParams&) = default;
};
/// Without a range `text` is the whole document.
struct TextDocumentContentChangeEvent {
    std::optional<Range> range;
    std::string text;

    friend bool operator==(const TextDocumentContentChangeEvent&,
                           const TextDocumentContentChangeEvent&) = default;
};
struct DidChangeTextDocumentParams {
    VersionedTextDocumentIdentifier text_document;
    std::vector<TextDocumentContentChangeEvent> content_changes;  ///< applied in order

    friend bool operator==(const DidChangeTextDocumentParams&,
                           const DidChangeTextDocumentParams&) = default;
};
struct DidCloseTextDocumentParams {
    TextDocumentIdentifier text_document;

    friend bool operator==(const DidCloseTextDocumentParams&,
                           const DidCloseTextDocumentParams&) = default;
};

}  // namespace hearth::lsp

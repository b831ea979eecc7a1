// Commands, edits that the server asks for, virtual documents.
#pragma once

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

struct ExecuteCommandParams {
    std::string command;
    std::optional<std::vector<LspAny>> arguments;
    std::optional<ProgressToken> work_done_token;

    friend bool operator==(const ExecuteCommandParams&, const ExecuteCommandParams&) = default;
};
struct ApplyWorkspaceEditParams {
    std::optional<std::string> label;
    WorkspaceEdit edit;

    friend bool operator==(const ApplyWorkspaceEditParams&,
                           const ApplyWorkspaceEditParams&) = default;
};
struct ApplyWorkspaceEditResult {
    bool applied = false;
    std::optional<std::string> failure_reason;

    friend bool operator==(const ApplyWorkspaceEditResult&,
                           const ApplyWorkspaceEditResult&) = default;
};
struct TextDocumentContentParams {
    std::string uri;

    friend bool operator==(const TextDocumentContentParams&,
                           const TextDocumentContentParams&) = default;
};
struct TextDocumentContentResult {
    std::string text;

    friend bool operator==(const TextDocumentContentResult&,
                           const TextDocumentContentResult&) = default;
};

}  // namespace hearth::lsp

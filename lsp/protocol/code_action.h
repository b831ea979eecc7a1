// textDocument/codeAction and codeAction/resolve.
#pragma once

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

inline constexpr const char* kKindQuickFix = "quickfix";
inline constexpr const char* kKindExplain = "hearth.explain";
inline constexpr std::uint32_t kTagLlmGenerated = 1;

struct CodeActionContext {
    std::vector<Diagnostic> diagnostics;
    std::optional<std::vector<std::string>> only;
    std::optional<std::uint32_t> trigger_kind;

    friend bool operator==(const CodeActionContext&, const CodeActionContext&) = default;
};
struct CodeActionParams {
    TextDocumentIdentifier text_document;
    Range range;
    CodeActionContext context;
    std::optional<ProgressToken> work_done_token;

    friend bool operator==(const CodeActionParams&, const CodeActionParams&) = default;
};
struct CodeAction {
    std::string title;
    std::optional<std::string> kind;
    std::optional<std::vector<Diagnostic>> diagnostics;
    std::optional<WorkspaceEdit> edit;
    std::optional<Command> command;
    std::optional<std::vector<std::uint32_t>> tags;
    LspAny data;

    friend bool operator==(const CodeAction&, const CodeAction&) = default;
};

/// What an action of ours carries from the list to its run, in `data` or as the command's argument:
/// all that is needed.
struct ActionTicket {
    std::string uri;
    std::int64_t version = 0;
    Range selection;
    std::vector<Diagnostic> diagnostics;
    std::uint64_t plugin_index = 0;
    std::uint32_t action_id = 0;
    bool is_fix = false;
    Range range;  ///< what a fix replaces
    std::string title;

    friend bool operator==(const ActionTicket&, const ActionTicket&) = default;
};

/// The answer to textDocument/codeAction: an array of actions, or of bare commands for clients
/// without literals.
LspAny to_any_array(const std::vector<CodeAction>& actions);
LspAny to_any_array(const std::vector<Command>& commands);
/// Errors: invalid_argument, naming the place.
Result<std::vector<CodeAction>> from_any_array(const LspAny& any);

}  // namespace hearth::lsp

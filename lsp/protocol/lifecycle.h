// initialize and what it agrees on. Only the capabilities that hearth acts on are read.
#pragma once

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

/// The client's capabilities, flattened to questions. Absent ones are false or empty.
struct ClientCapabilities {
    std::vector<std::string> position_encodings;  ///< in order of preference; empty: utf-16 only
    bool has_inline_completion = false;
    bool has_hover = false;
    bool hover_reads_markdown = false;
    bool has_code_action_literals = false;
    bool resolves_code_action_edit = false;  ///< dataSupport, and resolveSupport lists "edit"
    bool reads_llm_tag = false;              ///< codeAction.tagSupport has LLMGenerated
    bool has_apply_edit = false;
    bool has_document_changes = false;
    bool has_change_annotations = false;
    bool has_work_done_progress = false;
    bool has_show_document = false;
    bool has_text_document_content = false;

    friend bool operator==(const ClientCapabilities&, const ClientCapabilities&) = default;
};

struct InitializeParams {
    std::optional<std::int64_t> process_id;
    std::string client_name;  ///< empty where not told
    std::optional<std::string> root_uri;
    std::vector<WorkspaceFolder> workspace_folders;
    ClientCapabilities capabilities;
    /// initializationOptions.showsExplanations: the editor shows what the command hearth.explain
    /// returns by itself.
    bool shows_explanations = false;

    friend bool operator==(const InitializeParams&, const InitializeParams&) = default;
};

/// What the server offers; written as LSP's InitializeResult.
struct InitializeResult {
    std::string position_encoding = "utf-16";
    bool offers_completion = true;  ///< textDocument/completion, for editors without ghost text
    bool offers_code_action_resolve = true;
    bool offers_text_document_content = false;
    std::vector<std::string> commands;
    std::string server_version;

    friend bool operator==(const InitializeResult&, const InitializeResult&) = default;
};

}  // namespace hearth::lsp

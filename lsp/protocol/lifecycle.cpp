#include "lsp/protocol/lifecycle.h"

#include "lsp/protocol/describe_basic.h"

namespace hearth::lsp {
namespace {

/// The value at a path of members, or null: capabilities nest deeply and every level may be absent.
const Json* find_path(const Json& root, std::initializer_list<const char*> path) {
    const Json* at = &root;
    for (const char* name : path) {
        if (!at->is_object()) return nullptr;
        const auto member = at->find(name);
        if (member == at->end()) return nullptr;
        at = &*member;
    }
    return at;
}

bool is_true(const Json& root, std::initializer_list<const char*> path) {
    const Json* value = find_path(root, path);
    return value != nullptr && value->is_boolean() && value->get<bool>();
}

bool is_present(const Json& root, std::initializer_list<const char*> path) {
    const Json* value = find_path(root, path);
    return value != nullptr && !value->is_null();
}

template <typename T>
bool lists(const Json& root, std::initializer_list<const char*> path, const T& wanted) {
    const Json* value = find_path(root, path);
    if (value == nullptr || !value->is_array()) return false;
    for (const Json& element : *value) {
        if (element == Json(wanted)) return true;
    }
    return false;
}

ClientCapabilities read_capabilities(const Json& json) {
    ClientCapabilities out;
    if (const Json* encodings = find_path(json, {"general", "positionEncodings"});
        encodings && encodings->is_array()) {
        for (const Json& encoding : *encodings) {
            if (encoding.is_string()) out.position_encodings.push_back(encoding.get<std::string>());
        }
    }
    out.has_inline_completion = is_present(json, {"textDocument", "inlineCompletion"});
    out.has_hover = is_present(json, {"textDocument", "hover"});
    out.hover_reads_markdown = lists(json, {"textDocument", "hover", "contentFormat"}, "markdown");
    out.has_code_action_literals =
        is_present(json, {"textDocument", "codeAction", "codeActionLiteralSupport"});
    out.resolves_code_action_edit =
        is_true(json, {"textDocument", "codeAction", "dataSupport"}) &&
        lists(json, {"textDocument", "codeAction", "resolveSupport", "properties"}, "edit");
    out.reads_llm_tag = lists(json, {"textDocument", "codeAction", "tagSupport", "valueSet"}, 1);
    out.has_apply_edit = is_true(json, {"workspace", "applyEdit"});
    out.has_document_changes = is_true(json, {"workspace", "workspaceEdit", "documentChanges"});
    out.has_change_annotations =
        is_present(json, {"workspace", "workspaceEdit", "changeAnnotationSupport"});
    out.has_work_done_progress = is_true(json, {"window", "workDoneProgress"});
    out.has_show_document = is_true(json, {"window", "showDocument", "support"});
    out.has_text_document_content = is_present(json, {"workspace", "textDocumentContent"});
    return out;
}

}  // namespace

/// Only read: hearth's own client writes its capabilities itself.
template <typename A>
void describe(A& archive, InitializeParams& value) {
    if constexpr (A::kReads) {
        const Json& json = archive.object();
        const auto number = json.find("processId");
        if (number != json.end() && number->is_number_integer())
            value.process_id = number->template get<std::int64_t>();
        if (const Json* name = find_path(json, {"clientInfo", "name"}); name && name->is_string()) {
            value.client_name = name->get<std::string>();
        }
        archive("rootUri", value.root_uri);
        std::optional<std::vector<WorkspaceFolder>> folders;
        archive("workspaceFolders", folders);
        value.workspace_folders = std::move(folders).value_or(std::vector<WorkspaceFolder>{});
        if (const Json* capabilities = find_path(json, {"capabilities"})) {
            value.capabilities = read_capabilities(*capabilities);
        }
        value.shows_explanations = is_true(json, {"initializationOptions", "showsExplanations"});
    } else {
        archive("processId", value.process_id);
        if (!value.process_id) archive.object()["processId"] = nullptr;
        archive("rootUri", value.root_uri);
        if (!value.root_uri) archive.object()["rootUri"] = nullptr;
        archive.object()["clientInfo"] = {{"name", value.client_name}};
        archive("workspaceFolders", value.workspace_folders);
        archive.object()["initializationOptions"]["showsExplanations"] = value.shows_explanations;
        Json capabilities = Json::object();
        const ClientCapabilities& has = value.capabilities;
        if (!has.position_encodings.empty())
            capabilities["general"]["positionEncodings"] = has.position_encodings;
        if (has.has_inline_completion)
            capabilities["textDocument"]["inlineCompletion"] = Json::object();
        if (has.has_hover) {
            capabilities["textDocument"]["hover"]["contentFormat"] =
                has.hover_reads_markdown ? Json::array({"markdown", "plaintext"})
                                         : Json::array({"plaintext"});
        }
        Json& action = capabilities["textDocument"]["codeAction"];
        action = Json::object();
        if (has.has_code_action_literals) {
            action["codeActionLiteralSupport"]["codeActionKind"]["valueSet"] =
                Json::array({"quickfix", ""});
        }
        if (has.resolves_code_action_edit) {
            action["dataSupport"] = true;
            action["resolveSupport"]["properties"] = Json::array({"edit"});
        }
        if (has.reads_llm_tag) action["tagSupport"]["valueSet"] = Json::array({1});
        Json& workspace = capabilities["workspace"];
        workspace["applyEdit"] = has.has_apply_edit;
        workspace["workspaceEdit"]["documentChanges"] = has.has_document_changes;
        if (has.has_change_annotations)
            workspace["workspaceEdit"]["changeAnnotationSupport"] = Json::object();
        if (has.has_text_document_content) workspace["textDocumentContent"] = Json::object();
        capabilities["window"]["workDoneProgress"] = has.has_work_done_progress;
        capabilities["window"]["showDocument"]["support"] = has.has_show_document;
        archive.object()["capabilities"] = std::move(capabilities);
    }
}

/// Reading gives back what a client of ours asks about: the encoding and the version.
template <typename A>
void describe(A& archive, InitializeResult& value) {
    if constexpr (A::kReads) {
        const Json& json = archive.object();
        if (const Json* encoding = find_path(json, {"capabilities", "positionEncoding"});
            encoding && encoding->is_string()) {
            value.position_encoding = encoding->get<std::string>();
        }
        value.offers_completion = is_present(json, {"capabilities", "completionProvider"});
        value.offers_code_action_resolve =
            is_true(json, {"capabilities", "codeActionProvider", "resolveProvider"});
        value.offers_text_document_content =
            is_present(json, {"capabilities", "workspace", "textDocumentContent"});
        if (const Json* commands =
                find_path(json, {"capabilities", "executeCommandProvider", "commands"})) {
            archive.read(*commands, value.commands, "capabilities.executeCommandProvider.commands");
        }
        if (const Json* version = find_path(json, {"serverInfo", "version"});
            version && version->is_string()) {
            value.server_version = version->get<std::string>();
        }
    } else {
        Json capabilities;
        capabilities["positionEncoding"] = value.position_encoding;
        capabilities["textDocumentSync"] = {{"openClose", true}, {"change", 2}, {"save", false}};
        capabilities["inlineCompletionProvider"] = Json::object();
        if (value.offers_completion) capabilities["completionProvider"] = Json::object();
        capabilities["hoverProvider"] = true;
        capabilities["codeActionProvider"] = {
            {"codeActionKinds", Json::array({"quickfix", "hearth.explain"})},
            {"resolveProvider", value.offers_code_action_resolve}};
        capabilities["executeCommandProvider"] = {{"commands", value.commands},
                                                  {"workDoneProgress", true}};
        if (value.offers_text_document_content) {
            capabilities["workspace"]["textDocumentContent"]["schemes"] = Json::array({"hearth"});
        }
        archive.object()["capabilities"] = std::move(capabilities);
        archive.object()["serverInfo"] = {{"name", "hearth"}, {"version", value.server_version}};
    }
}

HEARTH_LSP_STRUCT(InitializeParams);
HEARTH_LSP_STRUCT(InitializeResult);

}  // namespace hearth::lsp

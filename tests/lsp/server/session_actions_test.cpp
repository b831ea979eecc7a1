#include "tests/lsp/server/session_fixture.h"

namespace hearth::lsp::test {
namespace {

const Range kLine{{0, 0}, {0, 9}};

ClientCapabilities literals() {
    ClientCapabilities client;
    client.has_code_action_literals = true;
    client.has_apply_edit = true;
    return client;
}

/// Asks for actions at the first line; the assistant offers one explanation and one fix.
std::vector<CodeAction> list_actions(Conversation& talk,
                                     std::optional<std::vector<std::string>> only = {}) {
    talk.open("int a = 1\n");
    const Diagnostic diagnostic{kLine, 1, "gcc", "expected ';'"};
    talk.request(1,
                 "textDocument/codeAction",
                 CodeActionParams{{kUri}, kLine, {{diagnostic}, std::move(only), 1}, {}});
    plugin_host::Action explain;
    explain.title = "Explain";
    explain.range = {0, 9};
    plugin_host::Action fix;
    fix.kind = plugin_host::ActionKind::fixes;
    fix.title = "Fix";
    fix.range = {0, 9};
    fix.plugin_index = 1;
    talk.assistant.lists.at(0).done(std::vector<plugin_host::Action>{explain, fix});
    const Message message = talk.next();
    const auto actions = from_any_array(std::get<LspAny>(std::get<RpcResponse>(message).outcome));
    REQUIRE(actions);
    return *actions;
}

TEST_CASE("a fix is resolved where the client can, and its edit replaces the line",
          "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.resolves_code_action_edit = true;
    client.has_document_changes = true;
    client.has_change_annotations = true;
    client.reads_llm_tag = true;
    Conversation talk;
    talk.initialize(client);
    const std::vector<CodeAction> actions = list_actions(talk);
    REQUIRE(actions.size() == 2);
    CHECK(actions[0].command->command == "hearth.explain");
    CHECK(actions[1].kind == "quickfix");
    CHECK(actions[1].tags == std::vector<std::uint32_t>{kTagLlmGenerated});
    CHECK_FALSE(actions[1].command);
    CHECK_FALSE(actions[1].edit);

    talk.request(2, "codeAction/resolve", actions[1]);
    REQUIRE(talk.assistant.runs.size() == 1);
    CHECK(talk.assistant.runs[0].query.diagnostics.at(0).message == "expected ';'");
    CHECK(talk.assistant.runs[0].action.plugin_index == 1);
    talk.assistant.runs[0].done(assist::ActionAnswer{"int a = 1;", true, {0, 9}, {}});
    const auto resolved = talk.result<CodeAction>(2);
    REQUIRE(resolved.edit);
    CHECK_FALSE(resolved.edit->changes);
    const TextDocumentEdit& edit = resolved.edit->document_changes->at(0);
    CHECK(edit.text_document.version == 1);
    CHECK(edit.edits.at(0).range == kLine);
    CHECK(edit.edits.at(0).new_text == "int a = 1;");
    CHECK(resolved.edit->change_annotations->count(*edit.edits.at(0).annotation_id) == 1);
}

TEST_CASE("versions and annotations come only where they are declared", "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.resolves_code_action_edit = true;
    Conversation talk;
    talk.initialize(client);
    talk.request(2, "codeAction/resolve", list_actions(talk).at(1));
    talk.assistant.runs.at(0).done(assist::ActionAnswer{"int a = 1;", true, {0, 9}, {}});
    const auto resolved = talk.result<CodeAction>(2);
    CHECK_FALSE(resolved.edit->document_changes);
    CHECK_FALSE(resolved.edit->change_annotations);
    CHECK(resolved.edit->changes->at(kUri).at(0) == TextEdit{kLine, "int a = 1;", std::nullopt});
}

TEST_CASE("no fix found is an empty edit and one message", "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.resolves_code_action_edit = true;
    Conversation talk;
    talk.initialize(client);
    talk.request(2, "codeAction/resolve", list_actions(talk).at(1));
    talk.assistant.runs.at(0).done(assist::ActionAnswer{});
    CHECK(talk.notification<ShowMessageParams>("window/showMessage").type == kMessageInfo);
    const auto resolved = talk.result<CodeAction>(2);
    CHECK(resolved.edit->changes->empty());
    CHECK(talk.is_quiet());
}

TEST_CASE("without resolve a fix is a command that asks the editor to apply the edit",
          "[lsp][actions]") {
    Conversation talk;
    talk.initialize(literals());
    const std::vector<CodeAction> actions = list_actions(talk);
    REQUIRE(actions.at(1).command);
    talk.request(2,
                 "workspace/executeCommand",
                 ExecuteCommandParams{"hearth.fix", actions[1].command->arguments, {}});
    talk.assistant.runs.at(0).done(assist::ActionAnswer{"int a = 1;", true, {0, 9}, {}});
    const auto apply = talk.asked<ApplyWorkspaceEditParams>("workspace/applyEdit");
    CHECK(apply.edit.changes->at(kUri).at(0).new_text == "int a = 1;");
    CHECK(talk.is_quiet());
    SECTION("applied") {
        talk.answer(to_any(ApplyWorkspaceEditResult{true, {}}));
        CHECK(talk.is_null(2));
    }
    SECTION("refused by the editor") {
        talk.answer(to_any(ApplyWorkspaceEditResult{false, "read-only"}));
        CHECK(talk.error(2) == RpcErrorCode::request_failed);
    }
}

TEST_CASE("a client that can neither resolve nor apply is offered no fix", "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.has_apply_edit = false;
    Conversation talk;
    talk.initialize(client);
    CHECK(list_actions(talk).size() == 1);
}

TEST_CASE("the kinds that a client asks for are the ones it gets", "[lsp][actions]") {
    const auto count = [](std::vector<std::string> only) {
        Conversation talk;
        talk.initialize(literals());
        return list_actions(talk, std::move(only)).size();
    };
    CHECK(count({}) == 2);
    CHECK(count({""}) == 2);
    CHECK(count({"quickfix"}) == 1);
    CHECK(count({"hearth"}) == 1);
    CHECK(count({"refactor", "quick"}) == 0);
}

TEST_CASE("a client without literals gets bare commands", "[lsp][actions]") {
    ClientCapabilities client;
    client.has_apply_edit = true;
    Conversation talk;
    talk.initialize(client);
    talk.open("int a = 1\n");
    talk.request(1, "textDocument/codeAction", CodeActionParams{{kUri}, kLine, {{}, {}, {}}, {}});
    plugin_host::Action fix;
    fix.kind = plugin_host::ActionKind::fixes;
    fix.title = "Fix";
    talk.assistant.lists.at(0).done(std::vector<plugin_host::Action>{fix});
    const Message message = talk.next();
    CHECK(to_json(message).find(R"("command":"hearth.fix","title":"Fix")") != std::string::npos);
}

TEST_CASE("a fix of an older text is refused before the model is asked", "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.resolves_code_action_edit = true;
    Conversation talk;
    talk.initialize(client);
    const CodeAction fix = list_actions(talk).at(1);
    talk.edit(2, "int b = 1\n");
    talk.request(2, "codeAction/resolve", fix);
    CHECK(talk.error(2) == RpcErrorCode::content_modified);
    CHECK(talk.assistant.runs.empty());
}

/// Runs the explanation of list_actions() with request id 2; its pieces have come.
void explain(Conversation& talk, std::optional<ProgressToken> token = {}) {
    const std::vector<CodeAction> actions = list_actions(talk);
    talk.request(2,
                 "workspace/executeCommand",
                 ExecuteCommandParams{"hearth.explain", actions[0].command->arguments, token});
    REQUIRE(talk.assistant.runs.size() == 1);
}

TEST_CASE("an explanation opens as a virtual document where the client has them",
          "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.has_show_document = true;
    client.has_text_document_content = true;
    Conversation talk;
    talk.initialize(client);
    explain(talk);
    talk.assistant.runs[0].done(assist::ActionAnswer{"It is an int.", true, {}, {}});
    const auto show = talk.asked<ShowDocumentParams>("window/showDocument");
    CHECK(talk.result<TextDocumentContentResult>(2).text == "It is an int.");
    talk.request(3, "workspace/textDocumentContent", TextDocumentContentParams{show.uri});
    CHECK(talk.result<TextDocumentContentResult>(3).text == "It is an int.");
    talk.request(
        4, "workspace/textDocumentContent", TextDocumentContentParams{"hearth:/explanation/99.md"});
    CHECK(talk.error(4) == RpcErrorCode::request_failed);
}

TEST_CASE("else it is the hover at that place until the text changes", "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.has_hover = true;
    client.hover_reads_markdown = true;
    Conversation talk;
    talk.initialize(client);
    explain(talk);
    talk.assistant.runs[0].done(assist::ActionAnswer{"It is an int.", true, {}, {}});
    talk.notification<ShowMessageParams>("window/showMessage");
    talk.result<TextDocumentContentResult>(2);
    talk.request(3, "textDocument/hover", TextDocumentPositionParams{{kUri}, {0, 4}});
    CHECK(talk.result<Hover>(3).contents == MarkupContent{"markdown", "It is an int."});
    talk.request(4, "textDocument/hover", TextDocumentPositionParams{{kUri}, {1, 0}});
    CHECK(talk.is_null(4));
    talk.edit(2, "int b;\n");
    talk.request(5, "textDocument/hover", TextDocumentPositionParams{{kUri}, {0, 4}});
    CHECK(talk.is_null(5));
}

TEST_CASE("else it is a message", "[lsp][actions]") {
    Conversation talk;
    talk.initialize(literals());
    explain(talk);
    talk.assistant.runs[0].done(assist::ActionAnswer{"It is an int.", true, {}, {}});
    CHECK(talk.notification<ShowMessageParams>("window/showMessage").message ==
          "hearth: It is an int.");
}

TEST_CASE("an editor that shows explanations itself gets the text and nothing else",
          "[lsp][actions]") {
    Conversation talk;
    InitializeParams params;
    params.capabilities = literals();
    params.capabilities.has_hover = true;
    params.shows_explanations = true;
    talk.request(0, "initialize", params);
    talk.next();
    explain(talk);
    talk.assistant.runs[0].done(assist::ActionAnswer{"It is an int.", true, {}, {}});
    CHECK(talk.result<TextDocumentContentResult>(2).text == "It is an int.");
    CHECK(talk.is_quiet());
}

TEST_CASE("progress begins, grows with the text and ends before the answer", "[lsp][actions]") {
    ClientCapabilities client = literals();
    client.has_work_done_progress = true;
    const bool has_token = GENERATE(true, false);
    Conversation talk;
    talk.initialize(client);
    explain(talk, has_token ? std::optional<ProgressToken>("mine") : std::nullopt);
    ProgressToken token = std::string("mine");
    if (!has_token)
        token = talk.asked<WorkDoneProgressCreateParams>("window/workDoneProgress/create").token;
    const auto begin = talk.notification<ProgressParams>("$/progress");
    CHECK(begin.token == token);
    CHECK(begin.value.kind == "begin");
    CHECK(begin.value.title == "Explain");
    talk.assistant.runs[0].on_piece("It is");
    talk.assistant.runs[0].on_piece(" an int.");
    CHECK(talk.notification<ProgressParams>("$/progress").value.message == "It is");
    CHECK(talk.notification<ProgressParams>("$/progress").value.message == "It is an int.");
    SECTION("to its end") {
        talk.assistant.runs[0].done(assist::ActionAnswer{"It is an int.", true, {}, {}});
        CHECK(talk.notification<ProgressParams>("$/progress").value.kind == "end");
    }
    SECTION("or until the user cancels it") {
        talk.notify("window/workDoneProgress/cancel", WorkDoneProgressCancelParams{token});
        CHECK(talk.notification<ProgressParams>("$/progress").value.kind == "end");
        CHECK(talk.error(2) == RpcErrorCode::request_cancelled);
        CHECK(talk.assistant.runs[0].query.cancel.is_cancelled());
    }
}

TEST_CASE("a fix is answered even if the editor never says whether it applied the edit",
          "[lsp][actions]") {
    Conversation talk;
    talk.initialize(literals());
    const std::vector<CodeAction> actions = list_actions(talk);
    const auto fix = [&](std::int64_t id) {
        talk.request(id,
                     "workspace/executeCommand",
                     ExecuteCommandParams{"hearth.fix", actions.at(1).command->arguments, {}});
        talk.assistant.runs.back().done(assist::ActionAnswer{"int a = 1;", true, {0, 9}, {}});
        talk.run_tasks();
    };
    const auto asked_max = static_cast<std::int64_t>(ServerLimits{}.pending_max);
    for (std::int64_t i = 0; i < asked_max; ++i) {
        fix(100 + i);
        talk.asked<ApplyWorkspaceEditParams>("workspace/applyEdit");
    }
    CHECK(talk.is_quiet());
    fix(100 + asked_max);
    CHECK(talk.error(100) == RpcErrorCode::request_failed);
    talk.asked<ApplyWorkspaceEditParams>("workspace/applyEdit");
    talk.answer(to_any(ApplyWorkspaceEditResult{true, {}}));
    CHECK(talk.is_null(100 + asked_max));
}

TEST_CASE("commands check their name and argument", "[lsp][actions]") {
    Conversation talk;
    talk.initialize(literals());
    talk.request(1, "workspace/executeCommand", ExecuteCommandParams{"rm", {}, {}});
    CHECK(talk.error(1) == RpcErrorCode::invalid_params);
    talk.request(2, "workspace/executeCommand", ExecuteCommandParams{"hearth.fix", {}, {}});
    CHECK(talk.error(2) == RpcErrorCode::invalid_params);
    talk.request(3,
                 "workspace/executeCommand",
                 ExecuteCommandParams{"hearth.fix", {{to_any(Position{})}}, {}});
    CHECK(talk.error(3) == RpcErrorCode::invalid_params);
}

}  // namespace
}  // namespace hearth::lsp::test

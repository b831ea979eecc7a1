#include "tests/lsp/server/session_fixture.h"

namespace hearth::lsp::test {
namespace {

const LspAny kNoParams;

TEST_CASE("before initialize requests are refused and notifications dropped", "[lsp][session]") {
    Conversation talk;
    talk.request(1, "textDocument/inlineCompletion", at(0, 0));
    CHECK(talk.error(1) == RpcErrorCode::server_not_initialized);
    talk.send(RpcRequest{std::int64_t{2}, "no/such", {}});
    CHECK(talk.error(2) == RpcErrorCode::server_not_initialized);
    talk.open("x");
    CHECK(talk.is_quiet());
    talk.initialize();
    talk.request(3, "textDocument/inlineCompletion", at(0, 0));
    CHECK(talk.error(3) == RpcErrorCode::invalid_params);
}

TEST_CASE("initialize may come once, and shutdown leaves only exit", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.request(1, "initialize", InitializeParams{});
    CHECK(talk.error(1) == RpcErrorCode::invalid_request);
    talk.send(RpcRequest{std::int64_t{2}, "shutdown", {}});
    CHECK(talk.is_null(2));
    talk.send(RpcRequest{std::int64_t{3}, "textDocument/hover", {}});
    CHECK(talk.error(3) == RpcErrorCode::invalid_request);
    talk.send(RpcNotification{"exit", {}});
    CHECK(talk.status == 0);
}

TEST_CASE("exit without shutdown ends with 1", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.send(RpcNotification{"exit", {}});
    CHECK(talk.status == 1);
    talk.send(RpcRequest{std::int64_t{9}, "shutdown", {}});
    CHECK(talk.is_quiet());
}

TEST_CASE("unknown requests are named, unknown notifications ignored, broken JSON costs one answer",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.send(RpcRequest{std::int64_t{1}, "textDocument/documentSymbol", {}});
    CHECK(talk.error(1) == RpcErrorCode::method_not_found);
    talk.send(RpcRequest{std::int64_t{2}, "$/strange", {}});
    CHECK(talk.error(2) == RpcErrorCode::method_not_found);
    talk.send(RpcNotification{"$/setTrace", {}});
    talk.send(RpcNotification{"workspace/didChangeConfiguration", {}});
    CHECK(talk.is_quiet());
    talk.session->on_message("{]");
    CHECK(talk.error(RequestId()) == RpcErrorCode::parse_error);
    talk.session->on_oversize(99'000'000);
    CHECK(talk.error(RequestId()) == RpcErrorCode::parse_error);
    talk.send(RpcRequest{std::int64_t{3}, "textDocument/inlineCompletion", {}});
    CHECK(talk.error(3) == RpcErrorCode::invalid_params);
}

TEST_CASE("the client's first known position encoding is taken, utf-16 where it names none",
          "[lsp][session]") {
    const auto encoding_for = [](std::vector<std::string> offered) {
        Conversation talk;
        InitializeParams params;
        params.capabilities.position_encodings = std::move(offered);
        talk.request(1, "initialize", params);
        return talk.result<InitializeResult>(1).position_encoding;
    };
    CHECK(encoding_for({}) == "utf-16");
    CHECK(encoding_for({"utf-32", "utf-8", "utf-16"}) == "utf-32");
    CHECK(encoding_for({"utf-7", "utf-8"}) == "utf-8");
    CHECK(encoding_for({"utf-7"}) == "utf-16");
}

TEST_CASE("the completion menu is offered to editors without ghost text only", "[lsp][session]") {
    for (const bool has_ghost_text : {false, true}) {
        Conversation talk;
        InitializeParams params;
        params.capabilities.has_inline_completion = has_ghost_text;
        talk.request(1, "initialize", params);
        CHECK(talk.result<InitializeResult>(1).offers_completion != has_ghost_text);
    }
}

TEST_CASE("a completion carries the snapshot and the byte, and its answer goes to the cursor",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x\n😀ab\n");
    talk.request(5, "textDocument/inlineCompletion", at(1, 3));
    REQUIRE(talk.assistant.completions.size() == 1);
    auto& call = talk.assistant.completions[0];
    CHECK(call.query.cursor_byte == 7);
    CHECK(call.query.document->path == "a.cpp");
    CHECK(call.query.trigger == assist::Trigger::automatic);
    CHECK(call.query.deadline);
    CHECK(talk.is_quiet());
    call.done(assist::CompletionAnswer{{{"first"}, {"second"}}, {}});
    const auto list = talk.result<InlineCompletionList>(5);
    REQUIRE(list.items.size() == 2);
    CHECK(list.items[0].insert_text == "first");
    CHECK(list.items[0].range == Range{{1, 3}, {1, 3}});
    CHECK(talk.session->answered_count() == 1);
    CHECK(talk.session->pending_count() == 0);
}

TEST_CASE("whoever types along a suggestion is given the rest of it, without the assistant",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("a\nend\n");
    const auto ask = [&](std::int64_t id, std::uint32_t line, std::uint32_t character) {
        talk.request(id, "textDocument/inlineCompletion", at(line, character));
    };
    const auto rest = [&](std::int64_t id) {
        const InlineCompletionList list = talk.result<InlineCompletionList>(id);
        REQUIRE(list.items.size() == 1);
        CHECK(talk.assistant.completions.size() == 1);
        return std::pair(list.items[0].insert_text, list.items[0].range->start);
    };
    ask(1, 0, 1);
    talk.assistant.completions[0].done(assist::CompletionAnswer{{{"bc(d);\n  e"}, {"xyz"}}, {}});
    talk.result<InlineCompletionList>(1);
    talk.edit(2, "ab\nend\n");
    ask(2, 0, 2);
    CHECK(rest(2) == std::pair(std::string("c(d);\n  e"), Position{0, 2}));
    talk.edit(3, "abc(d);\n  \nend\n");
    ask(3, 1, 2);
    CHECK(rest(3) == std::pair(std::string("e"), Position{1, 2}));
    talk.edit(4, "abc\nend\n");  // backspaces
    ask(4, 0, 3);
    CHECK(rest(4).first == "(d);\n  e");

    // Asked aloud, all of it typed, other text typed, an edit elsewhere, the same place, the popup:
    // asked anew.
    std::size_t asked = 1;
    InlineCompletionParams aloud = at(0, 3);
    aloud.context->trigger_kind = kTriggerInvoked;
    talk.request(20, "textDocument/inlineCompletion", aloud);
    CHECK(talk.assistant.completions.size() == ++asked);
    const auto is_asked = [&](std::int64_t id, const std::string& text, Position cursor) {
        talk.edit(id, text);
        ask(id, cursor.line, cursor.character);
        return talk.assistant.completions.size() == ++asked;
    };
    CHECK(is_asked(5, "abc(d);\n  e\nend\n", {1, 3}));
    CHECK(is_asked(6, "abd\nend\n", {0, 3}));
    CHECK(is_asked(7, "abc\nEnd\n", {0, 3}));
    CHECK(is_asked(8, "Abc\nend\n", {0, 3}));
    CHECK(is_asked(9, "a\nend\n", {0, 1}));
    talk.edit(10, "ab\nend\n");
    InlineCompletionParams popup = at(0, 2);
    popup.context->selected_completion_info = SelectedCompletionInfo{{{0, 0}, {0, 2}}, "abort"};
    talk.request(10, "textDocument/inlineCompletion", popup);
    CHECK(talk.assistant.completions.size() == ++asked);
    // A closed document is forgotten.
    talk.notify("textDocument/didClose", DidCloseTextDocumentParams{{kUri}});
    talk.open("ab\nend\n");
    ask(11, 0, 2);
    CHECK(talk.assistant.completions.size() == ++asked);
}

TEST_CASE("no suggestion is an empty list", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.assistant.completions[0].done(assist::CompletionAnswer{});
    CHECK(talk.result<InlineCompletionList>(1).items.empty());
}

TEST_CASE("with the editor's popup open the suggestion replaces what is selected there",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("foo.ba");
    InlineCompletionParams params = at(0, 6);
    params.context->selected_completion_info = SelectedCompletionInfo{{{0, 4}, {0, 6}}, "bar"};
    talk.request(1, "textDocument/inlineCompletion", params);
    auto& call = talk.assistant.completions.at(0);
    CHECK(call.query.selected_text == "bar");
    CHECK(call.query.selected_begin_byte == 4);
    call.done(assist::CompletionAnswer{{{"bar()"}}, {}});
    CHECK(talk.result<InlineCompletionList>(1).items.at(0).range == Range{{0, 4}, {0, 6}});
}

TEST_CASE("a cancelled request is answered at once and its late answer dropped", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.notify("$/cancelRequest", CancelParams{std::int64_t{1}});
    CHECK(talk.error(1) == RpcErrorCode::request_cancelled);
    CHECK(talk.assistant.completions[0].query.cancel.is_cancelled());
    talk.assistant.completions[0].done(assist::CompletionAnswer{{{"late"}}, {}});
    CHECK(talk.is_quiet());
    talk.notify("$/cancelRequest", CancelParams{std::int64_t{1}});
    CHECK(talk.is_quiet());
}

TEST_CASE("an edit supersedes what was asked about the older text", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.edit(2, "xy");
    CHECK(talk.error(1) == RpcErrorCode::content_modified);
    CHECK(talk.assistant.completions[0].query.cancel.is_cancelled());
}

TEST_CASE("a newer request supersedes the older one of its document and method, and no other",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.notify("textDocument/didOpen",
                DidOpenTextDocumentParams{{"file:///w/b.cpp", "cpp", 1, "y"}});
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.request(2, "textDocument/completion", TextDocumentPositionParams{{kUri}, {0, 1}});
    talk.request(3,
                 "textDocument/inlineCompletion",
                 InlineCompletionParams{{"file:///w/b.cpp"}, {0, 1}, std::nullopt});
    CHECK(talk.is_quiet());
    talk.request(4, "textDocument/inlineCompletion", at(0, 1));
    CHECK(talk.error(1) == RpcErrorCode::content_modified);
    CHECK(talk.is_quiet());
    CHECK(talk.session->pending_count() == 3);
}

TEST_CASE("a menu item replaces the word before the cursor and passes the editor's filter",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("int foo = ba");
    talk.request(1, "textDocument/completion", TextDocumentPositionParams{{kUri}, {0, 12}});
    talk.assistant.completions.at(0).done(assist::CompletionAnswer{{{"r(1);\nnext();"}}, {}});
    const auto list = talk.result<CompletionList>(1);
    CHECK(list.is_incomplete);
    const CompletionItem& item = list.items.at(0);
    CHECK(item.label == "bar(1);");
    CHECK(item.filter_text == "ba");
    CHECK(item.text_edit == TextEdit{{{0, 10}, {0, 12}}, "bar(1);\nnext();", std::nullopt});
}

TEST_CASE("what does not come in time is no suggestion, and who asks aloud has no such limit",
          "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.assistant.completions[0].done(fail(ErrorCode::timed_out, "late"));
    CHECK(talk.result<InlineCompletionList>(1).items.empty());
    InlineCompletionParams aloud = at(0, 1);
    aloud.context->trigger_kind = kTriggerInvoked;
    talk.request(2, "textDocument/inlineCompletion", aloud);
    CHECK_FALSE(talk.assistant.completions.at(1).query.deadline);
}

TEST_CASE("an error of the assistant is the request's error", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.assistant.completions[0].done(fail(ErrorCode::unavailable, "busy"));
    CHECK(talk.error(1) == RpcErrorCode::request_failed);
}

TEST_CASE("one connection's unanswered requests are bounded", "[lsp][session]") {
    Conversation talk;
    const auto limit = static_cast<std::int64_t>(ServerLimits{}.pending_max);
    for (std::int64_t id = 0; id < limit; ++id) {
        talk.request(id, "hearth/complete", HearthTextParams{"a", "c", "x", 1, 1, std::nullopt});
    }
    CHECK(talk.is_quiet());
    talk.request(limit, "hearth/complete", HearthTextParams{"a", "c", "x", 1, 1, std::nullopt});
    CHECK(talk.error(limit) == RpcErrorCode::request_failed);
    talk.request(3, "hearth/complete", HearthTextParams{"a", "c", "x", 1, 1, std::nullopt});
    CHECK(talk.error(3) == RpcErrorCode::invalid_request);
}

TEST_CASE("the end of a connection cancels what it asked", "[lsp][session]") {
    Conversation talk;
    talk.initialize();
    talk.open("x");
    talk.request(1, "textDocument/inlineCompletion", at(0, 1));
    talk.session->on_closed();
    CHECK(talk.assistant.completions[0].query.cancel.is_cancelled());
    talk.assistant.completions[0].done(assist::CompletionAnswer{});
    CHECK(talk.is_quiet());
}

TEST_CASE("hearth's own methods need no initialize and check their places", "[lsp][session]") {
    Conversation talk;
    talk.send(RpcRequest{std::int64_t{1}, "hearth/status", {}});
    CHECK(talk.result<HearthStatus>(1).model == "m");
    talk.request(
        2, "hearth/complete", HearthTextParams{"a.c", "c", "int a = ", 9, 9, std::nullopt});
    CHECK(talk.error(2) == RpcErrorCode::invalid_params);
    talk.request(
        3, "hearth/complete", HearthTextParams{"a.c", "c", "int a = ", 8, 8, std::nullopt});
    engine::Usage usage;
    usage.prompt_tokens = 10;
    usage.cached_tokens = 8;
    talk.assistant.completions.at(0).done(assist::CompletionAnswer{{{"1;"}}, usage});
    const auto result = talk.result<HearthTextResult>(3);
    CHECK(result.text == "1;");
    CHECK(result.cached_tokens == 8);
    talk.send(RpcRequest{std::int64_t{4}, "hearth/stop", {}});
    CHECK(talk.is_null(4));
    CHECK(talk.is_stopped);
}

TEST_CASE("hearth/fix runs the first fix that is offered, and none is an empty answer",
          "[lsp][session]") {
    Conversation talk;
    talk.request(1, "hearth/fix", HearthTextParams{"a.c", "c", "int a = 1", 0, 9, "expected ';'"});
    REQUIRE(talk.assistant.lists.size() == 1);
    CHECK(talk.assistant.lists[0].query.diagnostics.at(0).message == "expected ';'");
    plugin_host::Action explain;
    plugin_host::Action fix;
    fix.kind = plugin_host::ActionKind::fixes;
    fix.id = 4;
    talk.assistant.lists[0].done(std::vector<plugin_host::Action>{explain, fix});
    talk.run_tasks();
    REQUIRE(talk.assistant.runs.size() == 1);
    CHECK(talk.assistant.runs[0].action.id == 4);
    talk.assistant.runs[0].done(assist::ActionAnswer{"int a = 1;", true, {0, 9}, {}});
    CHECK(talk.result<HearthTextResult>(1).text == "int a = 1;");

    talk.request(
        2, "hearth/explain", HearthTextParams{"a.c", "c", "int a = 1", 0, 9, std::nullopt});
    talk.assistant.lists.at(1).done(std::vector<plugin_host::Action>{});
    CHECK_FALSE(talk.result<HearthTextResult>(2).is_found);
}

}  // namespace
}  // namespace hearth::lsp::test

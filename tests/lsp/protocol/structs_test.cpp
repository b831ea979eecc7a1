#include <catch2/catch.hpp>

#include "lsp/protocol/protocol.h"

namespace hearth::lsp {
namespace {

LspAny params_of(const std::string& json) {
    const auto parsed = parse_message(R"({"jsonrpc":"2.0","method":"m","params":)" + json + "}");
    REQUIRE(std::holds_alternative<Message>(parsed));
    return std::get<RpcNotification>(std::get<Message>(parsed)).params;
}

template <typename T>
void check_round_trip(const T& value) {
    const Result<T> back = from_any<T>(to_any(value));
    REQUIRE(back);
    CHECK(*back == value);
}

const Range kRange{{1, 2}, {3, 4}};

TEST_CASE("every struct comes back from its JSON", "[lsp][protocol]") {
    check_round_trip(DidOpenTextDocumentParams{{"file:///a", "cpp", 3, "text\n"}});
    check_round_trip(
        DidChangeTextDocumentParams{{"file:///a", 4}, {{kRange, "x"}, {std::nullopt, "all"}}});
    check_round_trip(DidCloseTextDocumentParams{{"file:///a"}});
    check_round_trip(InlineCompletionParams{
        {"file:///a"}, {1, 2}, InlineCompletionContext{2, SelectedCompletionInfo{kRange, "foo"}}});
    check_round_trip(InlineCompletionParams{{"file:///a"}, {1, 2}, std::nullopt});
    check_round_trip(InlineCompletionList{{{"a", "f", kRange}, {"b", std::nullopt, std::nullopt}}});
    CompletionItem item;
    item.label = "l";
    item.text_edit = TextEdit{kRange, "n", std::nullopt};
    check_round_trip(CompletionList{true, {item}});
    check_round_trip(Hover{{"markdown", "*x*"}, kRange});
    const Diagnostic diagnostic{kRange, 1, "gcc", "expected ';'"};
    check_round_trip(CodeActionParams{
        {"file:///a"}, kRange, {{diagnostic}, {{"quickfix"}}, 1}, std::string("token")});
    check_round_trip(ActionTicket{"file:///a", 3, kRange, {diagnostic}, 1, 2, true, kRange, "Fix"});
    CodeAction action;
    action.title = "Fix";
    action.kind = "quickfix";
    action.edit =
        WorkspaceEdit{std::nullopt,
                      {{TextDocumentEdit{{"file:///a", 3}, {TextEdit{kRange, "new", "id"}}}}},
                      {{{"id", ChangeAnnotation{"l", true, "d"}}}}};
    action.tags = {1};
    action.data = to_any(CancelParams{std::int64_t{1}});
    check_round_trip(action);
    check_round_trip(
        ExecuteCommandParams{"hearth.fix", {{to_any(Position{1, 2})}}, std::int64_t{5}});
    check_round_trip(ApplyWorkspaceEditParams{
        "l", WorkspaceEdit{{{{"file:///a", {TextEdit{kRange, "n", {}}}}}}, {}, {}}});
    check_round_trip(ApplyWorkspaceEditResult{false, "why"});
    check_round_trip(TextDocumentContentParams{"hearth:/x"});
    check_round_trip(TextDocumentContentResult{"text"});
    check_round_trip(ShowMessageParams{2, "m"});
    check_round_trip(ShowDocumentParams{"hearth:/x", true});
    check_round_trip(WorkDoneProgressCreateParams{std::string("t")});
    check_round_trip(ProgressParams{std::int64_t{1}, {"begin", "t", true, std::nullopt}});
    check_round_trip(CancelParams{std::string("id")});
    check_round_trip(HearthHello{"b", 1, "/", {{"HEARTH_MODEL", "m"}}});
    check_round_trip(HearthWelcome{"b", false, "m"});
    check_round_trip(HearthStatus{
        "1", "b", "m", "cpu", 2, 1, 5, 0.5, 0, 0, {"hearth.fix"}, {"why"}, "on the device", 7, 3});
    check_round_trip(HearthTextParams{"p", "cpp", "t", 1, 2, "m"});
    check_round_trip(HearthTextResult{"t", true, 1, 2, 3, 4, 5, 0.5, 1.5});
    InitializeParams initialize;
    initialize.process_id = 5;
    initialize.client_name = "test";
    initialize.workspace_folders = {{"file:///w", "w"}};
    initialize.capabilities.position_encodings = {"utf-8"};
    initialize.capabilities.has_inline_completion = true;
    initialize.capabilities.resolves_code_action_edit = true;
    check_round_trip(initialize);
}

TEST_CASE("a malformed struct names the place that is wrong", "[lsp][protocol]") {
    const auto fault = [](const std::string& json) {
        return from_any<InlineCompletionParams>(params_of(json)).error().text;
    };
    CHECK(fault(R"([])") == "params: expected an object");
    CHECK(fault(R"({"position":{"line":0,"character":0}})") == "params.textDocument: missing");
    CHECK(fault(R"({"textDocument":{"uri":3},"position":{"line":0,"character":0}})") ==
          "params.textDocument.uri: expected a string");
    CHECK(fault(R"({"textDocument":{"uri":"a"},"position":{"line":-1,"character":0}})") ==
          "params.position.line: expected an integer in range");
    CHECK(fault(R"({"textDocument":{"uri":"a"},"position":{"line":1.5,"character":0}})") ==
          "params.position.line: expected an integer in range");
    CHECK(fault(R"({"textDocument":{"uri":"a"},"position":{"line":1e300,"character":0}})") ==
          "params.position.line: expected an integer in range");
    CHECK(
        from_any<DidChangeTextDocumentParams>(
            params_of(
                R"({"textDocument":{"uri":"a","version":1},"contentChanges":[{"text":"x"},{"text":1}]})"))
            .error()
            .text == "params.contentChanges[1].text: expected a string");
}

TEST_CASE("what editors really send is read", "[lsp][protocol]") {
    SECTION("no capabilities at all") {
        const auto params =
            from_any<InitializeParams>(params_of(R"({"processId":null,"rootUri":null})"));
        REQUIRE(params);
        CHECK(params->capabilities == ClientCapabilities{});
    }
    SECTION("capabilities of odd types count as absent") {
        const auto params = from_any<InitializeParams>(params_of(
            R"({"capabilities":{"general":{"positionEncodings":"utf-8"},"window":[],"workspace":null}})"));
        REQUIRE(params);
        CHECK(params->capabilities == ClientCapabilities{});
    }
    SECTION("an integer written with a fraction of zero, a rangeLength, an unknown member") {
        CHECK(from_any<DidChangeTextDocumentParams>(
            params_of(R"({"textDocument":{"uri":"a","version":3.0},"contentChanges":[{"range":
            {"start":{"line":0,"character":0},"end":{"line":0,"character":1}},"rangeLength":1,"text":""}],"x":1})")));
    }
    SECTION("a diagnostic whose message is markup") {
        const auto params = from_any<CodeActionParams>(
            params_of(R"({"textDocument":{"uri":"a"},"range":{"start":{"line":0,"character":0},
            "end":{"line":0,"character":0}},"context":{"diagnostics":[{"range":{"start":{"line":0,"character":0},
            "end":{"line":0,"character":1}},"code":3,"message":{"kind":"markdown","value":"bad"}}]}})"));
        REQUIRE(params);
        CHECK(params->context.diagnostics.at(0).message == "bad");
    }
}

}  // namespace
}  // namespace hearth::lsp

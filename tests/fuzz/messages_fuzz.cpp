// Any bytes as the stream of a client: whatever pieces it comes in, it is cut into the same
// messages, and what one of them means survives being written and read again.
#include "lsp/protocol/protocol.h"
#include "lsp/transport/framing.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace hearth;
using namespace hearth::lsp;

/// Events as text, to be compared; ends with the first broken one.
void take_events(FrameReader& reader, std::vector<std::string>& events) {
    while (const std::optional<FrameEvent> event = reader.next()) {
        if (const auto* frame = std::get_if<Frame>(&*event)) {
            events.push_back("frame " + frame->body);
        } else if (const auto* oversize = std::get_if<OversizeFrame>(&*event)) {
            HEARTH_ASSERT(oversize->body_bytes > kFrameBytesMax);
            events.push_back("oversize " + std::to_string(oversize->body_bytes));
        } else {
            events.push_back("broken " + std::get<BrokenStream>(*event).text);
            return;
        }
    }
}

template <typename T>
void check_struct(const LspAny& any) {
    const Result<T> value = from_any<T>(any);
    if (!value) {
        HEARTH_ASSERT(!value.error().text.empty());
        return;
    }
    const Result<T> again = from_any<T>(to_any(*value));
    HEARTH_ASSERT(again.has_value() && *again == *value);
}

template <typename... T>
void check_structs(const LspAny& any) {
    (check_struct<T>(any), ...);
}

/// Every struct that either side reads, whatever the method: a peer may send anything.
void check_params(const LspAny& any) {
    check_structs<TextDocumentPositionParams,
                  InlineCompletionParams,
                  InlineCompletionList,
                  CompletionList,
                  Hover,
                  CodeActionParams,
                  CodeAction,
                  ActionTicket,
                  Diagnostic,
                  WorkspaceEdit,
                  Command,
                  HearthHello,
                  HearthWelcome,
                  HearthStatus,
                  HearthTextParams,
                  HearthTextResult,
                  InitializeParams,
                  InitializeResult,
                  DidOpenTextDocumentParams,
                  DidChangeTextDocumentParams,
                  DidCloseTextDocumentParams,
                  ShowMessageParams,
                  ShowDocumentParams,
                  WorkDoneProgressCreateParams,
                  ProgressParams,
                  CancelParams,
                  ExecuteCommandParams,
                  ApplyWorkspaceEditParams,
                  ApplyWorkspaceEditResult,
                  TextDocumentContentParams,
                  TextDocumentContentResult>(any);
    if (const auto actions = from_any_array(any)) {
        const auto again = from_any_array(to_any_array(*actions));
        HEARTH_ASSERT(again.has_value() && *again == *actions);
    }
}

void check_message(std::string_view body) {
    const std::variant<Message, RpcFault> parsed = parse_message(body);
    if (const auto* fault = std::get_if<RpcFault>(&parsed)) {
        HEARTH_ASSERT(!fault->error.message.empty());
        return;
    }
    const Message& message = std::get<Message>(parsed);
    const std::variant<Message, RpcFault> again = parse_message(to_json(message));
    HEARTH_ASSERT(std::holds_alternative<Message>(again));
    HEARTH_ASSERT(std::get<Message>(again) == message);
    if (const auto* request = std::get_if<RpcRequest>(&message)) {
        check_params(request->params);
    } else if (const auto* notification = std::get_if<RpcNotification>(&message)) {
        check_params(notification->params);
    } else if (const auto* result = std::get_if<LspAny>(&std::get<RpcResponse>(message).outcome)) {
        check_params(*result);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t piece_bytes = 1 + data[0] % 64U;
    const std::string_view stream = fuzz::to_text(data + 1, size - 1);

    FrameReader whole;
    std::vector<std::string> events;
    whole.feed(stream);
    take_events(whole, events);

    FrameReader pieces;
    std::vector<std::string> same;
    for (std::size_t at = 0; at < stream.size(); at += piece_bytes) {
        pieces.feed(stream.substr(at, piece_bytes));
        take_events(pieces, same);
        if (!same.empty() && same.back().starts_with("broken")) break;
    }
    HEARTH_ASSERT(events == same);

    constexpr std::string_view kFrame = "frame ";
    for (const std::string& event : events) {
        if (event.starts_with(kFrame)) check_message(event.substr(kFrame.size()));
    }
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    const Range range{{0, 1}, {2, 3}};
    const WorkspaceEdit edit{
        std::map<std::string, std::vector<TextEdit>>{{"file:///a", {{range, "x", "note"}}}},
        std::nullopt,
        std::map<std::string, ChangeAnnotation>{{"note", {"l", true, "d"}}}};
    CodeAction action;
    action.title = "Fix";
    action.kind = kKindQuickFix;
    action.edit = edit;
    action.data = to_any(ActionTicket{"file:///a", 1, range, {}, 0, 1, true, range, "Fix"});
    InitializeParams initialize;
    initialize.process_id = 7;
    initialize.workspace_folders = {{"file:///w", "w"}};
    initialize.capabilities = {{"utf-8", "utf-16"},
                               true,
                               true,
                               true,
                               true,
                               true,
                               true,
                               true,
                               true,
                               true,
                               true,
                               true,
                               true};

    const std::vector<Message> messages = {
        RpcRequest{std::int64_t{1}, "initialize", to_any(initialize)},
        RpcRequest{std::string("hello"),
                   "hearth/hello",
                   to_any(HearthHello{"build", 7, "/w", {{"HEARTH_MODEL", "m.gguf"}}})},
        RpcNotification{
            "textDocument/didOpen",
            to_any(DidOpenTextDocumentParams{{"file:///a", "cpp", 1, "int \xC3\xA9;\n"}})},
        RpcNotification{"textDocument/didChange",
                        to_any(DidChangeTextDocumentParams{{"file:///a", 2}, {{range, "x"}}})},
        RpcRequest{std::int64_t{2},
                   "textDocument/inlineCompletion",
                   to_any(InlineCompletionParams{
                       {"file:///a"}, {1, 2}, InlineCompletionContext{kTriggerAutomatic, {}}})},
        RpcRequest{std::int64_t{3},
                   "textDocument/codeAction",
                   to_any(CodeActionParams{
                       {"file:///a"}, range, {{{range, 1, "cc", "bad"}}, {}, 1}, "token"})},
        RpcRequest{std::int64_t{4}, "codeAction/resolve", to_any(action)},
        RpcRequest{std::int64_t{5},
                   "hearth/fix",
                   to_any(HearthTextParams{"a.c", "c", "int x\n", 0, 5, "expected ;"})},
        RpcNotification{"$/cancelRequest", to_any(CancelParams{std::int64_t{2}})},
        RpcResponse{std::int64_t{6}, RpcError{RpcErrorCode::request_failed, "no"}},
        RpcResponse{std::string("hearth-1"), to_any(ApplyWorkspaceEditResult{true, {}})},
    };
    std::vector<std::string> seeds;
    std::string all = "\x10";
    for (const Message& message : messages) {
        const std::string frame = to_frame(to_json(message));
        seeds.push_back("\x07" + frame);
        all += frame;
    }
    seeds.push_back(all);
    seeds.push_back(std::string("\x03") + "content-LENGTH: 2\r\nContent-Type: x\r\n\r\n{}");
    seeds.push_back(std::string("\x03") + "Content-Length: 99999999\r\n\r\n{}");
    seeds.push_back("\x3F" + to_frame(std::string(70, '[') + std::string(70, ']')));
    return seeds;
}

// Any conversation of an editor with the server, one message a line: every request gets exactly one
// answer, and what is asked of the assistant lies inside its document.
#include <deque>
#include <map>
#include <set>

#include "lsp/server/lsp_server.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/utf8_check.h"
#include "tests/support/fake_clock.h"

namespace {

using namespace hearth;
using namespace hearth::lsp;

void check_range(const plugin_host::ByteRange& range, const std::string& text) {
    HEARTH_ASSERT(range.begin_byte <= range.end_byte && range.end_byte <= text.size());
}

/// Checks what it is asked and answers later, something for everything.
class LateAssistant final : public assist::Assistant {
  public:
    void complete(assist::CompletionQuery query,
                  assist::Done<assist::CompletionAnswer> done) override {
        HEARTH_ASSERT(query.cursor_byte <= query.document->text.size());
        HEARTH_ASSERT(query.selected_begin_byte <= query.document->text.size());
        answers_.push_back([done] { done(assist::CompletionAnswer{{{"x\n\xC3\xA9"}}, {}}); });
    }
    void list_actions(assist::ActionQuery query,
                      assist::Done<std::vector<plugin_host::Action>> done) override {
        check(query);
        const plugin_host::ByteRange range = query.selection;
        answers_.push_back([done, range] {
            done(std::vector<plugin_host::Action>{
                {0, 1, plugin_host::ActionKind::explains, "Explain", range},
                {1, 2, plugin_host::ActionKind::fixes, "Fix", range}});
        });
    }
    void run_action(assist::ActionQuery query,
                    plugin_host::Action action,
                    assist::OnPiece on_piece,
                    assist::Done<assist::ActionAnswer> done) override {
        check(query);
        // An action comes back from the editor as it likes; the assistant refuses a range that is
        // none.
        const auto [begin, end] = action.range;
        if (begin > end || end > query.document->text.size()) {
            return done(fail(ErrorCode::invalid_argument, "no range"));
        }
        answers_.push_back([done, action, on_piece] {
            if (action.id % 4 == 3) return done(fail(ErrorCode::unavailable, "busy"));
            if (on_piece) on_piece("some");
            done(assist::ActionAnswer{"some text", action.id % 2 == 0, action.range, {}});
        });
    }

    [[nodiscard]] bool has_answers() const { return !answers_.empty(); }
    void answer_all() {
        while (!answers_.empty()) {
            const auto answer = std::move(answers_.front());
            answers_.pop_front();
            answer();
        }
    }

  private:
    static void check(const assist::ActionQuery& query) {
        check_range(query.selection, query.document->text);
        for (const assist::Diagnostic& diagnostic : query.diagnostics) {
            check_range(diagnostic.range, query.document->text);
        }
    }

    std::deque<std::function<void()>> answers_;
};

/// The client's side: counts the answers that it is owed.
class Client {
  public:
    Client()
        : session_(Session::make(
              {assistant_,
               log_,
               clock_,
               [this](std::function<void()> task) { tasks_.push_back(std::move(task)); },
               [] { return HearthStatus{}; },
               [] {}},
              // Few, so that every limit is met.
              ServerLimits{.pending_max = 3, .explanations_max = 2, .actions_max = 1},
              {[this](std::string_view body) { receive(body); },
               [this](std::uint8_t) { is_over_ = true; }})) {}

    void send(std::string_view body) {
        if (is_over_) return;
        const std::variant<Message, RpcFault> parsed = parse_message(body);
        if (const auto* fault = std::get_if<RpcFault>(&parsed)) {
            ++owed_[fault->id];
        } else if (const auto* request = std::get_if<RpcRequest>(&std::get<Message>(parsed))) {
            ++owed_[request->id];
        }
        session_->on_message(body);
        run_tasks();
    }
    void answer_all() {
        while (!is_over_ && (!tasks_.empty() || !asked_.empty() || assistant_.has_answers())) {
            assistant_.answer_all();
            run_tasks();
            const std::set<RequestId> asked = std::exchange(asked_, {});
            for (const RequestId& id : asked) {
                session_->on_message(
                    to_json(RpcResponse{id, to_any(ApplyWorkspaceEditResult{true, {}})}));
            }
        }
    }
    void check_end() const {
        if (is_over_) return;
        HEARTH_ASSERT(session_->pending_count() == 0);
        for (const auto& [id, count] : owed_) {
            HEARTH_ASSERT(count == 0);
        }
    }

  private:
    void receive(std::string_view body) {
        HEARTH_ASSERT(fuzz::is_utf8(body));
        const std::variant<Message, RpcFault> parsed = parse_message(body);
        HEARTH_ASSERT(std::holds_alternative<Message>(parsed));
        const Message& message = std::get<Message>(parsed);
        if (const auto* request = std::get_if<RpcRequest>(&message)) asked_.insert(request->id);
        if (const auto* response = std::get_if<RpcResponse>(&message)) {
            HEARTH_ASSERT(--owed_[response->id] >= 0);
        }
    }
    void run_tasks() {
        while (!tasks_.empty()) {
            const std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            task();
        }
    }

    LateAssistant assistant_;
    Log log_{LogLevel::error, [](LogLevel, std::string_view, std::string_view) {}};
    test::FakeClock clock_;
    std::deque<std::function<void()>> tasks_;
    std::map<RequestId, int> owed_;
    std::set<RequestId> asked_;
    bool is_over_ = false;
    std::shared_ptr<Session> session_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Client client;
    std::string_view rest = fuzz::to_text(data, size);
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line == "!") {
            client.answer_all();
        } else {
            client.send(line);
        }
    }
    client.answer_all();
    client.check_end();
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    const std::string uri = "file:///w/a.cpp";
    const Range range{{0, 4}, {1, 0}};
    const ActionTicket fix{uri, 1, range, {}, 1, 2, true, range, "Fix"};
    ActionTicket explain = fix;
    explain.is_fix = false;
    explain.action_id = 1;

    std::vector<std::string> openings;
    for (const bool is_rich : {false, true}) {
        InitializeParams initialize;
        initialize.workspace_folders = {{"file:///w", "w"}};
        if (is_rich) {
            initialize.capabilities = {
                {"utf-8"}, true, true, true, true, true, true, true, true, true, true, true, true};
        }
        openings.push_back(
            to_json(RpcRequest{std::int64_t{1}, "initialize", to_any(initialize)}) + "\n" +
            to_json(RpcNotification{"textDocument/didOpen",
                                    to_any(DidOpenTextDocumentParams{
                                        {uri, "cpp", 1, "int a = \xF0\x9F\xA6\x8A;\nb"}})}) +
            "\n");
    }
    const auto line = [](const Message& message) { return to_json(message) + "\n"; };
    const auto ask = [&](std::int64_t id, const std::string& method, const LspAny& params) {
        return line(RpcRequest{id, method, params});
    };
    const std::string command =
        ask(7,
            "workspace/executeCommand",
            to_any(ExecuteCommandParams{"hearth.fix", std::vector<LspAny>{to_any(fix)}, "token"}));
    const std::string explanation = ask(
        8,
        "workspace/executeCommand",
        to_any(ExecuteCommandParams{"hearth.explain", std::vector<LspAny>{to_any(explain)}, {}}));
    CodeAction action;
    action.title = "Fix";
    action.data = to_any(fix);
    const std::vector<std::string> parts = {
        ask(2,
            "textDocument/inlineCompletion",
            to_any(InlineCompletionParams{
                {uri},
                {0, 5},
                InlineCompletionContext{kTriggerAutomatic, SelectedCompletionInfo{range, "abc"}}})),
        ask(3, "textDocument/completion", to_any(TextDocumentPositionParams{{uri}, {0, 9}})),
        ask(4, "textDocument/codeAction", to_any(CodeActionParams{{uri}, range, {}, {}})) + "!\n",
        ask(5, "codeAction/resolve", to_any(action)),
        command,
        command + "!\n" + explanation + "!\n" +
            ask(9, "textDocument/hover", to_any(TextDocumentPositionParams{{uri}, {0, 5}})),
        line(RpcNotification{"textDocument/didChange",
                             to_any(DidChangeTextDocumentParams{{uri, 2}, {{range, "x"}}})}),
        line(RpcNotification{"$/cancelRequest", to_any(CancelParams{std::int64_t{2}})}),
        ask(10, "hearth/fix", to_any(HearthTextParams{"a.c", "c", "int x\n", 0, 5, "m"})),
        ask(11, "hearth/complete", to_any(HearthTextParams{"a.c", "c", "int x\n", 3, 3, {}})),
        ask(12, "hearth/status", {}) + ask(13, "hearth/stop", {}),
        line(RpcNotification{"textDocument/didClose", to_any(DidCloseTextDocumentParams{{uri}})}),
        ask(14, "shutdown", {}) + line(RpcNotification{"exit", {}}),
    };
    std::vector<std::string> seeds;
    for (const std::string& opening : openings) {
        std::string all = opening;
        for (const std::string& part : parts) {
            seeds.push_back(opening + part);
            all += part;
        }
        seeds.push_back(all);
    }
    return seeds;
}

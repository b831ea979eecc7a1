// A session under test: an assistant that answers when the test says so, and the messages that the
// client would see.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "lsp/server/lsp_server.h"
#include "tests/support/fake_clock.h"

namespace hearth::lsp::test {

/// Keeps every query; the test calls its `done`.
class FakeAssistant final : public assist::Assistant {
  public:
    template <typename Query, typename Answer>
    struct Call {
        Query query;
        assist::Done<Answer> done;
    };
    struct Run {
        assist::ActionQuery query;
        plugin_host::Action action;
        assist::OnPiece on_piece;
        assist::Done<assist::ActionAnswer> done;
    };

    void complete(assist::CompletionQuery query,
                  assist::Done<assist::CompletionAnswer> done) override {
        completions.push_back({std::move(query), std::move(done)});
    }
    void list_actions(assist::ActionQuery query,
                      assist::Done<std::vector<plugin_host::Action>> done) override {
        lists.push_back({std::move(query), std::move(done)});
    }
    void run_action(assist::ActionQuery query,
                    plugin_host::Action action,
                    assist::OnPiece on_piece,
                    assist::Done<assist::ActionAnswer> done) override {
        runs.push_back({std::move(query), std::move(action), std::move(on_piece), std::move(done)});
    }

    std::vector<Call<assist::CompletionQuery, assist::CompletionAnswer>> completions;
    std::vector<Call<assist::ActionQuery, std::vector<plugin_host::Action>>> lists;
    std::vector<Run> runs;
};

inline constexpr const char* kUri = "file:///w/a.cpp";

class Conversation {
  public:
    Conversation()
        : session(Session::make(
              {assistant,
               log,
               clock,
               [this](std::function<void()> task) { tasks_.push_back(std::move(task)); },
               [] {
                   return HearthStatus{"0", "b", "m", "cpu", 1, 1, 0, 1.0, 0, 0, {}, {}, "", 0, 0};
               },
               [this] { is_stopped = true; }},
              ServerLimits{},
              {[this](std::string_view body) { sent_.push_back(read(body)); },
               [this](std::uint8_t code) { status = code; }})) {}

    static Message read(std::string_view body) {
        auto parsed = parse_message(body);
        REQUIRE(std::holds_alternative<Message>(parsed));
        return std::get<Message>(std::move(parsed));
    }

    void send(const Message& message) { session->on_message(to_json(message)); }
    template <typename T>
    void request(std::int64_t id, const std::string& method, const T& params) {
        send(RpcRequest{id, method, to_any(params)});
    }
    template <typename T>
    void notify(const std::string& method, const T& params) {
        send(RpcNotification{method, to_any(params)});
    }
    void initialize(const ClientCapabilities& capabilities = {}) {
        InitializeParams params;
        params.capabilities = capabilities;
        params.workspace_folders = {{"file:///w", "w"}};
        request(0, "initialize", params);
        run_tasks();
        REQUIRE(std::holds_alternative<RpcResponse>(next()));
    }
    void open(const std::string& text) {
        notify("textDocument/didOpen", DidOpenTextDocumentParams{{kUri, "cpp", 1, text}});
    }
    void edit(std::int64_t version, const std::string& text) {
        notify("textDocument/didChange",
               DidChangeTextDocumentParams{{kUri, version}, {{std::nullopt, text}}});
    }

    /// What other threads have posted to [io].
    void run_tasks() {
        while (!tasks_.empty()) {
            const std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            task();
        }
    }
    /// The next message that the client sees.
    Message next() {
        run_tasks();
        REQUIRE_FALSE(sent_.empty());
        Message message = std::move(sent_.front());
        sent_.pop_front();
        return message;
    }
    bool is_quiet() {
        run_tasks();
        return sent_.empty();
    }
    template <typename T>
    T result(std::int64_t id) {
        const Message message = next();
        const auto& response = std::get<RpcResponse>(message);
        CHECK(response.id == RequestId(id));
        REQUIRE(std::holds_alternative<LspAny>(response.outcome));
        Result<T> value = from_any<T>(std::get<LspAny>(response.outcome));
        REQUIRE(value);
        return *value;
    }
    bool is_null(std::int64_t id) {
        const Message message = next();
        const auto& response = std::get<RpcResponse>(message);
        CHECK(response.id == RequestId(id));
        const auto* any = std::get_if<LspAny>(&response.outcome);
        return any != nullptr && *any == LspAny::null();
    }
    RpcErrorCode error(const RequestId& id) {
        const Message message = next();
        const auto& response = std::get<RpcResponse>(message);
        CHECK(response.id == id);
        REQUIRE(std::holds_alternative<RpcError>(response.outcome));
        return std::get<RpcError>(response.outcome).code;
    }
    RpcErrorCode error(std::int64_t id) { return error(RequestId(id)); }
    template <typename T>
    T notification(const std::string& method) {
        const Message message = next();
        REQUIRE(std::holds_alternative<RpcNotification>(message));
        CHECK(std::get<RpcNotification>(message).method == method);
        Result<T> value = from_any<T>(std::get<RpcNotification>(message).params);
        REQUIRE(value);
        return *value;
    }
    /// The server's own request; its id is kept for answer().
    template <typename T>
    T asked(const std::string& method) {
        const Message message = next();
        REQUIRE(std::holds_alternative<RpcRequest>(message));
        CHECK(std::get<RpcRequest>(message).method == method);
        asked_id_ = std::get<RpcRequest>(message).id;
        Result<T> value = from_any<T>(std::get<RpcRequest>(message).params);
        REQUIRE(value);
        return *value;
    }
    void answer(LspAny result) { send(RpcResponse{asked_id_, std::move(result)}); }

    FakeAssistant assistant;
    Log log{LogLevel::error, [](LogLevel, std::string_view, std::string_view) {}};
    hearth::test::FakeClock clock;
    std::optional<std::uint8_t> status;
    bool is_stopped = false;

  private:
    std::deque<std::function<void()>> tasks_;
    std::deque<Message> sent_;
    RequestId asked_id_;

  public:
    std::shared_ptr<Session> session;
};

inline InlineCompletionParams at(std::uint32_t line, std::uint32_t character) {
    return InlineCompletionParams{
        {kUri}, {line, character}, InlineCompletionContext{kTriggerAutomatic, std::nullopt}};
}

}  // namespace hearth::lsp::test

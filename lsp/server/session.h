// Private to lsp/server: the one implementation of Session. Its functions are in four files:
// session.cpp (messages, lifecycle, documents), session_completion.cpp, session_actions.cpp (code
// actions, commands, explanations) and session_hearth.cpp (the hearth/* methods).
#pragma once

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "lsp/server/documents.h"
#include "lsp/server/lsp_server.h"

namespace hearth::lsp {

class LspSession final : public Session, public std::enable_shared_from_this<LspSession> {
  public:
    LspSession(ServerParts parts, const ServerLimits& limits, Outbox outbox);

    void on_message(std::string_view body) override;
    void on_oversize(std::size_t body_bytes) override;
    void on_closed() override;
    void show_message(std::uint32_t type, const std::string& text) override;
    [[nodiscard]] std::optional<std::int64_t> client_process_id() const override {
        return client_process_id_;
    }
    [[nodiscard]] std::size_t pending_count() const override { return pending_.size(); }
    [[nodiscard]] std::uint64_t answered_count() const override { return answered_count_; }

  private:
    using RequestMethod = void (LspSession::*)(const RpcRequest&);
    using NotificationMethod = void (LspSession::*)(const LspAny&);
    /// A request that has been handed on and waits for its answer.
    struct Pending {
        std::string method;
        std::string uri;  ///< of its document, else empty
        CancelSource cancel;
        std::optional<ProgressToken> progress;
    };
    /// What the editor was given last, and where.
    struct Suggested {
        assist::DocumentRef document;  ///< null: nothing
        std::uint64_t cursor_byte = 0;
        assist::CompletionAnswer answer;
    };
    struct Explanation {
        std::string document_uri;
        std::string virtual_uri;
        Range range;
        std::string text;
    };
    struct Asked {
        RequestId id;
        std::function<void(const RpcResponse&)> on_answer;
    };
    enum class Stage { fresh, initialized, shut_down };

    // session.cpp
    void on_request(const RpcRequest& request);
    void on_notification(const RpcNotification& notification);
    void on_response(const RpcResponse& response);
    void initialize(const RpcRequest& request);
    void shutdown(const RpcRequest& request);
    void exit(const LspAny& params);
    void did_open(const LspAny& params);
    void did_change(const LspAny& params);
    void did_close(const LspAny& params);
    void cancel_request(const LspAny& params);
    void cancel_progress(const LspAny& params);

    void reply(const RequestId& id, const LspAny& result);
    void reply(const RequestId& id, RpcError error);
    void refuse(const RequestId& id, const Error& error);
    void notify(const std::string& method, LspAny params);
    void ask_client(const std::string& method,
                    LspAny params,
                    std::function<void(const RpcResponse&)> on_answer);

    /// Registers a request that will be answered later. Null, and it is answered, when too many
    /// wait.
    Pending* add_pending(const RpcRequest& request, const std::string& uri);
    /// Whether the request still wants its answer; if so it is no longer pending.
    bool take_pending(const RequestId& id);
    /// Cancels and answers the requests that `matches`.
    void drop_pending(const std::function<bool(const Pending&)>& matches,
                      RpcErrorCode code,
                      const std::string& text);
    /// The open document of a request, which takes the place of older ones like it. Null, and it is
    /// answered, where the document is not open.
    assist::DocumentRef supersede(const RpcRequest& request, const std::string& uri);
    /// What assist calls with its answer, on any thread: if the request still waits then, it is
    /// refused with the error, or `use` has the answer, on [io].
    template <typename Answer>
    std::function<void(Result<Answer>)> deliver(
        const RequestId& id, std::function<void(LspSession&, const Answer&)> use);

    void begin_progress(Pending& pending,
                        const std::optional<ProgressToken>& from_client,
                        const std::string& title);
    void report_progress(const RequestId& id, const std::string& text);
    void end_progress(const Pending& pending);

    // session_completion.cpp
    void inline_completion(const RpcRequest& request);
    void completion(const RpcRequest& request);
    /// What is left of the last suggestions behind what has been typed of them since.
    [[nodiscard]] assist::CompletionAnswer rest_of_suggested(const assist::Document& document,
                                                             std::uint64_t cursor_byte) const;
    void complete(
        const RpcRequest& request,
        const InlineCompletionParams& params,
        const std::function<LspAny(
            LspSession&, const assist::Document&, const assist::CompletionAnswer&)>& to_result);

    // session_actions.cpp
    void code_action(const RpcRequest& request);
    void resolve_code_action(const RpcRequest& request);
    void execute_command(const RpcRequest& request);
    void hover(const RpcRequest& request);
    void text_document_content(const RpcRequest& request);
    std::vector<CodeAction> to_code_actions(const std::vector<plugin_host::Action>& actions,
                                            const CodeActionParams& params,
                                            const assist::Document& document) const;
    void run_ticket(
        const RpcRequest& request,
        const ActionTicket& ticket,
        const std::optional<ProgressToken>& token,
        std::function<void(LspSession&, const RequestId&, const assist::ActionAnswer&)> on_answer);
    void apply_fix(const RequestId& id,
                   const ActionTicket& ticket,
                   const assist::ActionAnswer& answer);
    void show_explanation(const RequestId& id,
                          const ActionTicket& ticket,
                          const assist::ActionAnswer& answer);
    WorkspaceEdit to_edit(const ActionTicket& ticket, const assist::ActionAnswer& answer) const;

    // session_hearth.cpp
    void hearth_status(const RpcRequest& request);
    void hearth_stop(const RpcRequest& request);
    void hearth_complete(const RpcRequest& request);
    void hearth_explain(const RpcRequest& request);
    void hearth_fix(const RpcRequest& request);
    void run_first_action(const RpcRequest& request, plugin_host::ActionKind kind);

    // Fixed after construction.
    const ServerParts parts_;
    const ServerLimits limits_;
    const Outbox outbox_;

    // The conversation.
    Stage stage_ = Stage::fresh;
    bool is_closed_ = false;
    ClientCapabilities client_;
    bool client_shows_explanations_ = false;
    std::optional<std::int64_t> client_process_id_;
    Documents documents_;
    std::map<RequestId, Pending> pending_;
    std::deque<Asked> asked_;  ///< our requests to the client, oldest first
    std::deque<Explanation> explanations_;
    Suggested suggested_;
    std::int64_t next_id_ = 1;
    std::uint64_t answered_count_ = 0;
};

/// The answer's error in LSP's numbers.
RpcError to_rpc_error(const Error& error);

template <typename Answer>
std::function<void(Result<Answer>)> LspSession::deliver(
    const RequestId& id, std::function<void(LspSession&, const Answer&)> use) {
    return [weak = weak_from_this(), post = parts_.post, id, use = std::move(use)](
               Result<Answer> answer) {
        // Shared, because a task of the loop is a copyable function.
        post([weak, id, use, shared = std::make_shared<Result<Answer>>(std::move(answer))] {
            const std::shared_ptr<LspSession> self = weak.lock();
            if (!self || !self->take_pending(id)) return;
            if (!*shared) return self->refuse(id, shared->error());
            use(*self, **shared);
        });
    };
}

}  // namespace hearth::lsp

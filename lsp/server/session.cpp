#include "lsp/server/session.h"

#include <algorithm>
#include <array>

#include "core/base/version.h"

namespace hearth::lsp {
namespace {

constexpr const char* kRoom = "lsp";

std::string our_id(std::int64_t number) {
    return "hearth-" + std::to_string(number);
}

}  // namespace

RpcError to_rpc_error(const Error& error) {
    switch (error.code) {
        case ErrorCode::invalid_argument:
            return {RpcErrorCode::invalid_params, error.text};
        case ErrorCode::cancelled:
            return {RpcErrorCode::request_cancelled, error.text};
        default:
            return {RpcErrorCode::request_failed, error.text};
    }
}

std::shared_ptr<Session> Session::make(ServerParts parts,
                                       const ServerLimits& limits,
                                       Outbox outbox) {
    return std::make_shared<LspSession>(std::move(parts), limits, std::move(outbox));
}

LspSession::LspSession(ServerParts parts, const ServerLimits& limits, Outbox outbox)
    : parts_(std::move(parts)),
      limits_(limits),
      outbox_(std::move(outbox)) {}

void LspSession::on_message(std::string_view body) {
    if (is_closed_) return;
    const std::variant<Message, RpcFault> parsed = parse_message(body);
    if (const auto* fault = std::get_if<RpcFault>(&parsed)) return reply(fault->id, fault->error);
    const Message& message = std::get<Message>(parsed);
    if (const auto* request = std::get_if<RpcRequest>(&message)) return on_request(*request);
    if (const auto* notification = std::get_if<RpcNotification>(&message))
        return on_notification(*notification);
    on_response(std::get<RpcResponse>(message));
}

void LspSession::on_oversize(std::size_t body_bytes) {
    reply(RequestId(),
          RpcError{RpcErrorCode::parse_error,
                   "message of " + std::to_string(body_bytes) + " bytes is over the limit of " +
                       std::to_string(kMessageBytesMax) + " and was skipped"});
}

void LspSession::on_closed() {
    is_closed_ = true;
    for (auto& [id, pending] : pending_) {
        pending.cancel.cancel();
    }
    pending_.clear();
    asked_.clear();
}

void LspSession::show_message(std::uint32_t type, const std::string& text) {
    if (stage_ != Stage::initialized) return;
    notify("window/showMessage", to_any(ShowMessageParams{type, text}));
}

void LspSession::on_request(const RpcRequest& request) {
    struct Method {
        std::string_view name;
        RequestMethod run;
        bool needs_initialize;
    };
    static constexpr std::array<Method, 14> kMethods = {{
        {"initialize", &LspSession::initialize, false},
        {"shutdown", &LspSession::shutdown, true},
        {"textDocument/inlineCompletion", &LspSession::inline_completion, true},
        {"textDocument/completion", &LspSession::completion, true},
        {"textDocument/codeAction", &LspSession::code_action, true},
        {"codeAction/resolve", &LspSession::resolve_code_action, true},
        {"workspace/executeCommand", &LspSession::execute_command, true},
        {"textDocument/hover", &LspSession::hover, true},
        {"workspace/textDocumentContent", &LspSession::text_document_content, true},
        {"hearth/status", &LspSession::hearth_status, false},
        {"hearth/stop", &LspSession::hearth_stop, false},
        {"hearth/complete", &LspSession::hearth_complete, false},
        {"hearth/explain", &LspSession::hearth_explain, false},
        {"hearth/fix", &LspSession::hearth_fix, false},
    }};
    const auto* method = std::find_if(kMethods.begin(), kMethods.end(), [&](const Method& m) {
        return m.name == request.method;
    });
    if (stage_ == Stage::shut_down) {
        return reply(request.id,
                     RpcError{RpcErrorCode::invalid_request,
                              request.method + " after shutdown: only exit may follow"});
    }
    const bool needs_initialize = method == kMethods.end() || method->needs_initialize;
    if (stage_ == Stage::fresh && needs_initialize) {
        return reply(
            request.id,
            RpcError{RpcErrorCode::server_not_initialized, request.method + " before initialize"});
    }
    if (method == kMethods.end()) {
        return reply(
            request.id,
            RpcError{RpcErrorCode::method_not_found, "hearth does not offer " + request.method});
    }
    if (pending_.count(request.id) != 0) {
        return reply(
            request.id,
            RpcError{RpcErrorCode::invalid_request, "a request with this id is not answered yet"});
    }
    (this->*method->run)(request);
}

void LspSession::on_notification(const RpcNotification& notification) {
    struct Method {
        std::string_view name;
        NotificationMethod run;
    };
    static constexpr std::array<Method, 6> kMethods = {{
        {"exit", &LspSession::exit},
        {"textDocument/didOpen", &LspSession::did_open},
        {"textDocument/didChange", &LspSession::did_change},
        {"textDocument/didClose", &LspSession::did_close},
        {"$/cancelRequest", &LspSession::cancel_request},
        {"window/workDoneProgress/cancel", &LspSession::cancel_progress},
    }};
    const auto* method = std::find_if(kMethods.begin(), kMethods.end(), [&](const Method& m) {
        return m.name == notification.method;
    });
    if (method == kMethods.end()) return;  // LSP lets a server ignore what it does not know
    if (stage_ != Stage::initialized && notification.method != "exit") return;
    (this->*method->run)(notification.params);
}

void LspSession::on_response(const RpcResponse& response) {
    const auto asked = std::find_if(
        asked_.begin(), asked_.end(), [&](const Asked& one) { return one.id == response.id; });
    if (asked == asked_.end()) return;
    const auto on_answer = std::move(asked->on_answer);
    asked_.erase(asked);
    on_answer(response);
}

void LspSession::initialize(const RpcRequest& request) {
    if (stage_ != Stage::fresh) {
        return reply(request.id,
                     RpcError{RpcErrorCode::invalid_request, "initialize may be sent once"});
    }
    Result<InitializeParams> params = from_any<InitializeParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    client_ = params->capabilities;
    client_process_id_ = params->process_id;
    client_shows_explanations_ = params->shows_explanations;

    PositionEncoding encoding = PositionEncoding::utf16;
    for (const std::string& offered : client_.position_encodings) {
        if (const std::optional<PositionEncoding> known = parse_position_encoding(offered)) {
            encoding = *known;
            break;
        }
    }
    documents_.set_encoding(encoding);
    std::vector<std::string> roots;
    for (const WorkspaceFolder& folder : params->workspace_folders) {
        roots.push_back(folder.uri);
    }
    if (roots.empty() && params->root_uri) roots.push_back(*params->root_uri);
    documents_.set_roots(std::move(roots));

    stage_ = Stage::initialized;
    InitializeResult result;
    result.position_encoding = to_string(encoding);
    // A client with ghost text would show the same suggestion twice.
    result.offers_completion = !client_.has_inline_completion;
    result.offers_text_document_content = client_.has_text_document_content;
    result.commands = {"hearth.explain", "hearth.fix"};
    result.server_version = version();
    reply(request.id, to_any(result));
}

void LspSession::shutdown(const RpcRequest& request) {
    drop_pending([](const Pending&) { return true; },
                 RpcErrorCode::request_cancelled,
                 "the server is shutting down");
    stage_ = Stage::shut_down;
    reply(request.id, LspAny::null());
}

void LspSession::exit(const LspAny& /*params*/) {
    const std::uint8_t status = stage_ == Stage::shut_down ? 0 : 1;
    on_closed();
    outbox_.finish(status);
}

void LspSession::did_open(const LspAny& params) {
    Result<DidOpenTextDocumentParams> open = from_any<DidOpenTextDocumentParams>(params);
    if (!open) return parts_.log.warning(kRoom, "didOpen: " + open.error().text);
    if (Result<void> done = documents_.open(std::move(open->text_document)); !done) {
        show_message(kMessageWarning, "hearth: " + done.error().text);
    }
}

void LspSession::did_change(const LspAny& params) {
    const Result<DidChangeTextDocumentParams> change =
        from_any<DidChangeTextDocumentParams>(params);
    if (!change) return parts_.log.warning(kRoom, "didChange: " + change.error().text);
    const std::string& uri = change->text_document.uri;
    if (const Result<void> done = documents_.change(*change); !done) {
        return parts_.log.warning(kRoom, "didChange: " + done.error().text);
    }
    drop_pending([&](const Pending& pending) { return pending.uri == uri; },
                 RpcErrorCode::content_modified,
                 "the document has changed since");
    explanations_.erase(std::remove_if(explanations_.begin(),
                                       explanations_.end(),
                                       [&](const Explanation& known) {
                                           return known.document_uri == uri &&
                                                  known.virtual_uri.empty();
                                       }),
                        explanations_.end());
}

void LspSession::did_close(const LspAny& params) {
    const Result<DidCloseTextDocumentParams> close = from_any<DidCloseTextDocumentParams>(params);
    if (!close) return parts_.log.warning(kRoom, "didClose: " + close.error().text);
    const std::string& uri = close->text_document.uri;
    documents_.close(uri);
    if (suggested_.document != nullptr && suggested_.document->uri == uri) suggested_ = {};
    drop_pending([&](const Pending& pending) { return pending.uri == uri; },
                 RpcErrorCode::content_modified,
                 "the document has been closed");
}

void LspSession::cancel_request(const LspAny& params) {
    const Result<CancelParams> cancel = from_any<CancelParams>(params);
    if (!cancel) return;
    const auto found = pending_.find(cancel->id);
    if (found == pending_.end()) return;
    found->second.cancel.cancel();
    end_progress(found->second);
    pending_.erase(found);
    reply(cancel->id, RpcError{RpcErrorCode::request_cancelled, "cancelled by the client"});
}

void LspSession::cancel_progress(const LspAny& params) {
    const Result<WorkDoneProgressCancelParams> cancel =
        from_any<WorkDoneProgressCancelParams>(params);
    if (!cancel) return;
    drop_pending([&](const Pending& pending) { return pending.progress == cancel->token; },
                 RpcErrorCode::request_cancelled,
                 "cancelled by the user");
}

void LspSession::reply(const RequestId& id, const LspAny& result) {
    if (is_closed_) return;
    outbox_.send(to_json(RpcResponse{id, result}));
}

void LspSession::reply(const RequestId& id, RpcError error) {
    if (is_closed_) return;
    outbox_.send(to_json(RpcResponse{id, std::move(error)}));
}

void LspSession::refuse(const RequestId& id, const Error& error) {
    reply(id, to_rpc_error(error));
}

void LspSession::notify(const std::string& method, LspAny params) {
    if (is_closed_) return;
    outbox_.send(to_json(RpcNotification{method, std::move(params)}));
}

void LspSession::ask_client(const std::string& method,
                            LspAny params,
                            std::function<void(const RpcResponse&)> on_answer) {
    if (is_closed_) return;
    const RequestId id = our_id(next_id_++);
    // A client that never answers must not make us remember without end; what waits for it is told.
    if (asked_.size() >= limits_.pending_max && !asked_.empty()) {
        const Asked oldest = std::move(asked_.front());
        asked_.pop_front();
        oldest.on_answer(RpcResponse{
            oldest.id, RpcError{RpcErrorCode::request_failed, "the editor did not answer"}});
    }
    asked_.push_back({id, std::move(on_answer)});
    outbox_.send(to_json(RpcRequest{id, method, std::move(params)}));
}

LspSession::Pending* LspSession::add_pending(const RpcRequest& request, const std::string& uri) {
    if (pending_.size() >= limits_.pending_max) {
        reply(request.id,
              RpcError{RpcErrorCode::request_failed,
                       std::to_string(limits_.pending_max) +
                           " requests of this editor are unanswered; try again"});
        return nullptr;
    }
    Pending& pending = pending_[request.id];
    pending.method = request.method;
    pending.uri = uri;
    return &pending;
}

bool LspSession::take_pending(const RequestId& id) {
    const auto found = pending_.find(id);
    if (found == pending_.end()) return false;
    end_progress(found->second);
    pending_.erase(found);
    return true;
}

void LspSession::drop_pending(const std::function<bool(const Pending&)>& matches,
                              RpcErrorCode code,
                              const std::string& text) {
    for (auto it = pending_.begin(); it != pending_.end();) {
        if (!matches(it->second)) {
            ++it;
            continue;
        }
        it->second.cancel.cancel();
        end_progress(it->second);
        const RequestId id = it->first;
        it = pending_.erase(it);
        reply(id, RpcError{code, text});
    }
}

assist::DocumentRef LspSession::supersede(const RpcRequest& request, const std::string& uri) {
    assist::DocumentRef document = documents_.find(uri);
    if (document == nullptr) {
        reply(request.id,
              RpcError{RpcErrorCode::invalid_params,
                       uri + " is not open; send textDocument/didOpen first"});
        return nullptr;
    }
    drop_pending(
        [&](const Pending& older) { return older.uri == uri && older.method == request.method; },
        RpcErrorCode::content_modified,
        "a newer request took the place of this one");
    return document;
}

void LspSession::begin_progress(Pending& pending,
                                const std::optional<ProgressToken>& from_client,
                                const std::string& title) {
    if (from_client) {
        pending.progress = from_client;
    } else if (client_.has_work_done_progress) {
        pending.progress = ProgressToken(our_id(next_id_++));
        // The order on the wire is enough; a client that refuses the token ignores what follows.
        ask_client("window/workDoneProgress/create",
                   to_any(WorkDoneProgressCreateParams{*pending.progress}),
                   [](const RpcResponse&) {});
    } else {
        return;
    }
    notify("$/progress",
           to_any(ProgressParams{*pending.progress, {"begin", title, true, std::nullopt}}));
}

void LspSession::report_progress(const RequestId& id, const std::string& text) {
    const auto found = pending_.find(id);
    if (found == pending_.end() || !found->second.progress) return;
    notify("$/progress",
           to_any(ProgressParams{*found->second.progress,
                                 {"report", std::nullopt, std::nullopt, text}}));
}

void LspSession::end_progress(const Pending& pending) {
    if (!pending.progress) return;
    notify("$/progress",
           to_any(ProgressParams{*pending.progress,
                                 {"end", std::nullopt, std::nullopt, std::nullopt}}));
}

}  // namespace hearth::lsp

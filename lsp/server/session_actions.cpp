// Explain and fix: listed by textDocument/codeAction, run by codeAction/resolve or by a command.
#include <algorithm>

#include "lsp/server/session.h"

namespace hearth::lsp {
namespace {

constexpr const char* kAnnotationId = "hearth";

/// Whether a client that asks for the kinds `only` wants one of `kind`: the kind itself or one
/// above it.
bool is_wanted(const std::optional<std::vector<std::string>>& only, std::string_view kind) {
    if (!only || only->empty()) return true;
    return std::any_of(only->begin(), only->end(), [&](const std::string& wanted) {
        if (wanted.empty() || wanted == kind) return true;
        return kind.size() > wanted.size() && kind.substr(0, wanted.size()) == wanted &&
               kind[wanted.size()] == '.';
    });
}

bool contains(const Range& range, const Position& position) {
    // A whole line counts up to its end, wherever on it the pointer is.
    return position.line >= range.start.line && position.line <= range.end.line;
}

assist::ActionQuery to_query(const Documents& documents,
                             const assist::DocumentRef& document,
                             const Range& selection,
                             const std::vector<Diagnostic>& diagnostics) {
    assist::ActionQuery query;
    query.document = document;
    const auto to_bytes = [&](const Range& range) {
        const std::uint64_t begin = to_byte(document->text, range.start, documents.encoding());
        const std::uint64_t end = to_byte(document->text, range.end, documents.encoding());
        return plugin_host::ByteRange{std::min(begin, end), std::max(begin, end)};
    };
    query.selection = to_bytes(selection);
    for (const Diagnostic& diagnostic : diagnostics) {
        query.diagnostics.push_back(assist::Diagnostic{to_bytes(diagnostic.range),
                                                       diagnostic.severity.value_or(1),
                                                       diagnostic.source.value_or(""),
                                                       diagnostic.message});
    }
    query.open_documents = documents.others(document->uri);
    return query;
}

}  // namespace

std::vector<CodeAction> LspSession::to_code_actions(const std::vector<plugin_host::Action>& actions,
                                                    const CodeActionParams& params,
                                                    const assist::Document& document) const {
    std::vector<CodeAction> out;
    for (const plugin_host::Action& action : actions) {
        const bool is_fix = action.kind == plugin_host::ActionKind::fixes;
        const char* kind = is_fix ? kKindQuickFix : kKindExplain;
        if (!is_wanted(params.context.only, kind)) continue;
        if (is_fix && !client_.resolves_code_action_edit && !client_.has_apply_edit) continue;
        ActionTicket ticket;
        ticket.uri = document.uri;
        ticket.version = document.version;
        ticket.selection = params.range;
        ticket.diagnostics = params.context.diagnostics;
        ticket.plugin_index = action.plugin_index;
        ticket.action_id = action.id;
        ticket.is_fix = is_fix;
        ticket.range =
            Range{to_position(document.text, action.range.begin_byte, documents_.encoding()),
                  to_position(document.text, action.range.end_byte, documents_.encoding())};
        ticket.title = action.title;

        CodeAction item;
        item.title = action.title;
        item.kind = kind;
        if (client_.reads_llm_tag) item.tags = {kTagLlmGenerated};
        if (is_fix && client_.resolves_code_action_edit) {
            item.data = to_any(ticket);
        } else {
            item.command = Command{action.title,
                                   is_fix ? "hearth.fix" : "hearth.explain",
                                   std::vector<LspAny>{to_any(ticket)}};
        }
        out.push_back(std::move(item));
    }
    return out;
}

void LspSession::code_action(const RpcRequest& request) {
    const Result<CodeActionParams> params = from_any<CodeActionParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    const std::string& uri = params->text_document.uri;
    const assist::DocumentRef document = supersede(request, uri);
    if (document == nullptr) return;
    Pending* pending = add_pending(request, uri);
    if (pending == nullptr) return;
    documents_.touch(uri, to_byte(document->text, params->range.start, documents_.encoding()));

    assist::ActionQuery query =
        to_query(documents_, document, params->range, params->context.diagnostics);
    query.cancel = pending->cancel.token();
    using Actions = std::vector<plugin_host::Action>;
    parts_.assistant.list_actions(
        std::move(query),
        deliver<Actions>(request.id,
                         [id = request.id, document, params = *params](LspSession& self,
                                                                       const Actions& actions) {
                             std::vector<CodeAction> items =
                                 self.to_code_actions(actions, params, *document);
                             if (items.size() > self.limits_.actions_max)
                                 items.resize(self.limits_.actions_max);
                             if (self.client_.has_code_action_literals)
                                 return self.reply(id, to_any_array(items));
                             std::vector<Command> commands;
                             for (CodeAction& item : items) {
                                 if (item.command) commands.push_back(std::move(*item.command));
                             }
                             self.reply(id, to_any_array(commands));
                         }));
}

void LspSession::run_ticket(
    const RpcRequest& request,
    const ActionTicket& ticket,
    const std::optional<ProgressToken>& token,
    std::function<void(LspSession&, const RequestId&, const assist::ActionAnswer&)> on_answer) {
    const assist::DocumentRef document = documents_.find(ticket.uri);
    if (document == nullptr) {
        return reply(request.id,
                     RpcError{RpcErrorCode::invalid_params, ticket.uri + " is not open any more"});
    }
    if (document->version != ticket.version) {
        return reply(request.id,
                     RpcError{RpcErrorCode::content_modified,
                              "the document has changed since the action was offered; ask again"});
    }
    Pending* pending = add_pending(request, ticket.uri);
    if (pending == nullptr) return;
    begin_progress(*pending, token, ticket.title);

    assist::ActionQuery query =
        to_query(documents_, document, ticket.selection, ticket.diagnostics);
    query.cancel = pending->cancel.token();
    plugin_host::Action action;
    action.plugin_index = ticket.plugin_index;
    action.id = ticket.action_id;
    action.kind =
        ticket.is_fix ? plugin_host::ActionKind::fixes : plugin_host::ActionKind::explains;
    action.title = ticket.title;
    action.range = {to_byte(document->text, ticket.range.start, documents_.encoding()),
                    to_byte(document->text, ticket.range.end, documents_.encoding())};

    auto on_piece = [weak = weak_from_this(),
                     post = parts_.post,
                     id = request.id,
                     so_far = std::string()](std::string_view piece) mutable {
        so_far.append(piece);
        post([weak, id, so_far] {
            if (const std::shared_ptr<LspSession> self = weak.lock())
                self->report_progress(id, so_far);
        });
    };
    auto done =
        deliver<assist::ActionAnswer>(request.id,
                                      [id = request.id, on_answer = std::move(on_answer)](
                                          LspSession& self, const assist::ActionAnswer& answer) {
                                          ++self.answered_count_;
                                          on_answer(self, id, answer);
                                      });
    parts_.assistant.run_action(std::move(query),
                                std::move(action),
                                ticket.is_fix ? assist::OnPiece() : std::move(on_piece),
                                std::move(done));
}

WorkspaceEdit LspSession::to_edit(const ActionTicket& ticket,
                                  const assist::ActionAnswer& answer) const {
    WorkspaceEdit edit;
    const assist::DocumentRef document = documents_.find(ticket.uri);
    if (!answer.is_found || document == nullptr) {
        edit.changes.emplace();
        return edit;
    }
    TextEdit change{
        Range{to_position(document->text, answer.range.begin_byte, documents_.encoding()),
              to_position(document->text, answer.range.end_byte, documents_.encoding())},
        answer.text,
        std::nullopt};
    if (!client_.has_document_changes) {
        edit.changes.emplace()[ticket.uri] = {std::move(change)};
        return edit;
    }
    if (client_.has_change_annotations) {
        change.annotation_id = kAnnotationId;
        edit.change_annotations.emplace()[kAnnotationId] =
            ChangeAnnotation{ticket.title, std::nullopt, "suggested by the local model"};
    }
    edit.document_changes = {TextDocumentEdit{{ticket.uri, ticket.version}, {std::move(change)}}};
    return edit;
}

void LspSession::resolve_code_action(const RpcRequest& request) {
    Result<CodeAction> action = from_any<CodeAction>(request.params);
    if (!action) return refuse(request.id, action.error());
    if (action->data.is_absent())
        return reply(request.id, request.params);  // nothing of ours is left to fill in
    const Result<ActionTicket> ticket = from_any<ActionTicket>(action->data);
    if (!ticket) return refuse(request.id, ticket.error());
    run_ticket(request,
               *ticket,
               std::nullopt,
               [action = *action, ticket = *ticket](
                   LspSession& self, const RequestId& id, const assist::ActionAnswer& answer) {
                   if (!answer.is_found)
                       self.show_message(kMessageInfo, "hearth: no fix found for this line");
                   CodeAction resolved = action;
                   resolved.edit = self.to_edit(ticket, answer);
                   self.reply(id, to_any(resolved));
               });
}

void LspSession::execute_command(const RpcRequest& request) {
    const Result<ExecuteCommandParams> params = from_any<ExecuteCommandParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    const bool is_fix = params->command == "hearth.fix";
    if (!is_fix && params->command != "hearth.explain") {
        return reply(request.id,
                     RpcError{RpcErrorCode::invalid_params,
                              "hearth has no command " + params->command +
                                  "; it has hearth.explain and hearth.fix"});
    }
    if (!params->arguments || params->arguments->empty()) {
        return reply(
            request.id,
            RpcError{RpcErrorCode::invalid_params,
                     params->command + " needs the argument that its code action carries"});
    }
    const Result<ActionTicket> ticket = from_any<ActionTicket>(params->arguments->front());
    if (!ticket) return refuse(request.id, ticket.error());
    run_ticket(request,
               *ticket,
               params->work_done_token,
               [is_fix, ticket = *ticket](
                   LspSession& self, const RequestId& id, const assist::ActionAnswer& answer) {
                   if (is_fix) return self.apply_fix(id, ticket, answer);
                   self.show_explanation(id, ticket, answer);
               });
}

void LspSession::apply_fix(const RequestId& id,
                           const ActionTicket& ticket,
                           const assist::ActionAnswer& answer) {
    if (!answer.is_found) {
        show_message(kMessageInfo, "hearth: no fix found for this line");
        return reply(id, LspAny::null());
    }
    ask_client(
        "workspace/applyEdit",
        to_any(ApplyWorkspaceEditParams{ticket.title, to_edit(ticket, answer)}),
        [weak = weak_from_this(), id](const RpcResponse& response) {
            const std::shared_ptr<LspSession> self = weak.lock();
            if (!self) return;
            if (const auto* error = std::get_if<RpcError>(&response.outcome)) {
                return self->reply(id, RpcError{RpcErrorCode::request_failed, error->message});
            }
            const Result<ApplyWorkspaceEditResult> result =
                from_any<ApplyWorkspaceEditResult>(std::get<LspAny>(response.outcome));
            if (result && !result->applied) {
                return self->reply(
                    id,
                    RpcError{RpcErrorCode::request_failed,
                             "the editor did not apply the fix: " +
                                 result->failure_reason.value_or("no reason given")});
            }
            self->reply(id, LspAny::null());
        });
}

void LspSession::show_explanation(const RequestId& id,
                                  const ActionTicket& ticket,
                                  const assist::ActionAnswer& answer) {
    if (answer.text.empty()) {
        show_message(kMessageInfo,
                     "hearth: the model is not sure about this code; a larger one may be: "
                     "\"model\" in the settings, or --model");
        return reply(id, LspAny::null());
    }
    if (client_shows_explanations_)
        return reply(id, to_any(TextDocumentContentResult{answer.text}));
    Explanation explanation{ticket.uri, {}, ticket.range, answer.text};
    const bool has_virtual = client_.has_show_document && client_.has_text_document_content;
    if (has_virtual)
        explanation.virtual_uri = "hearth:/explanation/" + std::to_string(next_id_++) + ".md";
    explanations_.push_back(explanation);
    if (explanations_.size() > limits_.explanations_max) explanations_.pop_front();

    if (has_virtual) {
        ask_client("window/showDocument",
                   to_any(ShowDocumentParams{explanation.virtual_uri, true}),
                   [](const RpcResponse&) {});
    } else if (client_.has_hover) {
        show_message(kMessageInfo, "hearth: explained; hover the code to read it");
    } else {
        show_message(kMessageInfo, "hearth: " + answer.text);
    }
    reply(id, to_any(TextDocumentContentResult{answer.text}));
}

void LspSession::hover(const RpcRequest& request) {
    const Result<TextDocumentPositionParams> place =
        from_any<TextDocumentPositionParams>(request.params);
    if (!place) return refuse(request.id, place.error());
    for (auto known = explanations_.rbegin(); known != explanations_.rend(); ++known) {
        if (known->document_uri != place->text_document.uri ||
            !contains(known->range, place->position))
            continue;
        const char* kind = client_.hover_reads_markdown ? "markdown" : "plaintext";
        return reply(request.id, to_any(Hover{{kind, known->text}, known->range}));
    }
    reply(request.id, LspAny::null());
}

void LspSession::text_document_content(const RpcRequest& request) {
    const Result<TextDocumentContentParams> params =
        from_any<TextDocumentContentParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    for (const Explanation& known : explanations_) {
        if (known.virtual_uri == params->uri)
            return reply(request.id, to_any(TextDocumentContentResult{known.text}));
    }
    reply(request.id, RpcError{RpcErrorCode::request_failed, params->uri + " is no longer kept"});
}

}  // namespace hearth::lsp

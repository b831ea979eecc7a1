// The hearth/* methods that hearth's own command line calls. The text comes with the request; no
// document is opened.
#include "lsp/server/session.h"

namespace hearth::lsp {
namespace {

assist::DocumentRef to_document(const HearthTextParams& params) {
    auto document = std::make_shared<assist::Document>();
    document->uri = "hearth:/" + params.path;
    document->path = params.path;
    document->language = params.language;
    document->text = params.text;
    return document;
}

void fill_usage(HearthTextResult& result, const engine::Usage& usage) {
    result.tokens = usage.generated_tokens;
    result.prompt_tokens = usage.prompt_tokens;
    result.cached_tokens = usage.cached_tokens;
    result.first_token_ms = usage.first_token_ms;
    result.total_ms = usage.total_ms;
}

/// Why the places of a request make no sense; empty when they do.
std::string find_fault(const HearthTextParams& params) {
    if (params.begin_byte > params.end_byte || params.end_byte > params.text.size()) {
        return "bytes " + std::to_string(params.begin_byte) + " to " +
               std::to_string(params.end_byte) + " are not inside a text of " +
               std::to_string(params.text.size());
    }
    return {};
}

}  // namespace

void LspSession::hearth_status(const RpcRequest& request) {
    reply(request.id, to_any(parts_.status()));
}

void LspSession::hearth_stop(const RpcRequest& request) {
    reply(request.id, LspAny::null());
    parts_.stop();
}

void LspSession::hearth_complete(const RpcRequest& request) {
    const Result<HearthTextParams> params = from_any<HearthTextParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    if (const std::string text = find_fault(*params); !text.empty()) {
        return reply(request.id, RpcError{RpcErrorCode::invalid_params, text});
    }
    Pending* pending = add_pending(request, {});
    if (pending == nullptr) return;
    assist::CompletionQuery query;
    query.document = to_document(*params);
    query.cursor_byte = params->begin_byte;
    query.trigger = assist::Trigger::invoked;
    query.cancel = pending->cancel.token();
    parts_.assistant.complete(
        std::move(query),
        deliver<assist::CompletionAnswer>(
            request.id,
            [id = request.id](LspSession& self, const assist::CompletionAnswer& answer) {
                ++self.answered_count_;
                HearthTextResult result;
                result.is_found = !answer.suggestions.empty();
                if (result.is_found) result.text = answer.suggestions.front().text;
                fill_usage(result, answer.usage);
                self.reply(id, to_any(result));
            }));
}

void LspSession::hearth_explain(const RpcRequest& request) {
    run_first_action(request, plugin_host::ActionKind::explains);
}

void LspSession::hearth_fix(const RpcRequest& request) {
    run_first_action(request, plugin_host::ActionKind::fixes);
}

void LspSession::run_first_action(const RpcRequest& request, plugin_host::ActionKind kind) {
    const Result<HearthTextParams> params = from_any<HearthTextParams>(request.params);
    if (!params) return refuse(request.id, params.error());
    if (const std::string text = find_fault(*params); !text.empty()) {
        return reply(request.id, RpcError{RpcErrorCode::invalid_params, text});
    }
    Pending* pending = add_pending(request, {});
    if (pending == nullptr) return;
    assist::ActionQuery query;
    query.document = to_document(*params);
    query.selection = {params->begin_byte, params->end_byte};
    if (params->message) query.diagnostics.push_back({query.selection, 1, "", *params->message});
    query.cancel = pending->cancel.token();

    const RequestId id = request.id;
    const auto on_answer = deliver<assist::ActionAnswer>(
        id, [id](LspSession& self, const assist::ActionAnswer& answer) {
            ++self.answered_count_;
            HearthTextResult result;
            result.text = answer.text;
            result.is_found = answer.is_found;
            result.begin_byte = answer.range.begin_byte;
            result.end_byte = answer.range.end_byte;
            fill_usage(result, answer.usage);
            self.reply(id, to_any(result));
        });
    using Actions = std::vector<plugin_host::Action>;
    parts_.assistant.list_actions(
        query,
        [weak = weak_from_this(), post = parts_.post, id, query, kind, on_answer](
            Result<Actions> actions) {
            post([weak,
                  id,
                  query,
                  kind,
                  on_answer,
                  shared = std::make_shared<Result<Actions>>(std::move(actions))] {
                const std::shared_ptr<LspSession> self = weak.lock();
                if (!self || self->pending_.count(id) == 0) return;
                if (!*shared) {
                    self->take_pending(id);
                    return self->refuse(id, shared->error());
                }
                for (const plugin_host::Action& action : **shared) {
                    if (action.kind == kind)
                        return self->parts_.assistant.run_action(query, action, {}, on_answer);
                }
                self->take_pending(id);
                self->reply(id, to_any(HearthTextResult{}));
            });
        });
}

}  // namespace hearth::lsp

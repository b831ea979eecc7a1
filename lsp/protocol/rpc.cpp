#include "lsp/protocol/rpc.h"

#include <limits>
#include <utility>

#include "lsp/protocol/json_io.h"

namespace hearth::lsp {
namespace {

RpcFault fault(RpcErrorCode code, std::string message, RequestId id = {}) {
    return RpcFault{std::move(id), RpcError{code, std::move(message)}};
}

/// Empty for anything that is no id.
std::optional<RequestId> read_id(const Json& json) {
    if (json.is_string()) return RequestId(json.get<std::string>());
    // A number that we could not send back as it came is no id.
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const bool is_huge = json.is_number_unsigned() && json.get<std::uint64_t>() > kMax;
    if (json.is_number_integer() && !is_huge) return RequestId(json.get<std::int64_t>());
    if (json.is_null()) return RequestId();
    return std::nullopt;
}

Json write_id(const RequestId& id) {
    if (const auto* number = std::get_if<std::int64_t>(&id)) return *number;
    if (const auto* text = std::get_if<std::string>(&id)) return *text;
    return nullptr;
}

LspAny take_member(Json& json, const char* name) {
    const auto member = json.find(name);
    if (member == json.end()) return {};
    return LspAny(std::make_shared<Json>(std::move(*member)));
}

std::variant<Message, RpcFault> read_response(Json& json, RequestId id) {
    if (const auto error = json.find("error"); error != json.end() && error->is_object()) {
        RpcError out;
        if (const auto code = error->find("code");
            code != error->end() && code->is_number_integer()) {
            out.code = static_cast<RpcErrorCode>(code->get<std::int32_t>());
        }
        if (const auto text = error->find("message"); text != error->end() && text->is_string()) {
            out.message = text->get<std::string>();
        }
        return Message(RpcResponse{std::move(id), std::move(out)});
    }
    if (!json.contains("result")) {
        return fault(RpcErrorCode::invalid_request,
                     "a message with an id needs a method, a result or an error",
                     id);
    }
    return Message(RpcResponse{std::move(id), take_member(json, "result")});
}

}  // namespace

bool is_within_json_limits(std::string_view text, int depth_max, std::size_t nodes_max) {
    int depth = 0;
    std::size_t nodes = 1;
    bool is_in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (is_in_string) {
            if (c == '\\') {
                ++i;
            } else if (c == '"') {
                is_in_string = false;
            }
            continue;
        }
        switch (c) {
            case '"':
                is_in_string = true;
                break;
            case '[':
            case '{':
                ++nodes;
                if (++depth > depth_max) return false;
                break;
            case ']':
            case '}':
                --depth;
                break;
            case ',':
                ++nodes;
                break;
            default:
                break;
        }
        if (nodes > nodes_max) return false;
    }
    return true;
}

std::variant<Message, RpcFault> parse_message(std::string_view bytes) {
    if (bytes.size() > kMessageBytesMax) {
        return fault(RpcErrorCode::parse_error,
                     "message of " + std::to_string(bytes.size()) + " bytes is over the limit of " +
                         std::to_string(kMessageBytesMax));
    }
    if (!is_within_json_limits(bytes, kJsonDepthMax, kJsonNodesMax)) {
        return fault(RpcErrorCode::parse_error,
                     "message nests deeper than " + std::to_string(kJsonDepthMax) +
                         " levels or holds more than " + std::to_string(kJsonNodesMax) + " values");
    }
    Json json = Json::parse(bytes, nullptr, false);
    if (json.is_discarded()) return fault(RpcErrorCode::parse_error, "message is not JSON");
    if (!json.is_object())
        return fault(RpcErrorCode::invalid_request, "message is not a JSON object");

    RequestId id;
    const auto id_member = json.find("id");
    const bool has_id = id_member != json.end();
    if (has_id) {
        std::optional<RequestId> read = read_id(*id_member);
        if (!read)
            return fault(RpcErrorCode::invalid_request,
                         "id is neither a string nor an integer of 64 bits");
        id = std::move(*read);
    }
    const auto version = json.find("jsonrpc");
    if (version == json.end() || *version != "2.0") {
        return fault(RpcErrorCode::invalid_request, "\"jsonrpc\" is not \"2.0\"", id);
    }
    const auto method = json.find("method");
    if (method == json.end()) {
        if (!has_id)
            return fault(RpcErrorCode::invalid_request, "message has neither a method nor an id");
        return read_response(json, std::move(id));
    }
    if (!method->is_string())
        return fault(RpcErrorCode::invalid_request, "\"method\" is not a string", id);
    std::string name = method->get<std::string>();
    LspAny params = take_member(json, "params");
    if (!has_id) return Message(RpcNotification{std::move(name), std::move(params)});
    return Message(RpcRequest{std::move(id), std::move(name), std::move(params)});
}

std::string to_json(const Message& message) {
    Json json = {{"jsonrpc", "2.0"}};
    if (const auto* request = std::get_if<RpcRequest>(&message)) {
        json["id"] = write_id(request->id);
        json["method"] = request->method;
        if (!request->params.is_absent()) json["params"] = *request->params.get();
    } else if (const auto* notification = std::get_if<RpcNotification>(&message)) {
        json["method"] = notification->method;
        if (!notification->params.is_absent()) json["params"] = *notification->params.get();
    } else {
        const auto& response = std::get<RpcResponse>(message);
        json["id"] = write_id(response.id);
        if (const auto* error = std::get_if<RpcError>(&response.outcome)) {
            json["error"] = {{"code", static_cast<std::int32_t>(error->code)},
                             {"message", error->message}};
        } else {
            const LspAny& result = std::get<LspAny>(response.outcome);
            json["result"] = result.is_absent() ? Json() : *result.get();
        }
    }
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hearth::lsp

// JSON-RPC 2.0 messages as LSP uses them: bytes of one message <-> Message. Size, depth and node
// count are checked before a document is built: a message is untrusted input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/base/result.h"
#include "lsp/protocol/any.h"

namespace hearth::lsp {

inline constexpr std::size_t kMessageBytesMax = std::size_t{16} << 20;
inline constexpr int kJsonDepthMax = 64;
inline constexpr std::size_t kJsonNodesMax = 1'000'000;  ///< values of any kind in one message

/// Numbers of the LSP 3.18 and JSON-RPC 2.0 specifications.
enum class RpcErrorCode : std::int32_t {
    parse_error = -32700,
    invalid_request = -32600,
    method_not_found = -32601,
    invalid_params = -32602,
    internal_error = -32603,
    server_not_initialized = -32002,
    request_failed = -32803,
    server_cancelled = -32802,
    content_modified = -32801,
    request_cancelled = -32800,
};

struct RpcError {
    RpcErrorCode code = RpcErrorCode::internal_error;
    std::string message;

    friend bool operator==(const RpcError&, const RpcError&) = default;
};

/// A request's id: a number, a string, or null (in answers to what could not be read).
using RequestId = std::variant<std::monostate, std::int64_t, std::string>;

struct RpcRequest {
    RequestId id;
    std::string method;
    LspAny params;

    friend bool operator==(const RpcRequest&, const RpcRequest&) = default;
};
struct RpcNotification {
    std::string method;
    LspAny params;

    friend bool operator==(const RpcNotification&, const RpcNotification&) = default;
};
struct RpcResponse {
    RequestId id;
    std::variant<LspAny, RpcError> outcome;

    friend bool operator==(const RpcResponse&, const RpcResponse&) = default;
};
using Message = std::variant<RpcRequest, RpcNotification, RpcResponse>;

/// What is wrong with a message, and what to answer: `id` is null where none could be read.
struct RpcFault {
    RequestId id;
    RpcError error;
};

/// Errors: parse_error (not JSON, or over a limit) and invalid_request (JSON, but no message), as a
/// fault.
std::variant<Message, RpcFault> parse_message(std::string_view bytes);

/// The JSON of one message, without framing. Broken UTF-8 in strings comes out as U+FFFD.
std::string to_json(const Message& message);

/// Depth and node count of JSON text without building it; false when a limit is passed. Accepts
/// broken JSON.
bool is_within_json_limits(std::string_view text, int depth_max, std::size_t nodes_max);

}  // namespace hearth::lsp

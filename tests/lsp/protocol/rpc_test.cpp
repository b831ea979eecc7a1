#include "lsp/protocol/rpc.h"

#include <catch2/catch.hpp>

#include "lsp/protocol/protocol.h"

namespace hearth::lsp {
namespace {

RpcFault fault_of(std::string_view text) {
    const auto parsed = parse_message(text);
    REQUIRE(std::holds_alternative<RpcFault>(parsed));
    return std::get<RpcFault>(parsed);
}

Message message_of(std::string_view text) {
    const auto parsed = parse_message(text);
    REQUIRE(std::holds_alternative<Message>(parsed));
    return std::get<Message>(parsed);
}

TEST_CASE("a request, a notification and both kinds of answer are told apart", "[lsp][rpc]") {
    const auto request =
        std::get<RpcRequest>(message_of(R"({"jsonrpc":"2.0","id":1,"method":"m","params":{}})"));
    CHECK(request.id == RequestId(std::int64_t{1}));
    CHECK(request.method == "m");
    CHECK(std::get<RpcNotification>(message_of(R"({"jsonrpc":"2.0","method":"n"})"))
              .params.is_absent());
    CHECK(std::get<RpcResponse>(message_of(R"({"jsonrpc":"2.0","id":"a","result":null})")).id ==
          RequestId(std::string("a")));
    const auto response = std::get<RpcResponse>(
        message_of(R"({"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"no"}})"));
    CHECK(std::get<RpcError>(response.outcome) == RpcError{RpcErrorCode::method_not_found, "no"});
}

TEST_CASE("what is no message is answered with the right code and the id where there is one",
          "[lsp][rpc]") {
    struct Case {
        const char* text;
        RpcErrorCode code;
        RequestId id;
    };
    const RequestId none;
    const RequestId seven = std::int64_t{7};
    const Case cases[] = {
        {"", RpcErrorCode::parse_error, none},
        {"{", RpcErrorCode::parse_error, none},
        {"{\"a\":}", RpcErrorCode::parse_error, none},
        {"\xFF\xFE", RpcErrorCode::parse_error, none},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"\xC3\"}", RpcErrorCode::parse_error, none},
        {"[]", RpcErrorCode::invalid_request, none},
        {"3", RpcErrorCode::invalid_request, none},
        {R"({"id":7,"method":"m"})", RpcErrorCode::invalid_request, seven},
        {R"({"jsonrpc":"1.0","id":7,"method":"m"})", RpcErrorCode::invalid_request, seven},
        {R"({"jsonrpc":"2.0","id":7,"method":3})", RpcErrorCode::invalid_request, seven},
        {R"({"jsonrpc":"2.0","id":7})", RpcErrorCode::invalid_request, seven},
        {R"({"jsonrpc":"2.0","id":{},"method":"m"})", RpcErrorCode::invalid_request, none},
        {R"({"jsonrpc":"2.0","id":9223372036854775808,"method":"m"})",
         RpcErrorCode::invalid_request,
         none},
        {R"({"jsonrpc":"2.0"})", RpcErrorCode::invalid_request, none},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const RpcFault fault = fault_of(c.text);
        CHECK(fault.error.code == c.code);
        CHECK(fault.id == c.id);
    }
}

TEST_CASE("depth and node limits hold before a document is built", "[lsp][rpc]") {
    CHECK(is_within_json_limits(R"([[["[[[[["]]])", 3, 100));
    CHECK_FALSE(is_within_json_limits("[[[[", 3, 100));
    CHECK(is_within_json_limits(R"(["\"[[[["])", 1, 100));
    CHECK_FALSE(is_within_json_limits("[1,2,3,4]", 3, 4));
    CHECK(fault_of(std::string(60'000, '[')).error.code == RpcErrorCode::parse_error);
    std::string deep = R"({"jsonrpc":"2.0","method":"m","params":)";
    deep += std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']') + "}";
    CHECK(fault_of(deep).error.code == RpcErrorCode::parse_error);
    std::string wide = R"({"jsonrpc":"2.0","method":"m","params":[)";
    for (std::size_t i = 0; i < kJsonNodesMax; ++i) {
        wide += "{},";
    }
    CHECK(fault_of(wide + "{}]}").error.code == RpcErrorCode::parse_error);
}

TEST_CASE("messages come back from their JSON", "[lsp][rpc]") {
    const Message messages[] = {
        RpcRequest{std::int64_t{4}, "a/b", to_any(CancelParams{std::int64_t{3}})},
        RpcNotification{"n", {}},
        RpcResponse{std::string("x"), LspAny::null()},
        RpcResponse{RequestId(), RpcError{RpcErrorCode::parse_error, "ä \" \\"}},
    };
    for (const Message& message : messages) {
        CHECK(message_of(to_json(message)) == message);
    }
}

TEST_CASE("broken UTF-8 in an answer becomes a replacement character", "[lsp][rpc]") {
    const std::string json =
        to_json(RpcResponse{std::int64_t{1}, to_any(MarkupContent{"plaintext", "a\xFFz"})});
    CHECK(json.find("a\xEF\xBF\xBDz") != std::string::npos);
}

}  // namespace
}  // namespace hearth::lsp

// One editor and the daemon: completion, actions, and messages that make no sense.
#include <chrono>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/scenarios/support/daemon_fixture.h"
#include "tests/support/sanitizer.h"

namespace hearth::test {
namespace {

using lsp::Client;
using std::chrono::seconds;

constexpr const char* kUri = "file:///w/a.cpp";
constexpr const char* kText =
    "int add(int a, int b) {\n    return \n}\n\nint main() {\n    return add(1, 2);\n}\n";

lsp::InlineCompletionParams at(std::uint32_t line, std::uint32_t character) {
    return {{kUri},
            {line, character},
            lsp::InlineCompletionContext{lsp::kTriggerInvoked, std::nullopt}};
}

std::string complete(Client& client, const lsp::InlineCompletionParams& params) {
    const auto list =
        call<lsp::InlineCompletionList>(client, "textDocument/inlineCompletion", params);
    return list.items.empty() ? std::string() : list.items[0].insert_text;
}

TEST_CASE("the same text gets the same suggestion, alone, again and for another editor",
          "[scenario]") {
    const Scenario scenario;
    const std::unique_ptr<Client> first = scenario.start();
    initialize(*first);
    open_document(*first, kUri, kText);
    const std::string suggestion = complete(*first, at(1, 11));
    CHECK_FALSE(suggestion.empty());
    CHECK(suggestion.find('\n') == std::string::npos);
    CHECK(complete(*first, at(1, 11)) == suggestion);

    const std::unique_ptr<Client> second = scenario.connect();
    initialize(*second);
    open_document(*second, kUri, kText);
    CHECK(complete(*second, at(1, 11)) == suggestion);
    CHECK(scenario.status().requests == 3);

    // hearth's own command sees the same model; with the same path it asks the same prompt.
    lsp::HearthTextParams params;
    params.path = "a.cpp";
    params.language = "cpp";
    params.text = kText;
    params.begin_byte = params.end_byte = std::string(kText).find("return ") + 7;
    const auto result = call<lsp::HearthTextResult>(*first, "hearth/complete", params);
    CHECK(result.text == suggestion);
    CHECK(result.cached_tokens > 0);
    CHECK(result.prompt_tokens > result.cached_tokens);
}

TEST_CASE("one more character re-uses all but a few tokens of the prompt", "[scenario][latency]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    std::string head;
    const int line_count = kIsSanitized ? 6 : 60;  // one answer has five seconds
    for (int i = 0; i < line_count; ++i) {
        head += "int value_" + std::to_string(i) + " = " + std::to_string(i * 7) + ";\n";
    }
    const std::string tail = "\n\nint main() {\n    return value_1;\n}\n";
    const std::string typed = "int sum = value_1 + value_2;";
    const auto ask = [&](std::size_t length) {
        lsp::HearthTextParams params;
        params.path = "sum.cpp";
        params.language = "cpp";
        params.text = head + typed.substr(0, length) + tail;
        params.begin_byte = params.end_byte = head.size() + length;
        return call<lsp::HearthTextResult>(*client, "hearth/complete", params);
    };
    // The first keys may have a short prompt, while the long one is computed.
    CHECK(ask(10).prompt_tokens > 0);
    while (scenario.status().running > 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    for (std::size_t length = 11; length < typed.size(); ++length) {
        const auto result = ask(length);
        if (result.prompt_tokens == 0) continue;  // inside a word nothing is asked
        CAPTURE(length, result.prompt_tokens, result.cached_tokens);
        CHECK(result.prompt_tokens - result.cached_tokens <= 8);
    }
}

TEST_CASE("an explanation and a fix come through the editor's own requests", "[scenario]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    lsp::ClientCapabilities capabilities;
    capabilities.has_code_action_literals = true;
    capabilities.resolves_code_action_edit = true;
    initialize(*client, capabilities);
    open_document(*client, kUri, kText);
    const lsp::Range line{{5, 0}, {5, 21}};
    const lsp::CodeActionParams params{
        {kUri}, line, {{{line, 1, "gcc", "expected ';'"}}, {}, 1}, {}};
    const Result<lsp::LspAny> answer =
        client->call("textDocument/codeAction", to_any(params), kPatience);
    REQUIRE(answer);
    const auto actions = lsp::from_any_array(*answer);
    REQUIRE(actions);
    bool has_explanation = false;
    bool has_fix = false;
    for (const lsp::CodeAction& action : *actions) {
        if (action.command && action.command->command == "hearth.explain") {
            has_explanation = true;
            const auto text = call<lsp::TextDocumentContentResult>(
                *client,
                "workspace/executeCommand",
                lsp::ExecuteCommandParams{action.command->command, action.command->arguments, {}});
            CHECK_FALSE(text.text.empty());
        } else if (action.kind == lsp::kKindQuickFix) {
            has_fix = true;
            const auto resolved = call<lsp::CodeAction>(*client, "codeAction/resolve", action);
            REQUIRE(resolved.edit);
            CHECK(resolved.edit->changes);
        }
    }
    CHECK(has_explanation);
    CHECK(has_fix);
}

TEST_CASE("messages that make no sense cost one answer each, never the connection", "[scenario]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    initialize(*client);
    const auto next_error = [&] {
        const Result<std::optional<lsp::Message>> message = client->receive(kPatience);
        if (!message || !*message) throw std::runtime_error("no answer");
        const auto& response = std::get<lsp::RpcResponse>(**message);
        CHECK(std::holds_alternative<std::monostate>(response.id));
        return std::get<lsp::RpcError>(response.outcome).code;
    };
    REQUIRE(client->send_body("{\"jsonrpc\":"));
    CHECK(next_error() == lsp::RpcErrorCode::parse_error);
    REQUIRE(client->send_body(std::string(100'000, '[')));
    CHECK(next_error() == lsp::RpcErrorCode::parse_error);
    REQUIRE(client->send_body(std::string(lsp::kMessageBytesMax + 1, ' ')));
    CHECK(next_error() == lsp::RpcErrorCode::parse_error);
    REQUIRE(client->send_body("[1,2]"));
    CHECK(next_error() == lsp::RpcErrorCode::invalid_request);
    CHECK(client->call("no/such", {}, kPatience).error().text.find("-32601") != std::string::npos);

    open_document(*client, kUri, kText);
    CHECK_FALSE(complete(*client, at(1, 11)).empty());
    CHECK(client->call("shutdown", {}, kPatience));
    REQUIRE(client->send_notification("exit", {}));
    CHECK_FALSE(client->receive(kPatience));
    CHECK(client->status_byte() == 0);
}

TEST_CASE("a stream that is no LSP is cut off, and others are served on", "[scenario]") {
    const Scenario scenario;
    const std::unique_ptr<Client> good = scenario.start();
    Client bad(*lsp::connect_unix(lsp::socket_path(scenario.runtime_folder())));
    REQUIRE(bad.send_raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    CHECK_FALSE(bad.receive(kPatience));
    CHECK(good->call("hearth/status", {}, kPatience));
}

TEST_CASE("a large document is served or refused, quickly either way", "[scenario]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    initialize(*client);
    std::string text;
    while (text.size() < (std::size_t{4} << 20)) {
        text += "int value = 1;  // a line of a large file\n";
    }
    open_document(*client, kUri, text + "int last = ");
    const auto line = static_cast<std::uint32_t>(text.size() / 42);
    const auto list =
        call<lsp::InlineCompletionList>(*client,
                                        "textDocument/inlineCompletion",
                                        lsp::InlineCompletionParams{{kUri}, {line, 11}, {}});
    CHECK(list.items.size() <= 1);
}

}  // namespace
}  // namespace hearth::test

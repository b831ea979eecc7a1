// Somebody types into a file with a client that never cancels, as Neovim's own does.
#include <map>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/scenarios/support/daemon_fixture.h"
#include "tests/support/sanitizer.h"

namespace hearth::test {
namespace {

using lsp::Client;

constexpr const char* kUri = "file:///w/typed.cpp";
constexpr int kFileLines = 600;
constexpr int kCharacters = 200;
constexpr auto kKeyInterval = std::chrono::milliseconds(1000 / 15);
// A sanitizer keeps freed bytes, and the history of each: its memory, not ours.
constexpr std::int64_t kGrowthBytesMax = kIsSanitized ? 512 << 20 : 16 << 20;

std::string make_file() {
    std::string text;
    for (int i = 0; i < kFileLines; ++i) {
        text += "    total += table[" + std::to_string(i) + "] * weight;  // line " +
                std::to_string(i) + "\n";
    }
    return text;
}

std::string make_typed() {
    const std::string line = "    const auto sum = first + second * (third - 1);\n";
    std::string typed;
    while (typed.size() < kCharacters) {
        typed += line;
    }
    return typed.substr(0, kCharacters);
}

/// What came back, by request.
struct Answers {
    std::map<std::int64_t, int> count;
    std::map<std::int64_t, bool> is_result;
    std::int64_t newest_result = 0;
    bool is_ordered = true;

    void take(const lsp::Message& message, std::int64_t newest_sent) {
        const auto* response = std::get_if<lsp::RpcResponse>(&message);
        if (response == nullptr) return;
        const std::int64_t id = std::get<std::int64_t>(response->id);
        ++count[id];
        is_result[id] = std::holds_alternative<lsp::LspAny>(response->outcome);
        if (const auto* error = std::get_if<lsp::RpcError>(&response->outcome)) {
            // Superseded by the server; never cancelled, since nobody did.
            CHECK(error->code == lsp::RpcErrorCode::content_modified);
            CHECK(id < newest_sent);
            return;
        }
        // Once a newer text has been answered nothing about an older one may come.
        is_ordered = is_ordered && id > newest_result;
        newest_result = id;
    }
};

TEST_CASE("every answer belongs to the newest text, and nothing piles up", "[scenario][typing]") {
    const Scenario scenario;
    // The reference backend is slow enough that keys overtake answers.
    const std::unique_ptr<Client> client = scenario.start({"--backend", "reference"});
    initialize(*client);
    const std::string file = make_file();
    open_document(*client, kUri, file);
    const std::unique_ptr<Client> watcher = scenario.connect();
    const pid_t daemon = scenario.daemon_process();

    Answers answers;
    std::int64_t first = 0;
    std::int64_t last = 0;
    std::int64_t resident_early = 0;
    lsp::Position cursor{kFileLines / 2, 0};
    TimePoint next_key = std::chrono::steady_clock::now();
    std::int64_t version = 1;
    for (const char key : make_typed()) {
        const lsp::DidChangeTextDocumentParams change{
            {kUri, ++version}, {{lsp::Range{cursor, cursor}, std::string(1, key)}}};
        REQUIRE(client->send_notification("textDocument/didChange", to_any(change)));
        cursor = key == '\n' ? lsp::Position{cursor.line + 1, 0}
                             : lsp::Position{cursor.line, cursor.character + 1};
        const Result<lsp::RequestId> id = client->send_request(
            "textDocument/inlineCompletion",
            to_any(lsp::InlineCompletionParams{
                {kUri},
                cursor,
                lsp::InlineCompletionContext{lsp::kTriggerAutomatic, std::nullopt}}));
        REQUIRE(id);
        last = std::get<std::int64_t>(*id);
        if (first == 0) first = last;

        next_key += kKeyInterval;
        while (true) {
            const Duration left = next_key - std::chrono::steady_clock::now();
            if (left <= Duration::zero()) break;
            Result<std::optional<lsp::Message>> message = client->receive(left);
            REQUIRE(message);
            if (*message) answers.take(**message, last);
        }
        const Result<lsp::LspAny> answer = watcher->call("hearth/status", {}, kPatience);
        REQUIRE(answer);
        // The successor is admitted in the step that drops its predecessor: never two at once,
        // beside one prompt that is computed for later.
        CHECK(lsp::from_any<lsp::HearthStatus>(*answer)->running <= 2);
        if (last - first == kCharacters / 2) resident_early = resident_bytes(daemon);
    }
    while (answers.count[last] == 0) {
        Result<std::optional<lsp::Message>> message = client->receive(kPatience);
        REQUIRE(message);
        REQUIRE(*message);
        answers.take(**message, last);
    }
    CHECK(answers.is_result[last]);
    CHECK(answers.is_ordered);
    for (std::int64_t id = first; id <= last; ++id) {
        CAPTURE(id);
        CHECK(answers.count[id] == 1);
    }
    CHECK(resident_bytes(daemon) - resident_early < kGrowthBytesMax);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (scenario.status().waiting != 0 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(kKeyInterval);  // dropped in the engine's next step
    }
    CHECK(scenario.status().waiting == 0);
}

}  // namespace
}  // namespace hearth::test

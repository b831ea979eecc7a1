// Who starts the daemon, who replaces it, how it ends.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <future>
#include <vector>

#include <catch2/catch.hpp>

#include "core/base/version.h"
#include "tests/scenarios/support/daemon_fixture.h"

namespace hearth::test {
namespace {

using lsp::Client;

TEST_CASE("clients that start at once find themselves with one daemon", "[scenario][lifecycle]") {
    const Scenario scenario;
    std::vector<std::future<std::unique_ptr<Client>>> starts;
    for (int i = 0; i < 4; ++i) {
        starts.push_back(std::async(std::launch::async, [&] { return scenario.start(); }));
    }
    std::vector<std::unique_ptr<Client>> clients;
    for (auto& start : starts) {
        clients.push_back(start.get());
    }
    const lsp::HearthStatus status = scenario.status();
    CHECK(status.clients == 5);
    CHECK(status.build_id == build_id());
    CHECK(status.model == scenario.file("tiny.gguf"));
    CHECK(status.plugins.size() == 4);
    CHECK(left_out_plugins(status) == 0);
}

TEST_CASE("the settings choose how keys and values are kept, the command line goes before them",
          "[scenario][lifecycle]") {
    const Scenario scenario(R"({"kv_cache": "q8_0"})");
    const auto has_blocks = [&] {
        return scenario.status().placement.find("cache in Q8_0") != std::string::npos;
    };
    scenario.start();
    CHECK(has_blocks());
    CHECK(scenario.hearth({"stop"}).exit_code == 0);
    scenario.start({"--kv-cache", "f16"});
    CHECK_FALSE(has_blocks());
}

TEST_CASE("a file beside the model that holds no block for it costs a sentence",
          "[scenario][lifecycle]") {
    const Scenario scenario;
    std::ofstream(scenario.file("mtp.gguf")) << "no model at all, but long enough to be one";
    scenario.start();
    const auto left_out = scenario.status().left_out;
    CHECK(std::ranges::count_if(left_out, [](const std::string& text) {
              return text.find("mtp.gguf") != std::string::npos;
          }) == 1);
    CHECK(scenario.hearth({"stop"}).exit_code == 0);
    scenario.start({"--prediction-block", "none"});
    CHECK(left_out_plugins(scenario.status()) == 0);
}

TEST_CASE("after a crash the next client starts a new daemon", "[scenario][lifecycle]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    const pid_t first = scenario.daemon_process();
    ::kill(first, SIGKILL);
    CHECK_FALSE(client->receive(kPatience));
    CHECK_FALSE(client->status_byte());
    const std::unique_ptr<Client> again = scenario.start();
    CHECK(scenario.daemon_process() != first);
}

TEST_CASE("an idle daemon of another build makes room, a busy one serves on and says so",
          "[scenario][lifecycle]") {
    const Scenario scenario;
    std::unique_ptr<Client> kept = scenario.start();
    const auto hello_of_other_build = [&] {
        Client client(*lsp::connect_unix(lsp::socket_path(scenario.runtime_folder())));
        return call<lsp::HearthWelcome>(
            client, "hearth/hello", lsp::HearthHello{"other-build", 1, "/", {}});
    };
    const lsp::HearthWelcome busy = hello_of_other_build();
    CHECK(busy.is_accepted);
    CHECK(busy.message.find("hearth stop") != std::string::npos);
    const pid_t first = scenario.daemon_process();
    kept.reset();
    // The daemon notices that its client has gone in its own time.
    while (scenario.status().clients > 1) {
    }
    CHECK_FALSE(hello_of_other_build().is_accepted);
    const std::unique_ptr<Client> next = scenario.start();
    CHECK(scenario.daemon_process() != first);
}

TEST_CASE("a second daemon in the same folder ends with a sentence", "[scenario][lifecycle]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    const Outcome outcome = scenario.hearth({"serve"});
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.err.find("another daemon serves") != std::string::npos);
}

TEST_CASE("SIGTERM ends the daemon in good order", "[scenario][lifecycle]") {
    const Scenario scenario;
    const pid_t process = Scenario::spawn({Scenario::built("bin/hearthd")});
    const std::unique_ptr<Client> client = scenario.await_daemon();
    CHECK(scenario.daemon_process() == process);
    ::kill(process, SIGTERM);
    CHECK(Scenario::wait(process) == 0);
    CHECK_FALSE(client->receive(kPatience));
    CHECK(client->status_byte() == 1);
    CHECK(::access(lsp::socket_path(scenario.runtime_folder()).c_str(), F_OK) != 0);
}

TEST_CASE("a model that cannot be used is named to whoever started the daemon",
          "[scenario][lifecycle]") {
    const Scenario scenario;
    ::setenv("HEARTH_MODEL", scenario.write("broken.gguf", "GGUF and then nothing").c_str(), 1);
    const Outcome broken =
        scenario.hearth({"complete", scenario.write("a.c", "int"), "--at", "1:4"});
    CHECK(broken.exit_code == 1);
    CHECK(broken.err.find("broken.gguf") != std::string::npos);
    ::setenv("HEARTH_MODEL", scenario.file("missing.gguf").c_str(), 1);
    const Outcome missing = scenario.hearth({"complete", scenario.file("a.c"), "--at", "1:4"});
    CHECK(missing.exit_code == 1);
    CHECK(missing.err.find("--model") != std::string::npos);
}

TEST_CASE("a client whose process has died is let go", "[scenario][lifecycle]") {
    const Scenario scenario;
    const std::unique_ptr<Client> client = scenario.start();
    const pid_t editor = Scenario::spawn({"/bin/sleep", "600"});
    lsp::InitializeParams params;
    params.process_id = editor;
    call<lsp::InitializeResult>(*client, "initialize", params);
    // The daemon looks every two seconds: once it must have seen the process alive.
    CHECK_FALSE(client->receive(std::chrono::seconds(5))->has_value());
    ::kill(editor, SIGKILL);
    Scenario::wait(editor);
    CHECK_FALSE(client->receive(kPatience));
}

}  // namespace
}  // namespace hearth::test

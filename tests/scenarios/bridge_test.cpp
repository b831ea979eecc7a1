// `hearth lsp` as an editor runs it: over pipes, with an exit code.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/scenarios/support/daemon_fixture.h"

extern char** environ;

namespace hearth::test {
namespace {

using lsp::Client;

/// One bridge and the pipes to it.
struct Bridge {
    pid_t process = 0;
    std::unique_ptr<Client> client;

    Bridge() {
        int to[2];
        int from[2];
        if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0)
            throw std::runtime_error("pipe");
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, to[0], STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&files, from[1], STDOUT_FILENO);
        std::string program = Scenario::built("bin/hearth");
        std::string command = "lsp";
        std::string flag = "--stdio";
        char* argv[] = {program.data(), command.data(), flag.data(), nullptr};
        if (::posix_spawn(&process, program.c_str(), &files, nullptr, argv, environ) != 0) {
            throw std::runtime_error("spawn");
        }
        posix_spawn_file_actions_destroy(&files);
        ::close(to[0]);
        ::close(from[1]);
        client = std::make_unique<Client>(lsp::FileDescriptor(from[0]), lsp::FileDescriptor(to[1]));
    }
};

TEST_CASE("the bridge starts the daemon, carries a conversation and ends as the protocol asks",
          "[scenario][bridge]") {
    const Scenario scenario;
    Bridge bridge;
    CHECK(initialize(*bridge.client).position_encoding == "utf-16");
    open_document(*bridge.client, "file:///w/a.cpp", "int a = \n");
    CHECK(call<lsp::InlineCompletionList>(
              *bridge.client,
              "textDocument/inlineCompletion",
              lsp::InlineCompletionParams{{"file:///w/a.cpp"}, {0, 8}, {}})
              .items.size() <= 1);
    SECTION("shutdown and exit: 0") {
        CHECK(bridge.client->call("shutdown", {}, kPatience));
        CHECK(bridge.client->send_notification("exit", {}));
        CHECK(Scenario::wait(bridge.process) == 0);
    }
    SECTION("exit alone: 1") {
        CHECK(bridge.client->send_notification("exit", {}));
        CHECK(Scenario::wait(bridge.process) == 1);
    }
    SECTION("the editor closes its end: 1") {
        bridge.client.reset();
        CHECK(Scenario::wait(bridge.process) == 1);
    }
    SECTION("the daemon dies: 1") {
        ::kill(scenario.daemon_process(), SIGKILL);
        CHECK(Scenario::wait(bridge.process) == 1);
    }
}

TEST_CASE("two editors share one daemon, and the end of one leaves the other alone",
          "[scenario][bridge]") {
    const Scenario scenario;
    Bridge one;
    Bridge two;
    initialize(*one.client);
    initialize(*two.client);
    CHECK(scenario.status().clients == 3);
    ::kill(one.process, SIGKILL);
    Scenario::wait(one.process);
    open_document(*two.client, "file:///w/a.cpp", "int a = \n");
    CHECK(two.client->call("hearth/status", {}, kPatience));
}

}  // namespace
}  // namespace hearth::test

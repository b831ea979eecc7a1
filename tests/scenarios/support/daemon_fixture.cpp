#include "tests/scenarios/support/daemon_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/support/tiny_model.h"

extern char** environ;

namespace hearth::test {
namespace {

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

pid_t spawn_with(const std::vector<std::string>& words, posix_spawn_file_actions_t* files) {
    std::vector<std::string> copies = words;
    std::vector<char*> argv;
    for (std::string& word : copies) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    pid_t process = 0;
    if (::posix_spawn(&process, argv[0], files, nullptr, argv.data(), environ) != 0) {
        throw std::runtime_error("cannot start " + words.front());
    }
    return process;
}

}  // namespace

Scenario::Scenario(const std::string& settings) : runtime_folder_(folder_.file("run")) {
    ::mkdir(runtime_folder_.c_str(), 0700);
    ::setenv("HEARTH_RUNTIME_DIR", runtime_folder_.c_str(), 1);
    ::setenv("HEARTH_SETTINGS", write("settings.json", settings).c_str(), 1);
    ::setenv("HEARTH_MODEL", write_tiny_model(file("tiny.gguf")).c_str(), 1);
}

Scenario::~Scenario() {
    const Result<std::unique_ptr<lsp::Client>> client =
        lsp::connect_daemon(runtime_folder_, nullptr);
    if (!client) return;
    const pid_t process = daemon_process();
    static_cast<void>((*client)->call("hearth/stop", {}, kPatience));
    for (int i = 0; i < 3000 && ::kill(process, 0) == 0; ++i) {
        ::waitpid(process, nullptr, WNOHANG);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(::kill(process, 0) != 0);
}

std::string Scenario::write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
}

std::string Scenario::built(const std::string& path) {
    return std::string(HEARTH_BINARY_DIR) + "/" + path;
}

pid_t Scenario::spawn(const std::vector<std::string>& words) {
    return spawn_with(words, nullptr);
}

int Scenario::wait(pid_t process) {
    int status = 0;
    while (::waitpid(process, &status, 0) < 0) {
        if (errno != EINTR) throw std::runtime_error("waitpid failed");
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Outcome Scenario::run(const std::vector<std::string>& words, const std::string& input) const {
    const std::string out = file("out");
    const std::string err = file("err");
    const std::string in = write("in", input);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, in.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(
        &files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(
        &files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const pid_t process = spawn_with(words, &files);
    posix_spawn_file_actions_destroy(&files);
    Outcome outcome;
    outcome.exit_code = wait(process);
    outcome.out = read_file(out);
    outcome.err = read_file(err);
    return outcome;
}

Outcome Scenario::hearth(const std::vector<std::string>& words, const std::string& input) const {
    std::vector<std::string> all = {built("bin/hearth")};
    all.insert(all.end(), words.begin(), words.end());
    return run(all, input);
}

std::unique_ptr<lsp::Client> Scenario::start(const std::vector<std::string>& words) const {
    lsp::DaemonStart start;
    start.program = built("bin/hearthd");
    start.arguments = words;
    Result<std::unique_ptr<lsp::Client>> client = lsp::connect_daemon(runtime_folder_, &start);
    if (!client) throw std::runtime_error(client.error().text);
    return *std::move(client);
}

std::unique_ptr<lsp::Client> Scenario::connect() const {
    Result<std::unique_ptr<lsp::Client>> client = lsp::connect_daemon(runtime_folder_, nullptr);
    if (!client) throw std::runtime_error(client.error().text);
    return *std::move(client);
}

std::unique_ptr<lsp::Client> Scenario::await_daemon() const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (true) {
        Result<std::unique_ptr<lsp::Client>> client = lsp::connect_daemon(runtime_folder_, nullptr);
        if (client) return *std::move(client);
        if (std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error(client.error().text);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

lsp::HearthStatus Scenario::status() const {
    const std::unique_ptr<lsp::Client> client = connect();
    const Result<lsp::LspAny> answer = client->call("hearth/status", {}, kPatience);
    if (!answer) throw std::runtime_error(answer.error().text);
    return *lsp::from_any<lsp::HearthStatus>(*answer);
}

pid_t Scenario::daemon_process() const {
    return static_cast<pid_t>(status().process_id);
}

std::ptrdiff_t left_out_plugins(const lsp::HearthStatus& status) {
    return std::ranges::count_if(status.left_out, [](const std::string& reason) {
        return !reason.starts_with("accelerator ");
    });
}

std::int64_t resident_bytes(pid_t process) {
    std::istringstream statm(read_file("/proc/" + std::to_string(process) + "/statm"));
    std::int64_t size_pages = 0;
    std::int64_t resident_pages = 0;
    statm >> size_pages >> resident_pages;
    return resident_pages * ::sysconf(_SC_PAGESIZE);
}

lsp::InitializeResult initialize(lsp::Client& client, const lsp::ClientCapabilities& capabilities) {
    lsp::InitializeParams params;
    params.process_id = ::getpid();
    params.client_name = "scenario";
    params.workspace_folders = {{"file:///w", "w"}};
    params.capabilities = capabilities;
    const auto result = call<lsp::InitializeResult>(client, "initialize", params);
    static_cast<void>(client.send_notification("initialized", {}));
    return result;
}

void open_document(lsp::Client& client, const std::string& uri, const std::string& text) {
    static_cast<void>(client.send_notification(
        "textDocument/didOpen", to_any(lsp::DidOpenTextDocumentParams{{uri, "cpp", 1, text}})));
}

}  // namespace hearth::test

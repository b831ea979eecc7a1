#include "lsp/client/daemon_start.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "core/base/version.h"

extern char** environ;

namespace hearth::lsp {
namespace {

constexpr Duration kHelloPatience = std::chrono::seconds(30);
constexpr Duration kRetryDelay = std::chrono::milliseconds(5);
constexpr off_t kLogBytesMax = 1 << 20;
constexpr std::streamoff kLogTailBytes = 2000;

std::string folder_of(const char* variable, const char* below) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') return {};
    return std::string(value) + below;
}

std::string log_path(const std::string& runtime_folder) {
    return runtime_folder + "/hearthd.log";
}

std::string read_log_tail(const std::string& runtime_folder) {
    std::ifstream file(log_path(runtime_folder), std::ios::ate | std::ios::binary);
    if (!file) return {};
    const std::streamoff size = file.tellg();
    file.seekg(std::max<std::streamoff>(0, size - kLogTailBytes));
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return text;
}

/// Takes the lock that decides who starts the daemon; held until the descriptor closes.
Result<FileDescriptor> lock_start(const std::string& runtime_folder) {
    const std::string path = runtime_folder + "/start.lock";
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.is_open())
        return fail(ErrorCode::io, "cannot open " + path + ": " + std::strerror(errno), "client");
    while (::flock(file.get(), LOCK_EX) != 0) {
        if (errno != EINTR)
            return fail(
                ErrorCode::io, "cannot lock " + path + ": " + std::strerror(errno), "client");
    }
    return file;
}

/// Starts the daemon in a session of its own, its output in the log file.
Result<pid_t> spawn_daemon(const std::string& runtime_folder, const DaemonStart& start) {
    const std::string log = log_path(runtime_folder);
    struct stat info {};
    const bool is_large = ::stat(log.c_str(), &info) == 0 && info.st_size > kLogBytesMax;
    const int log_flags = O_WRONLY | O_CREAT | O_APPEND | (is_large ? O_TRUNC : 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), log_flags, 0600);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);

    std::vector<std::string> words = {start.program};
    words.insert(words.end(), start.arguments.begin(), start.arguments.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    pid_t process = 0;
    const int error =
        ::posix_spawn(&process, start.program.c_str(), &files, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        return fail(
            ErrorCode::io, "cannot start " + start.program + ": " + std::strerror(error), "client");
    }
    return process;
}

LspAny make_hello() {
    HearthHello hello;
    hello.build_id = build_id();
    hello.process_id = ::getpid();
    std::array<char, 4096> folder{};
    if (::getcwd(folder.data(), folder.size()) != nullptr) hello.working_folder = folder.data();
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const std::size_t equals = text.find('=');
        if (text.substr(0, 7) == "HEARTH_" && equals != std::string_view::npos) {
            hello.environment[std::string(text.substr(0, equals))] = text.substr(equals + 1);
        }
    }
    return to_any(hello);
}

/// A client that has said hello; empty when the daemon there makes room for another build.
Result<std::unique_ptr<Client>> try_connect(const std::string& path) {
    HEARTH_TRY(FileDescriptor socket, connect_unix(path));
    auto client = std::make_unique<Client>(std::move(socket));
    HEARTH_TRY(const LspAny answer, client->call("hearth/hello", make_hello(), kHelloPatience));
    HEARTH_TRY(const HearthWelcome welcome, from_any<HearthWelcome>(answer));
    if (!welcome.is_accepted) return std::unique_ptr<Client>();
    return client;
}

/// Waits until the daemon that was just started answers.
Result<std::unique_ptr<Client>> await_daemon(const std::string& runtime_folder,
                                             pid_t process,
                                             TimePoint deadline) {
    while (true) {
        Result<std::unique_ptr<Client>> client = try_connect(socket_path(runtime_folder));
        if (client && *client != nullptr) return client;
        int status = 0;
        if (::waitpid(process, &status, WNOHANG) == process) {
            return fail(ErrorCode::unavailable,
                        "the daemon ended while starting; the end of " + log_path(runtime_folder) +
                            " says:\n" + read_log_tail(runtime_folder),
                        "client");
        }
        if (std::chrono::steady_clock::now() > deadline) {
            return fail(ErrorCode::timed_out,
                        "the daemon was started but did not answer in time; see " +
                            log_path(runtime_folder),
                        "client");
        }
        std::this_thread::sleep_for(kRetryDelay);
    }
}

}  // namespace

Result<std::string> ensure_runtime_folder() {
    std::string folder = folder_of("HEARTH_RUNTIME_DIR", "");
    if (folder.empty()) folder = folder_of("XDG_RUNTIME_DIR", "/hearth");
    if (folder.empty()) {
        const std::string temporary = folder_of("TMPDIR", "");
        folder =
            (temporary.empty() ? "/tmp" : temporary) + "/hearth-" + std::to_string(::geteuid());
    }
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
        return fail(ErrorCode::io,
                    "cannot make the folder " + folder + ": " + std::strerror(errno),
                    "client");
    }
    struct stat info {};
    if (::lstat(folder.c_str(), &info) != 0) {
        return fail(ErrorCode::io,
                    "cannot look at the folder " + folder + ": " + std::strerror(errno),
                    "client");
    }
    if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
        (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return fail(
            ErrorCode::unsupported,
            folder +
                " is not a folder that only this user may write to; set HEARTH_RUNTIME_DIR to one",
            "client");
    }
    return folder;
}

std::string socket_path(const std::string& runtime_folder) {
    return runtime_folder + "/hearthd.sock";
}

Result<std::unique_ptr<Client>> connect_daemon(const std::string& runtime_folder,
                                               const DaemonStart* start) {
    const std::string path = socket_path(runtime_folder);
    Result<std::unique_ptr<Client>> present = try_connect(path);
    if (present && *present != nullptr) return present;
    if (start == nullptr) {
        if (present)
            return fail(ErrorCode::unavailable, "the daemon is ending; try again", "client");
        return fail(std::move(present).error());
    }
    HEARTH_TRY(const FileDescriptor lock, lock_start(runtime_folder));
    const TimePoint deadline = std::chrono::steady_clock::now() + start->patience;
    while (std::chrono::steady_clock::now() < deadline) {
        present = try_connect(path);
        if (present && *present != nullptr) return present;
        if (!present) {
            HEARTH_TRY(const pid_t process, spawn_daemon(runtime_folder, *start));
            return await_daemon(runtime_folder, process, deadline);
        }
        // An idle daemon of another build has just agreed to end: its socket goes with it.
        std::this_thread::sleep_for(kRetryDelay);
    }
    return fail(ErrorCode::timed_out,
                "the daemon of another build did not end in time; run: hearth stop",
                "client");
}

}  // namespace hearth::lsp

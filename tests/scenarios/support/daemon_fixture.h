// One daemon of its own for one scenario: a runtime folder, settings and a generated model; ended
// at the end.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "lsp/client/client.h"
#include "lsp/client/daemon_start.h"
#include "tests/support/temporary_folder.h"

namespace hearth::test {

inline constexpr Duration kPatience = std::chrono::seconds(60);

/// The generated model is sure of nothing and says no sensible word: with these settings the
/// product shows what it says all the same.
inline constexpr const char* kUngated =
    R"({"completion_confidence": 0, "completion_copy": false, "answer_confidence": 0})";

/// What a child process left behind.
struct Outcome {
    int exit_code = -1;  ///< 128 + signal where a signal ended it
    std::string out;
    std::string err;
};

/// The environment in which programs of one scenario run. Sets the variables of this process, so
/// one at a time.
class Scenario {
  public:
    /// `settings` is the text of the settings file.
    explicit Scenario(const std::string& settings = kUngated);
    /// Ends the daemon, if one runs, and checks that it left nothing running.
    ~Scenario();
    Scenario(const Scenario&) = delete;
    Scenario& operator=(const Scenario&) = delete;

    [[nodiscard]] const std::string& runtime_folder() const { return runtime_folder_; }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }
    /// Writes a file into the scenario's folder and returns its path.
    std::string write(const std::string& name, const std::string& text) const;

    /// The path of a program or file of the build.
    static std::string built(const std::string& path);
    /// Runs a program to its end, `input` on its standard input.
    Outcome run(const std::vector<std::string>& words, const std::string& input = {}) const;
    /// Runs `hearth WORDS...`.
    Outcome hearth(const std::vector<std::string>& words, const std::string& input = {}) const;
    /// Starts a program; its process id.
    static pid_t spawn(const std::vector<std::string>& words);
    /// Waits for a process that spawn() started; 128 + signal where a signal ended it.
    static int wait(pid_t process);

    /// Starts hearthd in the background, as a client would, with further words, and connects.
    std::unique_ptr<lsp::Client> start(const std::vector<std::string>& words = {}) const;
    /// Another client of the daemon that runs.
    std::unique_ptr<lsp::Client> connect() const;
    /// The first client of a daemon that spawn() started: waits until it listens.
    std::unique_ptr<lsp::Client> await_daemon() const;
    /// The process of the daemon that runs.
    pid_t daemon_process() const;
    lsp::HearthStatus status() const;

  private:
    TemporaryFolder folder_;
    std::string runtime_folder_;
};

/// How many of what a daemon left out are plugins: an accelerator without its device is no fault.
std::ptrdiff_t left_out_plugins(const lsp::HearthStatus& status);

/// Resident memory of a process in bytes.
std::int64_t resident_bytes(pid_t process);

/// initialize and initialized.
lsp::InitializeResult initialize(lsp::Client& client,
                                 const lsp::ClientCapabilities& capabilities = {});

void open_document(lsp::Client& client, const std::string& uri, const std::string& text);

/// A call that must succeed, with a typed answer.
template <typename T, typename P>
T call(lsp::Client& client, const std::string& method, const P& params) {
    Result<T> result = client.call<T>(method, params, kPatience);
    if (!result) throw std::runtime_error(method + ": " + result.error().text);
    return *std::move(result);
}

}  // namespace hearth::test

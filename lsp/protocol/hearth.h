// What the daemon answers beside standard LSP, for hearth's own command line: hearth/status,
// hearth/stop, hearth/complete, hearth/explain, hearth/fix. They carry the text with them; no
// document need be open.
#pragma once

#include "lsp/protocol/basic.h"

namespace hearth::lsp {

/// hearth/hello, the first request on a connection: who comes. Editors never send it; hearth's
/// programs do.
struct HearthHello {
    std::string build_id;
    std::int64_t process_id = 0;
    std::string working_folder;
    std::map<std::string, std::string> environment;  ///< HEARTH_* variables of the caller

    friend bool operator==(const HearthHello&, const HearthHello&) = default;
};
struct HearthWelcome {
    std::string build_id;
    bool is_accepted =
        true;  ///< false: the daemon is of another build, idle, and ends now: start a new one
    std::string message;

    friend bool operator==(const HearthWelcome&, const HearthWelcome&) = default;
};

struct HearthStatus {
    std::string version;
    std::string build_id;
    std::string model;
    std::string backend;
    std::int64_t process_id = 0;
    std::int64_t clients = 0;
    std::int64_t requests = 0;  ///< completions, explanations and fixes answered since start
    double uptime_s = 0.0;
    std::int64_t running = 0;
    std::int64_t waiting = 0;
    std::vector<std::string> plugins;
    std::vector<std::string> left_out;  ///< plugins that were refused, a sentence each
    std::string placement;              ///< where the model lies, and the context it has room for
    std::int64_t steps = 0;             ///< of the engine, since start ...
    std::int64_t steps_abandoned = 0;   ///< ... and those given up, as nobody waited any more
    std::int64_t tokens_drafted = 0;    ///< guessed before the model said them, since start ...
    std::int64_t tokens_guessed_right = 0;    ///< ... and what it then said itself
    std::int64_t tokens_predicted = 0;        ///< of those guessed: by the model's own block ...
    std::int64_t tokens_predicted_right = 0;  ///< ... and what the model then said itself

    friend bool operator==(const HearthStatus&, const HearthStatus&) = default;
};

struct HearthTextParams {
    std::string path;
    std::string language;
    std::string text;
    std::uint64_t begin_byte = 0;  ///< complete: the cursor; else the begin of the selection
    std::uint64_t end_byte = 0;
    std::optional<std::string> message;  ///< fix: what a compiler said

    friend bool operator==(const HearthTextParams&, const HearthTextParams&) = default;
};
struct HearthTextResult {
    std::string text;
    bool is_found = false;
    std::uint64_t begin_byte = 0;  ///< fix: the bytes that `text` replaces
    std::uint64_t end_byte = 0;
    std::int64_t tokens = 0;
    std::int64_t prompt_tokens = 0;
    std::int64_t cached_tokens = 0;
    double first_token_ms = 0.0;
    double total_ms = 0.0;

    friend bool operator==(const HearthTextResult&, const HearthTextResult&) = default;
};

}  // namespace hearth::lsp

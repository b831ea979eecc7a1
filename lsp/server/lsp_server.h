// The door of lsp/server: what the daemon answers on one connection. It turns LSP into values for
// core/assist and answers back into LSP; it knows no socket and no model. Public headers:
// lsp_server.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/assist/assist.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "lsp/protocol/protocol.h"

namespace hearth::lsp {

/// Every bound of the room.
struct ServerLimits {
    std::size_t pending_max = 64;       ///< unanswered requests of one connection; more are refused
    std::size_t explanations_max = 32;  ///< kept to be shown; the oldest goes first
    std::size_t actions_max = 16;       ///< offered at one place
    /// A completion that nobody asked for aloud is answered by then with what is there, be it
    /// nothing.
    Duration completion_deadline = std::chrono::milliseconds(2000);
};

/// What the server needs of the daemon. All outlive it.
struct ServerParts {
    assist::Assistant& assistant;
    Log& log;
    const Clock& clock;
    /// Runs a task on [io]; callable from any thread.
    std::function<void(std::function<void()>)> post;
    /// Fills what only the daemon knows (hearth/status).
    std::function<HearthStatus()> status;
    /// Ends the daemon in good order (hearth/stop).
    std::function<void()> stop;
};

/// Where one connection's messages go.   Thread: io.
struct Outbox {
    std::function<void(std::string_view body)> send;
    /// The conversation is over; `status` becomes the bridge's exit code.
    std::function<void(std::uint8_t status)> finish;
};

/// One connection: lifecycle, documents, requests in flight.
///
/// Thread: io. Owner: the daemon, through a shared_ptr; answers that come after its end are
/// dropped.
class Session {
  public:
    virtual ~Session() = default;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// One message as it came; broken ones are answered and cost nothing else.
    virtual void on_message(std::string_view body) = 0;
    /// A message over the size limit was skipped.
    virtual void on_oversize(std::size_t body_bytes) = 0;
    /// The peer has gone: everything in flight is cancelled.
    virtual void on_closed() = 0;
    /// window/showMessage to the user, once the client is initialised.
    virtual void show_message(std::uint32_t type, const std::string& text) = 0;
    /// The editor's process, where it told it.
    [[nodiscard]] virtual std::optional<std::int64_t> client_process_id() const = 0;
    /// Requests that are not answered yet.
    [[nodiscard]] virtual std::size_t pending_count() const = 0;
    /// Completions, explanations and fixes answered with a result.
    [[nodiscard]] virtual std::uint64_t answered_count() const = 0;

    static std::shared_ptr<Session> make(ServerParts parts,
                                         const ServerLimits& limits,
                                         Outbox outbox);

  protected:
    Session() = default;
};

}  // namespace hearth::lsp

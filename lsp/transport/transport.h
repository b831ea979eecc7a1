// The door of lsp/transport: an event loop, Unix sockets and the messages on them. Public headers:
// transport.h, framing.h. Boost.Asio stays inside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "lsp/transport/framing.h"

namespace hearth::lsp {

/// Bytes that may wait for one slow reader before its connection is closed.
inline constexpr std::size_t kOutgoingBytesMax = std::size_t{64} << 20;

/// The [io] thread's loop.
class IoLoop {
  public:
    static std::unique_ptr<IoLoop> make();

    virtual ~IoLoop() = default;
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;

    /// Runs until stop(); names the thread [io].
    virtual void run() = 0;
    /// Thread: any.
    virtual void stop() = 0;
    /// Runs `task` on [io], after what is queued.   Thread: any.
    virtual void post(std::function<void()> task) = 0;
    /// Runs `task` on [io] once `delay` has passed, unless the loop has stopped.   Thread: io.
    virtual void post_after(Duration delay, std::function<void()> task) = 0;
    /// Runs `task` on [io] when one of SIGINT, SIGTERM arrives.   Thread: before run().
    virtual void on_stop_signal(std::function<void()> task) = 0;

  protected:
    IoLoop() = default;
};

/// One peer.   Thread: io.
class Connection {
  public:
    struct Handlers {
        std::function<void(FrameEvent)> on_frame;
        std::function<void()> on_closed;  ///< once, by whichever side; nothing comes after it
    };

    virtual ~Connection() = default;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Begins to read. The handlers are dropped when the connection ends.
    virtual void start(Handlers handlers) = 0;
    /// Queues one message. A reader so slow that kOutgoingBytesMax would wait for it is cut off.
    virtual void send(std::string_view body) = 0;
    /// Sends what is queued, then `status` as one last byte, then closes.
    virtual void finish(std::uint8_t status) = 0;
    virtual void close() = 0;
    /// The process at the other end; 0 where the system does not tell.
    [[nodiscard]] virtual std::int64_t peer_process_id() const = 0;

  protected:
    Connection() = default;
};

/// Accepts until it is destroyed.
class Listener {
  public:
    virtual ~Listener() = default;
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

  protected:
    Listener() = default;
};

/// Listens on a Unix socket with mode 0600; a dead socket file at `path` is replaced. Peers of
/// other users are refused.
///
/// Errors: io, too_large (path longer than a socket address holds).
Result<std::unique_ptr<Listener>> listen_unix(
    IoLoop& loop,
    const std::string& path,
    std::function<void(std::shared_ptr<Connection>)> on_connection);

}  // namespace hearth::lsp

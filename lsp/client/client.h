// The door of lsp/client: connects to the daemon, starting it if none runs, and calls it with
// protocol types. Used by the command line, the bridge and the tests. Public headers: client.h,
// daemon_start.h.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "lsp/protocol/protocol.h"
#include "lsp/transport/framing.h"

namespace hearth::lsp {

/// Owns a file descriptor.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    explicit FileDescriptor(int number) : number_(number) {}
    ~FileDescriptor();
    FileDescriptor(FileDescriptor&& other) noexcept : number_(other.release()) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept;
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;

    [[nodiscard]] int get() const { return number_; }
    [[nodiscard]] bool is_open() const { return number_ >= 0; }
    int release();

  private:
    int number_ = -1;
};

/// Connects to a Unix socket.   Errors: unavailable (nobody listens there), io.
Result<FileDescriptor> connect_unix(const std::string& path);

/// One conversation over a connected socket or pipe pair, message by message.
///
/// Thread: one at a time.
class Client {
  public:
    /// Takes a connected socket.
    explicit Client(FileDescriptor socket);
    /// Over two descriptors: what is read from, what is written to (a child's pipes).
    Client(FileDescriptor input, FileDescriptor output);

    /// Sends a request and waits for its answer; what else comes meanwhile is kept for receive().
    ///
    /// Errors: unavailable (the peer closed), timed_out, and the answer's own error as internal
    /// with its number in the text.
    Result<LspAny> call(const std::string& method, LspAny params, Duration patience);
    template <typename T, typename P>
    Result<T> call(const std::string& method, const P& params, Duration patience);

    /// Sends without waiting; the answer comes through receive().
    Result<RequestId> send_request(const std::string& method, LspAny params);
    Result<void> send_notification(const std::string& method, LspAny params);
    Result<void> send(const Message& message);
    /// Any bytes as one frame, for tests of broken messages.
    Result<void> send_body(std::string_view body);
    Result<void> send_raw(std::string_view bytes);

    /// The next message; empty when `patience` passes first.   Errors: unavailable (closed),
    /// corrupt.
    Result<std::optional<Message>> receive(Duration patience);

    /// Gives the socket away; nothing may be unread. The client is of no use afterwards.
    FileDescriptor take_socket() { return std::move(input_); }
    /// After the peer closed: the one byte it sent last.
    [[nodiscard]] std::optional<std::uint8_t> status_byte() const { return status_; }

  private:
    Result<std::optional<Message>> read_message(TimePoint deadline);

    FileDescriptor input_;
    FileDescriptor output_;  ///< not open: input_ goes both ways
    FrameReader reader_;
    std::deque<Message> kept_;
    std::int64_t next_id_ = 1;
    std::optional<std::uint8_t> status_;
};

template <typename T, typename P>
Result<T> Client::call(const std::string& method, const P& params, Duration patience) {
    HEARTH_TRY(const LspAny result, call(method, to_any(params), patience));
    return from_any<T>(result);
}

}  // namespace hearth::lsp

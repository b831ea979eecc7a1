#include "lsp/client/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hearth::lsp {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} * 1024;

std::string system_text() {
    return std::strerror(errno);
}

}  // namespace

FileDescriptor::~FileDescriptor() {
    if (number_ >= 0) ::close(number_);
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
        if (number_ >= 0) ::close(number_);
        number_ = other.release();
    }
    return *this;
}

int FileDescriptor::release() {
    return std::exchange(number_, -1);
}

Result<FileDescriptor> connect_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return fail(ErrorCode::too_large,
                    "socket path " + path + " is too long; set HEARTH_RUNTIME_DIR",
                    "client");
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.is_open())
        return fail(ErrorCode::io, "cannot make a socket: " + system_text(), "client");
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
        return fail(ErrorCode::unavailable,
                    "no daemon listens on " + path + ": " + system_text(),
                    "client");
    }
    return socket;
}

Client::Client(FileDescriptor socket) : input_(std::move(socket)) {}

Client::Client(FileDescriptor input, FileDescriptor output)
    : input_(std::move(input)),
      output_(std::move(output)) {}

Result<void> Client::send_raw(std::string_view bytes) {
    const int out = output_.is_open() ? output_.get() : input_.get();
    while (!bytes.empty()) {
        // A socket must not raise SIGPIPE; a pipe's owner ignores that signal.
        const ssize_t count = output_.is_open()
                                  ? ::write(out, bytes.data(), bytes.size())
                                  : ::send(out, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return fail(
                ErrorCode::unavailable, "cannot write to the daemon: " + system_text(), "client");
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

Result<void> Client::send_body(std::string_view body) {
    return send_raw(to_frame(body));
}

Result<void> Client::send(const Message& message) {
    return send_body(to_json(message));
}

Result<RequestId> Client::send_request(const std::string& method, LspAny params) {
    const RequestId id = next_id_++;
    HEARTH_CHECK(send(RpcRequest{id, method, std::move(params)}));
    return id;
}

Result<void> Client::send_notification(const std::string& method, LspAny params) {
    return send(RpcNotification{method, std::move(params)});
}

Result<std::optional<Message>> Client::read_message(TimePoint deadline) {
    std::array<char, kReadBytes> buffer;
    while (true) {
        if (std::optional<FrameEvent> event = reader_.next()) {
            const auto* frame = std::get_if<Frame>(&*event);
            if (frame == nullptr)
                return fail(
                    ErrorCode::corrupt, "the daemon sent something that is no message", "client");
            std::variant<Message, RpcFault> parsed = parse_message(frame->body);
            if (auto* fault = std::get_if<RpcFault>(&parsed)) {
                return fail(ErrorCode::corrupt,
                            "the daemon sent a broken message: " + fault->error.message,
                            "client");
            }
            return std::optional<Message>(std::get<Message>(std::move(parsed)));
        }
        const double left_ms = to_ms(deadline - std::chrono::steady_clock::now());
        pollfd wanted{input_.get(), POLLIN, 0};
        const int ready = ::poll(&wanted, 1, left_ms <= 0 ? 0 : static_cast<int>(left_ms) + 1);
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) return std::optional<Message>();
        const ssize_t count = ::read(input_.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) {
            if (reader_.rest().size() == 1)
                status_ = static_cast<std::uint8_t>(reader_.rest().front());
            return fail(ErrorCode::unavailable, "the daemon closed the connection", "client");
        }
        reader_.feed(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
    }
}

Result<std::optional<Message>> Client::receive(Duration patience) {
    if (!kept_.empty()) {
        Message message = std::move(kept_.front());
        kept_.pop_front();
        return std::optional<Message>(std::move(message));
    }
    return read_message(std::chrono::steady_clock::now() + patience);
}

Result<LspAny> Client::call(const std::string& method, LspAny params, Duration patience) {
    const TimePoint deadline = std::chrono::steady_clock::now() + patience;
    HEARTH_TRY(const RequestId id, send_request(method, std::move(params)));
    while (true) {
        HEARTH_TRY(std::optional<Message> message, read_message(deadline));
        if (!message) {
            return fail(ErrorCode::timed_out,
                        method + ": no answer from the daemon within " +
                            std::to_string(static_cast<long>(to_ms(patience))) + " ms",
                        "client");
        }
        auto* response = std::get_if<RpcResponse>(&*message);
        if (response == nullptr || response->id != id) {
            kept_.push_back(std::move(*message));
            continue;
        }
        if (const auto* error = std::get_if<RpcError>(&response->outcome)) {
            return fail(ErrorCode::internal,
                        error->message + " (" + std::to_string(static_cast<int>(error->code)) + ")",
                        "daemon");
        }
        return std::get<LspAny>(std::move(response->outcome));
    }
}

}  // namespace hearth::lsp

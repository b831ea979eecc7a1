#include "lsp/transport/transport.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "core/base/thread.h"

namespace hearth::lsp {
namespace {

namespace net = boost::asio;
using Socket = net::local::stream_protocol::socket;
using ErrorCodeOf = boost::system::error_code;

constexpr std::size_t kReadBytes = std::size_t{64} * 1024;

class AsioLoop final : public IoLoop {
  public:
    void run() override {
        name_thread(Thread::io);
        const auto work = net::make_work_guard(context_);
        context_.run();
    }
    void stop() override { context_.stop(); }
    void post(std::function<void()> task) override { net::post(context_, std::move(task)); }
    void post_after(Duration delay, std::function<void()> task) override {
        auto timer = std::make_shared<net::steady_timer>(context_, delay);
        timer->async_wait([timer, task = std::move(task)](const ErrorCodeOf& error) {
            if (!error) task();
        });
    }
    void on_stop_signal(std::function<void()> task) override {
        signals_.add(SIGINT);
        signals_.add(SIGTERM);
        signals_.async_wait([task = std::move(task)](const ErrorCodeOf& error, int) {
            if (!error) task();
        });
    }

    net::io_context& context() { return context_; }

  private:
    net::io_context context_{1};
    net::signal_set signals_{context_};
};

class UnixConnection final : public Connection,
                             public std::enable_shared_from_this<UnixConnection> {
  public:
    UnixConnection(Socket socket, std::int64_t peer)
        : socket_(std::move(socket)),
          peer_process_id_(peer) {}

    void start(Handlers handlers) override {
        handlers_ = std::move(handlers);
        read();
    }

    void send(std::string_view body) override {
        if (is_closed_ || is_finishing_) return;
        enqueue(to_frame(body));
    }

    void finish(std::uint8_t status) override {
        if (is_closed_ || is_finishing_) return;
        is_finishing_ = true;
        enqueue(std::string(1, static_cast<char>(status)));
    }

    void close() override {
        if (is_closed_) return;
        is_closed_ = true;
        ErrorCodeOf ignored;  // the peer may be gone already
        socket_.shutdown(Socket::shutdown_both, ignored);
        socket_.close(ignored);
        Handlers handlers = std::exchange(handlers_, {});
        if (handlers.on_closed) handlers.on_closed();
    }

    [[nodiscard]] std::int64_t peer_process_id() const override { return peer_process_id_; }

  private:
    void read() {
        socket_.async_read_some(
            net::buffer(input_),
            [self = shared_from_this()](const ErrorCodeOf& error, std::size_t count) {
                if (error) return self->close();
                self->reader_.feed(std::string_view(self->input_.data(), count));
                self->deliver();
                if (!self->is_closed_) self->read();
            });
    }

    void deliver() {
        while (!is_closed_) {
            std::optional<FrameEvent> event = reader_.next();
            if (!event) return;
            const bool is_broken = std::holds_alternative<BrokenStream>(*event);
            // A copy: the handler may close the connection, which drops the handlers.
            const auto on_frame = handlers_.on_frame;
            on_frame(std::move(*event));
            if (is_broken) return close();
        }
    }

    void enqueue(std::string bytes) {
        outgoing_bytes_ += bytes.size();
        if (outgoing_bytes_ > kOutgoingBytesMax) return close();
        outgoing_.push_back(std::move(bytes));
        if (outgoing_.size() == 1) write();
    }

    void write() {
        net::async_write(socket_,
                         net::buffer(outgoing_.front()),
                         [self = shared_from_this()](const ErrorCodeOf& error, std::size_t) {
                             if (error) return self->close();
                             self->outgoing_bytes_ -= self->outgoing_.front().size();
                             self->outgoing_.pop_front();
                             if (!self->outgoing_.empty()) return self->write();
                             if (self->is_finishing_) self->close();
                         });
    }

    Socket socket_;
    const std::int64_t peer_process_id_;
    Handlers handlers_;
    FrameReader reader_;
    std::array<char, kReadBytes> input_{};
    std::deque<std::string> outgoing_;
    std::size_t outgoing_bytes_ = 0;
    bool is_finishing_ = false;
    bool is_closed_ = false;
};

/// Who is at the other end; empty when it is another user.
std::optional<std::int64_t> check_peer(Socket& socket) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return std::nullopt;
    if (credentials.uid != ::geteuid()) return std::nullopt;
    return credentials.pid;
}

class UnixListener final : public Listener {
  public:
    UnixListener(net::io_context& context,
                 std::string path,
                 std::function<void(std::shared_ptr<Connection>)> accept)
        : acceptor_(context),
          path_(std::move(path)),
          on_connection_(std::move(accept)) {}
    ~UnixListener() override {
        ErrorCodeOf ignored;
        acceptor_.close(ignored);
        ::unlink(path_.c_str());
    }

    Result<void> open() {
        ErrorCodeOf error;
        const net::local::stream_protocol::endpoint endpoint(path_);
        acceptor_.open(endpoint.protocol(), error);
        if (!error) {
            ::unlink(path_.c_str());
            const mode_t mask = ::umask(0177);
            acceptor_.bind(endpoint, error);
            ::umask(mask);
        }
        if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
        if (error) {
            return fail(ErrorCode::io,
                        "cannot listen on the socket " + path_ + ": " + error.message(),
                        "transport");
        }
        accept();
        return {};
    }

  private:
    void accept() {
        acceptor_.async_accept([this](const ErrorCodeOf& error, Socket socket) {
            if (error == net::error::operation_aborted || !acceptor_.is_open()) return;
            if (!error) {
                if (const std::optional<std::int64_t> peer = check_peer(socket)) {
                    on_connection_(std::make_shared<UnixConnection>(std::move(socket), *peer));
                }
            }
            accept();
        });
    }

    net::local::stream_protocol::acceptor acceptor_;
    const std::string path_;
    const std::function<void(std::shared_ptr<Connection>)> on_connection_;
};

}  // namespace

std::unique_ptr<IoLoop> IoLoop::make() {
    return std::make_unique<AsioLoop>();
}

Result<std::unique_ptr<Listener>> listen_unix(
    IoLoop& loop,
    const std::string& path,
    std::function<void(std::shared_ptr<Connection>)> on_connection) {
    constexpr std::size_t kSocketPathBytesMax = 107;
    if (path.size() > kSocketPathBytesMax) {
        return fail(ErrorCode::too_large,
                    "socket path " + path + " is longer than " +
                        std::to_string(kSocketPathBytesMax) +
                        " bytes; set HEARTH_RUNTIME_DIR to a shorter folder",
                    "transport");
    }
    auto listener = std::make_unique<UnixListener>(
        static_cast<AsioLoop&>(loop).context(), path, std::move(on_connection));
    HEARTH_CHECK(listener->open());
    return std::unique_ptr<Listener>(std::move(listener));
}

}  // namespace hearth::lsp

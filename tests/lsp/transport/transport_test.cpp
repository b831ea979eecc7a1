#include "lsp/transport/transport.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "lsp/client/client.h"

namespace hearth::lsp {
namespace {

using std::chrono::seconds;

/// A loop on its own thread that answers every message with what `answer` makes of it.
class Echo {
  public:
    explicit Echo(std::function<void(Connection&, std::string)> answer) {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "hearth-test-XXXXXX").string();
        folder_ = ::mkdtemp(pattern.data());
        listener_ =
            *listen_unix(*loop_, path(), [this, answer](std::shared_ptr<Connection> connection) {
                Connection* raw = connection.get();
                connection->start({[raw, answer](FrameEvent event) {
                                       if (auto* frame = std::get_if<Frame>(&event))
                                           answer(*raw, frame->body);
                                   },
                                   [this] { closed_.set_value(); }});
                connections_.push_back(std::move(connection));
            });
        thread_ = std::thread([this] { loop_->run(); });
    }
    ~Echo() {
        loop_->stop();
        thread_.join();
        listener_.reset();
        std::filesystem::remove_all(folder_);
    }
    [[nodiscard]] std::string path() const { return folder_ + "/s"; }
    std::future<void> closed() { return closed_.get_future(); }
    IoLoop& loop() { return *loop_; }

  private:
    std::string folder_;
    std::unique_ptr<IoLoop> loop_ = IoLoop::make();
    std::vector<std::shared_ptr<Connection>> connections_;  ///< the loop's; may still be open
    std::unique_ptr<Listener> listener_;
    std::promise<void> closed_;
    std::thread thread_;
};

TEST_CASE("messages go both ways over a Unix socket that only its user may use",
          "[lsp][transport]") {
    Echo echo([](Connection& connection, std::string body) { connection.send("got " + body); });
    struct stat info {};
    REQUIRE(::stat(echo.path().c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);

    Result<FileDescriptor> socket = connect_unix(echo.path());
    REQUIRE(socket);
    FrameReader reader;
    const std::string big(3 << 20, 'b');
    const std::string sent = to_frame("one") + to_frame(big);
    std::thread writer([&] {
        std::string_view rest = sent;
        while (!rest.empty()) {
            const ssize_t count = ::write(socket->get(), rest.data(), rest.size());
            if (count <= 0) break;
            rest.remove_prefix(static_cast<std::size_t>(count));
        }
    });
    std::vector<std::string> frames;
    std::vector<char> buffer(1 << 16);
    while (frames.size() < 2) {
        const ssize_t count = ::read(socket->get(), buffer.data(), buffer.size());
        REQUIRE(count > 0);
        reader.feed(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
        while (std::optional<FrameEvent> event = reader.next()) {
            frames.push_back(std::get<Frame>(*event).body);
        }
    }
    writer.join();
    CHECK(frames[0] == "got one");
    CHECK(frames[1] == "got " + big);
}

TEST_CASE("finish sends what is queued, then the status byte, then closes", "[lsp][transport]") {
    Echo echo([](Connection& connection, std::string) {
        connection.send(R"({"jsonrpc":"2.0","method":"last"})");
        connection.finish(7);
        connection.send("never");
    });
    Result<FileDescriptor> socket = connect_unix(echo.path());
    REQUIRE(socket);
    Client client(std::move(*socket));
    REQUIRE(client.send_notification("x", {}));
    const Result<std::optional<Message>> last = client.receive(seconds(10));
    REQUIRE(last);
    CHECK(std::get<RpcNotification>(**last).method == "last");
    CHECK_FALSE(client.receive(seconds(10)));
    CHECK(client.status_byte() == 7);
    CHECK(echo.closed().wait_for(seconds(10)) == std::future_status::ready);
}

TEST_CASE("a peer that goes away is noticed", "[lsp][transport]") {
    Echo echo([](Connection&, std::string) {});
    { const Result<FileDescriptor> socket = connect_unix(echo.path()); }
    CHECK(echo.closed().wait_for(seconds(10)) == std::future_status::ready);
}

TEST_CASE("a client tells apart that nobody listens and that nobody answers", "[lsp][client]") {
    Echo echo([](Connection&, std::string) {});
    CHECK(connect_unix(echo.path() + "x").error().code == ErrorCode::unavailable);
    Result<FileDescriptor> socket = connect_unix(echo.path());
    REQUIRE(socket);
    Client client(std::move(*socket));
    CHECK(client.call("m", {}, Duration(0)).error().code == ErrorCode::timed_out);
}

TEST_CASE("a socket path that no address holds is refused", "[lsp][transport]") {
    const std::unique_ptr<IoLoop> loop = IoLoop::make();
    const auto listener =
        listen_unix(*loop, "/tmp/" + std::string(200, 'x'), [](std::shared_ptr<Connection>) {});
    REQUIRE_FALSE(listener);
    CHECK(listener.error().code == ErrorCode::too_large);
}

}  // namespace
}  // namespace hearth::lsp

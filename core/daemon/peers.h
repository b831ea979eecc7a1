// The daemon's clients: connections, their hello and their sessions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "lsp/server/lsp_server.h"
#include "lsp/transport/transport.h"

namespace hearth::daemon {

/// Thread: io.
class Peers {
  public:
    struct Options {
        std::string model_path;
        std::int32_t clients_max = 64;  ///< further connections are closed at once
    };
    Peers(lsp::ServerParts parts,
          lsp::ServerLimits limits,
          Options options,
          std::function<void()> stop)
        : parts_(std::move(parts)),
          limits_(limits),
          options_(std::move(options)),
          stop_(std::move(stop)) {}
    ~Peers();
    Peers(const Peers&) = delete;
    Peers& operator=(const Peers&) = delete;

    void add(std::shared_ptr<lsp::Connection> connection);
    /// Tells every editor.
    void show_message(std::uint32_t type, const std::string& text);
    /// Closes the connections whose editor process has died without closing them.
    void drop_orphans();
    /// Sends what is queued and ends every conversation.
    void finish_all();

    [[nodiscard]] std::size_t count() const { return peers_.size(); }
    [[nodiscard]] std::uint64_t answered_count() const;

  private:
    /// One connection. It keeps itself alive through its handlers until it closes.
    struct Peer {
        std::shared_ptr<lsp::Connection> connection;
        std::shared_ptr<lsp::Session> session;
        bool is_first_message = true;
        bool was_client_alive = false;  ///< its process was once seen under the number it told
    };

    void on_frame(const std::shared_ptr<Peer>& peer, lsp::FrameEvent event);
    void on_closed(const std::shared_ptr<Peer>& peer);
    /// True when the message was a hello and has been answered.
    bool try_hello(Peer& peer, const std::string& body);
    [[nodiscard]] std::string find_model_mismatch(const lsp::HearthHello& hello) const;

    const lsp::ServerParts parts_;
    const lsp::ServerLimits limits_;
    const Options options_;
    const std::function<void()> stop_;
    std::set<std::shared_ptr<Peer>> peers_;
    std::uint64_t answered_before_ = 0;  ///< by connections that have closed
};

}  // namespace hearth::daemon

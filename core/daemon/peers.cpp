#include "core/daemon/peers.h"

#include <signal.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "core/base/version.h"

namespace hearth::daemon {
namespace {

bool is_process_alive(std::int64_t process_id) {
    return ::kill(static_cast<pid_t>(process_id), 0) == 0 || errno == EPERM;
}

}  // namespace

Peers::~Peers() {
    for (const std::shared_ptr<Peer>& peer : std::set<std::shared_ptr<Peer>>(peers_)) {
        peer->connection->close();
    }
}

void Peers::add(std::shared_ptr<lsp::Connection> connection) {
    if (peers_.size() >= static_cast<std::size_t>(options_.clients_max)) {
        parts_.log.warning("daemon",
                           "a connection was refused: " + std::to_string(options_.clients_max) +
                               " clients are here");
        return connection->close();
    }
    auto peer = std::make_shared<Peer>();
    peer->connection = std::move(connection);
    lsp::Connection* raw = peer->connection.get();
    peer->session = lsp::Session::make(parts_,
                                       limits_,
                                       {[raw](std::string_view body) { raw->send(body); },
                                        [raw](std::uint8_t status) { raw->finish(status); }});
    peers_.insert(peer);
    raw->start({[this, peer](lsp::FrameEvent event) { on_frame(peer, std::move(event)); },
                [this, peer] { on_closed(peer); }});
}

void Peers::on_frame(const std::shared_ptr<Peer>& peer, lsp::FrameEvent event) {
    if (const auto* oversize = std::get_if<lsp::OversizeFrame>(&event)) {
        return peer->session->on_oversize(oversize->body_bytes);
    }
    if (const auto* broken = std::get_if<lsp::BrokenStream>(&event)) {
        return parts_.log.warning("daemon", "a client is cut off: " + broken->text);
    }
    const std::string& body = std::get<lsp::Frame>(event).body;
    if (std::exchange(peer->is_first_message, false) && try_hello(*peer, body)) return;
    peer->session->on_message(body);
}

void Peers::on_closed(const std::shared_ptr<Peer>& peer) {
    peer->session->on_closed();
    answered_before_ += peer->session->answered_count();
    peers_.erase(peer);
}

bool Peers::try_hello(Peer& peer, const std::string& body) {
    const auto parsed = lsp::parse_message(body);
    const auto* message = std::get_if<lsp::Message>(&parsed);
    const auto* request = message == nullptr ? nullptr : std::get_if<lsp::RpcRequest>(message);
    if (request == nullptr || request->method != "hearth/hello") return false;
    lsp::HearthWelcome welcome;
    welcome.build_id = build_id();
    const Result<lsp::HearthHello> hello = lsp::from_any<lsp::HearthHello>(request->params);
    if (!hello) {
        peer.connection->send(lsp::to_json(lsp::RpcResponse{
            request->id, lsp::RpcError{lsp::RpcErrorCode::invalid_params, hello.error().text}}));
        return true;
    }
    const bool is_other_build = hello->build_id != build_id();
    if (is_other_build && peers_.size() == 1) {
        welcome.is_accepted = false;
        welcome.message =
            "the idle daemon of build " + welcome.build_id + " makes room for " + hello->build_id;
        parts_.log.info("daemon", welcome.message);
    } else if (is_other_build) {
        welcome.message = "the daemon is of build " + welcome.build_id +
                          " and serves other clients; to change it run: hearth stop";
    } else {
        welcome.message = find_model_mismatch(*hello);
    }
    peer.connection->send(lsp::to_json(lsp::RpcResponse{request->id, lsp::to_any(welcome)}));
    if (!welcome.is_accepted) stop_();
    return true;
}

std::string Peers::find_model_mismatch(const lsp::HearthHello& hello) const {
    const auto wanted = hello.environment.find("HEARTH_MODEL");
    if (wanted == hello.environment.end()) return {};
    std::error_code error;
    const std::filesystem::path path = std::filesystem::path(hello.working_folder) / wanted->second;
    if (std::filesystem::equivalent(path, options_.model_path, error)) return {};
    return "the daemon serves " + options_.model_path + ", not " + wanted->second +
           "; to change it run: hearth stop";
}

void Peers::show_message(std::uint32_t type, const std::string& text) {
    for (const std::shared_ptr<Peer>& peer : std::set<std::shared_ptr<Peer>>(peers_)) {
        peer->session->show_message(type, text);
    }
}

void Peers::drop_orphans() {
    for (const std::shared_ptr<Peer>& peer : std::set<std::shared_ptr<Peer>>(peers_)) {
        const std::optional<std::int64_t> process = peer->session->client_process_id();
        if (!process || *process <= 0) continue;
        // A number that was never alive here belongs to another process namespace.
        if (is_process_alive(*process)) {
            peer->was_client_alive = true;
        } else if (peer->was_client_alive) {
            peer->connection->close();
        }
    }
}

void Peers::finish_all() {
    for (const std::shared_ptr<Peer>& peer : std::set<std::shared_ptr<Peer>>(peers_)) {
        peer->connection->finish(1);
    }
}

std::uint64_t Peers::answered_count() const {
    std::uint64_t count = answered_before_;
    for (const std::shared_ptr<Peer>& peer : peers_) {
        count += peer->session->answered_count();
    }
    return count;
}

}  // namespace hearth::daemon

#include "lsp/stdio_bridge/stdio_bridge.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "lsp/transport/framing.h"

namespace hearth::lsp {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{64} * 1024;

bool write_all(int file, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(file, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

/// Bytes read, 0 at the end or on an error.
std::size_t read_some(int file, std::array<char, kCopyBytes>& buffer) {
    while (true) {
        const ssize_t count = ::read(file, buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        return count < 0 ? 0 : static_cast<std::size_t>(count);
    }
}

/// Editor to daemon. At the editor's end of file the daemon is told by a half-closed socket.
void copy_input(int socket) {
    std::array<char, kCopyBytes> buffer;
    while (const std::size_t count = read_some(STDIN_FILENO, buffer)) {
        if (!write_all(socket, std::string_view(buffer.data(), count))) break;
    }
    ::shutdown(socket, SHUT_WR);
}

/// Daemon to editor, frame by frame, since the byte after the last frame is the status and not for
/// the editor.
int copy_output(int socket) {
    std::array<char, kCopyBytes> buffer;
    FrameReader reader;
    while (const std::size_t count = read_some(socket, buffer)) {
        reader.feed(std::string_view(buffer.data(), count));
        while (const std::optional<FrameEvent> event = reader.next()) {
            const auto* frame = std::get_if<Frame>(&*event);
            if (frame == nullptr || !write_all(STDOUT_FILENO, to_frame(frame->body))) return 1;
        }
    }
    return reader.rest().size() == 1 ? static_cast<unsigned char>(reader.rest().front()) : 1;
}

}  // namespace

Error run_stdio_bridge(const DaemonStart& start) {
    std::signal(SIGPIPE, SIG_IGN);
    const Result<std::string> folder = ensure_runtime_folder();
    if (!folder) return folder.error();
    Result<std::unique_ptr<Client>> client = connect_daemon(*folder, &start);
    if (!client) return client.error();
    const FileDescriptor socket = (*client)->take_socket();
    // The thread may sit in a read of stdin that never returns; the program's end takes it along.
    std::thread(copy_input, socket.get()).detach();
    std::_Exit(copy_output(socket.get()));
}

}  // namespace hearth::lsp

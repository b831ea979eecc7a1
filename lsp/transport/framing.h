// Bytes <-> one message: LSP's base protocol, `Content-Length: N`, an empty line, N bytes. Knows no
// JSON and no socket.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace hearth::lsp {

inline constexpr std::size_t kFrameBytesMax = std::size_t{16} << 20;
inline constexpr std::size_t kFrameHeaderBytesMax = 4096;

/// One whole message.
struct Frame {
    std::string body;
};
/// A message over the size limit; its bytes are skipped and the stream goes on behind it.
struct OversizeFrame {
    std::size_t body_bytes;
};
/// The stream no longer makes sense: close it.
struct BrokenStream {
    std::string text;
};
using FrameEvent = std::variant<Frame, OversizeFrame, BrokenStream>;

/// Cuts a stream into messages, whatever the pieces it comes in.   Thread: one at a time.
class FrameReader {
  public:
    void feed(std::string_view bytes);
    /// Empty: more bytes are needed. After BrokenStream always BrokenStream.
    std::optional<FrameEvent> next();
    /// Bytes that follow the last whole message.
    [[nodiscard]] std::string_view rest() const { return std::string_view(buffer_).substr(at_); }

  private:
    std::optional<FrameEvent> read_header();

    std::string buffer_;
    std::size_t at_ = 0;          ///< what is before it has been handed out
    std::size_t skip_bytes_ = 0;  ///< of an oversize message, still to come
    std::optional<std::size_t> body_bytes_;
    std::string broken_;
};

/// The bytes of one message.
std::string to_frame(std::string_view body);

}  // namespace hearth::lsp

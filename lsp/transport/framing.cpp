#include "lsp/transport/framing.h"

#include <algorithm>
#include <charconv>

namespace hearth::lsp {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        const auto lower = [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        };
        return lower(x) == lower(y);
    });
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

/// The value of Content-Length among the header lines; empty when it is missing or no number.
std::optional<std::size_t> find_content_length(std::string_view header) {
    while (!header.empty()) {
        const std::size_t end = header.find("\r\n");
        const std::string_view line = header.substr(0, end);
        header = end == std::string_view::npos ? std::string_view() : header.substr(end + 2);
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos ||
            !equals_ignoring_case(trim(line.substr(0, colon)), "content-length")) {
            continue;
        }
        const std::string_view digits = trim(line.substr(colon + 1));
        std::size_t value = 0;
        const auto [last, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc() || last != digits.data() + digits.size() || digits.empty())
            return std::nullopt;
        return value;
    }
    return std::nullopt;
}

}  // namespace

void FrameReader::feed(std::string_view bytes) {
    const std::size_t skipped = std::min(skip_bytes_, bytes.size());
    skip_bytes_ -= skipped;
    bytes.remove_prefix(skipped);
    if (at_ > 0) {
        buffer_.erase(0, at_);
        at_ = 0;
    }
    buffer_.append(bytes);
}

std::optional<FrameEvent> FrameReader::read_header() {
    const std::string_view rest_now = rest();
    const std::size_t end = rest_now.substr(0, kFrameHeaderBytesMax).find("\r\n\r\n");
    if (end == std::string_view::npos) {
        if (rest_now.size() < kFrameHeaderBytesMax) return std::nullopt;
        broken_ = "no end of the message header within " + std::to_string(kFrameHeaderBytesMax) +
                  " bytes";
        return BrokenStream{broken_};
    }
    const std::optional<std::size_t> length = find_content_length(rest_now.substr(0, end));
    if (!length) {
        broken_ = "message header without a readable Content-Length";
        return BrokenStream{broken_};
    }
    at_ += end + 4;
    if (*length > kFrameBytesMax) {
        const std::size_t present = std::min(*length, rest().size());
        at_ += present;
        skip_bytes_ = *length - present;
        return OversizeFrame{*length};
    }
    body_bytes_ = length;
    return std::nullopt;
}

std::optional<FrameEvent> FrameReader::next() {
    if (!broken_.empty()) return BrokenStream{broken_};
    if (!body_bytes_) {
        if (std::optional<FrameEvent> event = read_header()) return event;
    }
    if (!body_bytes_ || rest().size() < *body_bytes_) return std::nullopt;
    Frame frame{std::string(rest().substr(0, *body_bytes_))};
    at_ += *body_bytes_;
    body_bytes_.reset();
    return frame;
}

std::string to_frame(std::string_view body) {
    std::string frame = "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    frame.append(body);
    return frame;
}

}  // namespace hearth::lsp

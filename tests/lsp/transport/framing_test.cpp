#include "lsp/transport/framing.h"

#include <vector>

#include <catch2/catch.hpp>

namespace hearth::lsp {
namespace {

std::vector<std::string> frames_of(FrameReader& reader) {
    std::vector<std::string> frames;
    while (std::optional<FrameEvent> event = reader.next()) {
        const auto* frame = std::get_if<Frame>(&*event);
        if (frame == nullptr) break;
        frames.push_back(frame->body);
    }
    return frames;
}

TEST_CASE("messages are cut from a stream whatever pieces it comes in", "[lsp][framing]") {
    const std::string stream =
        to_frame("{}") + "content-type: x\r\nContent-LENGTH:  5 \r\n\r\nhello" + to_frame("");
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
        CAPTURE(piece);
        FrameReader reader;
        std::vector<std::string> frames;
        for (std::size_t at = 0; at < stream.size(); at += piece) {
            reader.feed(std::string_view(stream).substr(at, piece));
            for (std::string& frame : frames_of(reader)) {
                frames.push_back(std::move(frame));
            }
        }
        CHECK(frames == std::vector<std::string>{"{}", "hello", ""});
        CHECK(reader.rest().empty());
    }
}

TEST_CASE("an oversize message is skipped and the next one is read", "[lsp][framing]") {
    const std::size_t size = kFrameBytesMax + 10;
    const std::string stream = to_frame(std::string(size, 'x')) + to_frame("next");
    for (const std::size_t piece : {std::size_t{1000}, std::size_t{1} << 20, stream.size()}) {
        FrameReader reader;
        std::size_t oversize = 0;
        std::vector<std::string> frames;
        for (std::size_t at = 0; at < stream.size(); at += piece) {
            reader.feed(std::string_view(stream).substr(at, piece));
            while (std::optional<FrameEvent> event = reader.next()) {
                if (const auto* skipped = std::get_if<OversizeFrame>(&*event))
                    oversize = skipped->body_bytes;
                if (const auto* frame = std::get_if<Frame>(&*event)) frames.push_back(frame->body);
            }
        }
        CHECK(oversize == size);
        CHECK(frames == std::vector<std::string>{"next"});
    }
}

TEST_CASE("a stream without a readable length is broken for good", "[lsp][framing]") {
    for (const std::string& stream : {std::string("Content-Length: x\r\n\r\n"),
                                      std::string("Content-Length: -5\r\n\r\n"),
                                      std::string("Content-Length: 99999999999999999999\r\n\r\n"),
                                      std::string("Content-Length:\r\n\r\n"),
                                      std::string("Other: 5\r\n\r\n"),
                                      std::string("\r\n\r\n"),
                                      std::string(kFrameHeaderBytesMax, 'a')}) {
        FrameReader reader;
        reader.feed(stream);
        const std::optional<FrameEvent> event = reader.next();
        REQUIRE(event);
        CHECK(std::holds_alternative<BrokenStream>(*event));
        reader.feed(to_frame("{}"));
        CHECK(std::holds_alternative<BrokenStream>(*reader.next()));
    }
}

TEST_CASE("the byte after the last message stays readable", "[lsp][framing]") {
    FrameReader reader;
    reader.feed(to_frame("{}") + std::string(1, '\0'));
    CHECK(frames_of(reader) == std::vector<std::string>{"{}"});
    CHECK(reader.rest() == std::string_view("\0", 1));
}

}  // namespace
}  // namespace hearth::lsp

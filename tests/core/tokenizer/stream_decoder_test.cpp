#include "core/tokenizer/stream_decoder.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/tokenizer/small_vocabulary.h"

namespace hearth::tokenizer {
namespace {

std::shared_ptr<const Tokenizer> make_tokenizer(const std::vector<std::string>& tokens) {
    SmallVocabulary vocabulary;
    for (const std::string& bytes : tokens) {
        vocabulary.add(to_byte_text(bytes), SmallVocabulary::kNormal);
    }
    vocabulary.add("<|im_end|>", SmallVocabulary::kControl);
    return vocabulary.load().value();
}

/// What comes out for each byte of `bytes` and at the end, with | between.
std::string feed_bytes(const std::string& bytes) {
    const auto tokenizer = make_tokenizer({});
    StreamDecoder decoder(*tokenizer);
    std::string out;
    for (const char byte : bytes) {
        out += decoder.feed(static_cast<unsigned char>(byte)) + "|";
    }
    return out + decoder.finish();
}

}  // namespace

TEST_CASE("a character comes out with its last byte", "[tokenizer][stream_decoder]") {
    CHECK(feed_bytes("a") == "a|");
    CHECK(feed_bytes("é") == "|é|");
    CHECK(feed_bytes("中") == "||中|");
    CHECK(feed_bytes("\U0001F600") == "|||\U0001F600|");
    CHECK(feed_bytes("éa中") == "|é|a|||中|");
}

TEST_CASE("any cut of a text into two tokens gives the same text", "[tokenizer][stream_decoder]") {
    const std::string text = "xé中\U0001F600\u007F\u0080\u07FF\u0800\uFFFF\U00010000\U0010FFFF";
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
        const auto tokenizer = make_tokenizer({text.substr(0, cut), text.substr(cut)});
        StreamDecoder decoder(*tokenizer);
        const std::string first = decoder.feed(256);
        CHECK(text.compare(0, first.size(), first) == 0);
        CHECK(cut - first.size() <= 3);
        CHECK(first + decoder.feed(257) == text);
        CHECK(decoder.finish().empty());
    }
}

TEST_CASE("each maximal broken part becomes one replacement character",
          "[tokenizer][stream_decoder]") {
    struct Row {
        const char* bytes;
        const char* expected;
    };
    const Row rows[] = {
        {"\x80", "�|"},
        {"\xC0\x80", "�|�|"},
        {"\xFF\xFE", "�|�|"},
        {"\xC3(", "|�(|"},
        {"\xE4\xB8(", "||�(|"},
        {"\xF0\x9F\x98(", "|||�(|"},
        {"\xE4\xC3\xA9", "|�|é|"},
        {"\xED\xA0\x80", "|��|�|"},        // a surrogate: its bytes can start nothing
        {"\xE0\x80\x80", "|��|�|"},        // too long a form
        {"\xF4\x90\x80\x80", "|��|�|�|"},  // past the last character
        {"\xC3", "|�"},                    // unfinished at the end
        {"\xF0\x9F\x98", "|||�"},
    };
    for (const Row& row : rows) {
        CHECK(feed_bytes(row.bytes) == row.expected);
    }
}

TEST_CASE("special tokens and ids outside the vocabulary give nothing",
          "[tokenizer][stream_decoder]") {
    const auto tokenizer = make_tokenizer({});
    StreamDecoder decoder(*tokenizer);
    CHECK(decoder.feed(0xC3).empty());
    CHECK(decoder.feed(256).empty());
    CHECK(decoder.feed(-1).empty());
    CHECK(decoder.feed(999999).empty());
    CHECK(decoder.feed(0xA9) == "é");
    CHECK(decoder.finish().empty());
    CHECK(decoder.feed(0xC3).empty());
    CHECK(decoder.finish() == "�");
    CHECK(decoder.finish().empty());
}

}  // namespace hearth::tokenizer

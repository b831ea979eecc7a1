#include "core/tokenizer/byte_text.h"

#include <set>
#include <string>

#include <catch2/catch.hpp>

namespace hearth::tokenizer {

TEST_CASE("printable bytes stand for themselves, the others for shifted characters",
          "[tokenizer][byte_text]") {
    CHECK(to_byte_text("a~!") == "a~!");
    CHECK(to_byte_text(" the") == "Ġthe");
    CHECK(to_byte_text("\n") == "Ċ");
    CHECK(to_byte_text(std::string("\0", 1)) == "Ā");
    CHECK(to_byte_text("\x7F\xA0\xAD") == "ġłŃ");
    CHECK(to_byte_text("\xC3\xA9") == "Ã©");
}

TEST_CASE("every byte comes back and no two share a text", "[tokenizer][byte_text]") {
    std::set<std::string> texts;
    std::string all;
    for (int byte = 0; byte < 256; ++byte) {
        const std::string bytes(1, static_cast<char>(byte));
        CHECK(from_byte_text(to_byte_text(bytes)) == bytes);
        texts.insert(to_byte_text(bytes));
        all += bytes;
    }
    CHECK(texts.size() == 256);
    CHECK(from_byte_text(to_byte_text(all)) == all);
}

TEST_CASE("a text outside the table stands for itself", "[tokenizer][byte_text]") {
    CHECK(from_byte_text("<｜fim▁begin｜>") == "<｜fim▁begin｜>");
    CHECK(from_byte_text("a b") == "a b");
    CHECK(from_byte_text("\xFF") == "\xFF");
    CHECK(from_byte_text("").empty());
}

}  // namespace hearth::tokenizer

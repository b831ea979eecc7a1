// Any edits of any text, in every position encoding, held against a plain model: a table of where
// each character begins. Positions and bytes lead to each other and back.
#include "lsp/server/documents.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/utf8_check.h"

namespace {

using namespace hearth;
using namespace hearth::lsp;

/// A place where a cursor may stand.
struct Place {
    std::uint32_t line = 0;
    std::uint32_t character = 0;
    std::uint64_t byte = 0;
};

/// As many bytes as look like one character: a lead byte with its followers, else a single byte.
std::size_t character_bytes(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t wanted = lead >= 0xC2 && lead <= 0xDF   ? 2
                               : lead >= 0xE0 && lead <= 0xEF ? 3
                               : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                              : 1;
    const std::string_view rest = text.substr(1, wanted - 1);
    const bool is_whole =
        rest.size() + 1 == wanted && std::all_of(rest.begin(), rest.end(), [](char c) {
            return (static_cast<unsigned char>(c) >> 6) == 2;
        });
    return is_whole ? wanted : 1;
}

/// All places of a text in order. The end of each line is one; the inside of \r\n is none.
std::vector<Place> list_places(std::string_view text, PositionEncoding encoding) {
    std::vector<Place> places;
    Place at;
    while (at.byte < text.size()) {
        places.push_back(at);
        const std::string_view rest = text.substr(at.byte);
        if (rest[0] == '\n' || rest[0] == '\r') {
            at = {at.line + 1, 0, at.byte + (rest.starts_with("\r\n") ? 2U : 1U)};
            continue;
        }
        const std::size_t bytes = character_bytes(rest);
        const std::size_t units = encoding == PositionEncoding::utf8    ? bytes
                                  : encoding == PositionEncoding::utf16 ? (bytes == 4 ? 2U : 1U)
                                                                        : 1U;
        at = {at.line, at.character + static_cast<std::uint32_t>(units), at.byte + bytes};
    }
    places.push_back(at);
    return places;
}

/// The last place on the position's line that is not behind it; the end for a line that is not
/// there.
std::uint64_t find_byte(const std::vector<Place>& places, const Position& position) {
    std::uint64_t byte = places.back().byte;
    if (position.line > places.back().line) return byte;
    for (const Place& place : places) {
        if (place.line == position.line && place.character <= position.character) byte = place.byte;
    }
    return byte;
}

void check_places(std::string_view text, PositionEncoding encoding) {
    std::size_t next = 0;
    const std::vector<Place> places = list_places(text, encoding);
    for (std::uint64_t byte = 0; byte <= text.size(); ++byte) {
        while (next + 1 < places.size() && places[next + 1].byte <= byte) {
            ++next;
        }
        const Position position = to_position(text, byte, encoding);
        HEARTH_ASSERT((position == Position{places[next].line, places[next].character}));
        HEARTH_ASSERT(to_byte(text, position, encoding) == places[next].byte);
        const LineBounds line = find_line(text, byte);
        HEARTH_ASSERT(line.begin_byte <= byte && byte <= line.end_byte);
        const std::string_view inside =
            text.substr(line.begin_byte, line.end_byte - line.begin_byte);
        HEARTH_ASSERT(inside.find_first_of("\r\n") == std::string_view::npos);
    }
    HEARTH_ASSERT(
        (to_position(text, text.size() + 9, encoding) == to_position(text, text.size(), encoding)));
}

Position take_position(fuzz::Input& input) {
    const std::uint32_t line = input.number();
    return {line, input.number()};
}

/// One change as the editor sends it; `text` becomes what the model makes of it. False: refused.
bool apply(const TextDocumentContentChangeEvent& change,
           PositionEncoding encoding,
           std::string& text) {
    if (!change.range) {
        text = change.text;
        return true;
    }
    const std::vector<Place> places = list_places(text, encoding);
    const std::uint64_t begin = find_byte(places, change.range->start);
    const std::uint64_t end = find_byte(places, change.range->end);
    if (end < begin) return false;
    text = text.substr(0, begin) + change.text + text.substr(end);
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr PositionEncoding kEncodings[] = {
        PositionEncoding::utf8, PositionEncoding::utf16, PositionEncoding::utf32};
    const std::string uri = "file:///w/a%20b.cpp";
    fuzz::Input input(fuzz::to_text(data, size));
    const PositionEncoding encoding = kEncodings[input.byte() % std::size(kEncodings)];
    std::string expected(input.text());
    bool is_whole = fuzz::is_utf8(expected);

    Documents documents;
    documents.set_encoding(encoding);
    HEARTH_ASSERT(documents.open({uri, "cpp", 1, expected}).has_value());
    while (!input.is_empty()) {
        // A message with a few changes is taken as a whole or not at all.
        DidChangeTextDocumentParams params{{uri, std::nullopt}, {}};
        std::string next = expected;
        bool is_sound = true;
        for (int left = 1 + input.byte() % 3; left > 0; --left) {
            TextDocumentContentChangeEvent change;
            if (input.byte() % 8 != 0) {
                const Position start = take_position(input);
                change.range = Range{start, take_position(input)};
            }
            change.text = std::string(input.text());
            is_whole = is_whole && fuzz::is_utf8(change.text);
            is_sound = is_sound && apply(change, encoding, next);
            params.content_changes.push_back(std::move(change));
        }
        HEARTH_ASSERT(documents.change(params).has_value() == is_sound);
        if (is_sound) expected = std::move(next);
        HEARTH_ASSERT(documents.find(uri)->text == expected);
    }
    HEARTH_ASSERT(!is_whole || fuzz::is_utf8(expected));
    check_places(expected, encoding);
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    const auto text = [](const std::string& bytes) {
        return static_cast<char>(bytes.size()) + bytes;
    };
    const std::string insert("\x00\x01\x00\x02\x00\x02", 6);   // one change at 0:2
    const std::string replace("\x00\x01\x00\x01\x01\x01", 6);  // 0:1 to 1:1
    const std::string whole("\x00\x00", 2);
    const std::string far("\x00\x01\xF0\xFF\xFF\xFF\xFF\x05\xF1\x80\x00\x00\x00\x09", 14);
    std::vector<std::string> seeds;
    for (const char encoding : {'\0', '\1', '\2'}) {
        const std::string document =
            encoding + text("int \xC3\xA9 = 1;\r\nif (\xF0\x9F\xA6\x8A) {\r}\n\n\xE4\xB8\xAD");
        seeds.push_back(document);
        seeds.push_back(document + insert + text("\xF0\x9F\xA6\x8A") + replace + text("\r"));
        seeds.push_back(document + far + text("end\n") + whole + text("a\r\nb") + insert +
                        text(""));
    }
    return seeds;
}

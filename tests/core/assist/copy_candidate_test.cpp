#include "core/assist/copy_candidate.h"

#include <chrono>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

struct Case {
    std::string place;                ///< the document, its cursor marked
    std::vector<std::string> copies;  ///< best first
    std::vector<std::string> others = {};
};

std::vector<CopyCandidate> find(const std::string& marked,
                                const std::vector<std::string>& others = {},
                                const CopyLimits& limits = {}) {
    const test::MarkedText place(marked);
    const std::vector<std::string_view> views(others.begin(), others.end());
    return find_copies(
        {.before = place.before(), .after = place.after(), .others = views}, limits, CancelToken());
}

void check_cases(const std::vector<Case>& cases) {
    for (const Case& each : cases) {
        INFO(each.place);
        std::vector<std::string> texts;
        for (const CopyCandidate& candidate : find(each.place, each.others)) {
            texts.push_back(candidate.text);
        }
        CHECK(texts == each.copies);
    }
}

TEST_CASE("the longest match decides, of equal ones the nearest", "[assist][copy_candidate]") {
    check_cases({
        {"open(a)\nclose(a)\nopen(b)\nclo^\n", {"se(a)"}},
        {"int total = 1;\ntotal = 2;\nint total = ^\n", {"1;", "2;"}},
        {"\nke = 1\nke = 2\nke = ^\nke = 3\n", {"2", "1", "3"}},
        {"first\nke = ^\nj\nke = 3\nke = 4\n", {"3", "4"}},
        {"ke = ^\n", {"3", "5"}, {"ke = 3\n", "ke = 5"}},
        {"ke = 1\nke = ^\n", {"1", "3"}, {"ke = 3\n"}},
    });
}

TEST_CASE("places that nothing follows in their line are passed over", "[assist][copy_candidate]") {
    check_cases({
        {"ke = 1\nke = \nke = ^\n", {"1"}},
        {"ke = 1\nke =   \t\nke =^\n", {" 1"}},
        {"ke = 1  \t\nke = ^\n", {"1"}},
        {"return^\n return", {}},
    });
}

TEST_CASE("text without a match has no copy", "[assist][copy_candidate]") {
    check_cases({
        {"^", {}},
        {"a^", {}},
        {"abc^", {}},
        {"ab\nab^", {}},
        {"abcdef^", {}},
        {"^abc abc", {}},
        {"abc = abc + abc^ + abc - 1\n", {}},  // the line at the cursor is not finished
        {"\n\n\n^\n\n\n", {}},
        {"abc^", {}, {"", "ab", "abc"}},
        {"abc^", {"d"}, {"abcd"}},
    });
}

TEST_CASE("line ends may be of either kind and tabs are blanks", "[assist][copy_candidate]") {
    check_cases({
        {"ke = 1\r\nke = ^\r\n", {"1"}},
        {"\tif (a) {\n\t\tgo(a);\t\n\t}\n\tif (a) {\n\t\t^\n", {"go(a);"}},
        {"k\xC3\xA4se = 1\nk\xC3\xA4se = ^", {"1"}},
        {"\xF0\x9F\x98\x80 = 1\n\xF0\x9F\x98\x80^", {" = 1"}},
    });
    CHECK(find("k\xC3\xA4se = 1\nk\xC3\xA4se = ^")[0].match_characters == 7);
}

TEST_CASE("a copy in the middle of a line ends before what stands right of the cursor",
          "[assist][copy_candidate]") {
    const auto copies = find("call(a, b);\ncall(a);\ncall(^);\n");
    REQUIRE(copies.size() == 2);
    CHECK(copies[0].text == "a");
    CHECK(copies[1].text == "a, b");
    const auto other = find("call(a, b) {\ncall(^);\n");
    REQUIRE(other.size() == 1);
    CHECK(other[0].text == "a, b) {");
}

TEST_CASE("places that agree and places that do not are counted", "[assist][copy_candidate]") {
    const auto copies = find("int ke = 1\nint ke = 2\nint ke = 2\nke = 7\nint ke = ^\n");
    REQUIRE(copies.size() == 3);
    CHECK(copies[0].text == "2");
    CHECK(copies[0].match_characters == 10);  // "\nint ke = "
    CHECK(copies[0].agreeing == 2);
    CHECK(copies[0].disagreeing == 2);  // "ke = " is half of it
    CHECK(copies[2].text == "7");
    CHECK(copies[2].agreeing == 1);
    CHECK(copies[2].disagreeing == 3);
}

TEST_CASE("the line below speaks for a place", "[assist][copy_candidate]") {
    const auto copies =
        find("case one:\n    go(1);\n    break;\ncase two:\n    go(^\n\n    break;\n");
    REQUIRE(copies.size() == 1);
    CHECK(copies[0].fits_line_below);
    CHECK_FALSE(find("    go(1);\n}\n    go(^\n    break;\n")[0].fits_line_below);
    CHECK_FALSE(find("    go(1);\n    go(^")[0].fits_line_below);
}

TEST_CASE("every limit holds", "[assist][copy_candidate]") {
    std::string text;
    for (int i = 0; i < 500; ++i) {
        text += "ke = " + std::to_string(i) + ";\n";
    }
    text += "ke = ^\n";
    const auto first = [&](const CopyLimits& limits) {
        const auto copies = find(text, {"ke = other"}, limits);
        return copies.empty() ? std::string() : copies.front().text;
    };
    CHECK(find(text).size() == CopyLimits().candidates_max);
    CHECK(find(text).front().agreeing + find(text).front().disagreeing <=
          static_cast<int>(CopyLimits().places_max));
    CHECK(first({}) == "400;");  // after "99;", of which 399 is the nearest
    CHECK(first({.searched_bytes_max = 0}).empty());
    CHECK(first({.searched_bytes_max = 20}) == "499;");
    CHECK(first({.compared_bytes_max = 0}) == "490;");
    CHECK(first({.matches_max = 0}).empty());
    CHECK(first({.places_max = 0}).empty());
    CHECK(first({.places_max = 1}) == "400;");
    CHECK(first({.line_bytes_max = 3}) == "90;");
    CHECK(first({.candidates_max = 0}).empty());
    const std::string line = "fill(" + std::string(300, 'x') + ");\n";
    CHECK(find(line + "fill(^\n").empty());
}

TEST_CASE("a cancelled search finds nothing", "[assist][copy_candidate]") {
    CancelSource cancel;
    cancel.cancel();
    std::string text(1U << 20, 'x');
    for (std::size_t i = 0; i < text.size(); i += 40) {
        text[i] = '\n';
    }
    CHECK(find_copies({.before = text, .after = {}, .others = {}}, {}, cancel.token()).empty());
}

TEST_CASE("text of a megabyte takes little time, whatever it is", "[assist][copy_candidate]") {
    constexpr std::size_t kBytes = 1U << 20;
    std::string code;
    for (int i = 0; code.size() < kBytes; ++i) {
        code += "        total += table[" + std::to_string(i * 7919 % 1000) + "] * weight;\n";
    }
    std::string bytes;
    std::uint32_t state = 1;
    while (bytes.size() < kBytes) {
        state = state * 1664525U + 1013904223U;
        bytes += static_cast<char>(state >> 24U);
    }
    for (const std::string& text : {code + "        ",
                                    code + "        total += table[",
                                    std::string(kBytes, ' '),
                                    std::string(kBytes, 'a'),
                                    std::string(kBytes, '\0'),
                                    std::string(kBytes, '\n'),
                                    bytes}) {
        const auto begin = std::chrono::steady_clock::now();
        const auto copies = find_copies({.before = text, .after = text, .others = {}}, {}, {});
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        CHECK(copies.size() <= CopyLimits().candidates_max);
        INFO(took.count() << " s");
        CHECK(took.count() < 1.0);  // a bound for loaded machines; tests/bench says what it takes
    }
}

}  // namespace
}  // namespace hearth::assist

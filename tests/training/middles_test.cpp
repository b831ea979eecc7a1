#include "training/samples/middles.h"

#include <algorithm>
#include <map>
#include <string>

#include <catch2/catch.hpp>

namespace {

using namespace hearth::training;

const std::string kText =
    "int sum(const std::vector<int>& values) {\n"
    "    int total = 0;\n"
    "    for (int value : values) {\n"
    "        total += value;  // caf\xC3\xA9 \xE6\x97\xA5\n"
    "    }\n"
    "\n"
    "    return total;\n"
    "}\n";

/// Calls `check` with many middles of one kind; their bytes are never empty and never cut a
/// character.
template <typename Check>
void check_middles(MiddleKind kind, const std::string& text, Check check) {
    Random random(3);
    int found = 0;
    for (int i = 0; i < 500; ++i) {
        const auto middle = pick_middle(text, kind, random);
        if (!middle) continue;
        ++found;
        REQUIRE(middle->begin < middle->end);
        REQUIRE(middle->end <= text.size());
        CHECK(to_character_start(text, middle->begin) == middle->begin);
        CHECK(to_character_start(text, middle->end) == middle->end);
        check(*middle);
    }
    CHECK(found > 400);
}

TEST_CASE("a line tail ends where its line ends", "[training][middles]") {
    check_middles(MiddleKind::line_tail, kText, [](Span middle) {
        CHECK(kText[middle.end] == '\n');
        CHECK(part(kText, middle).find('\n') == std::string_view::npos);
        // It begins in the line's text, never in its indentation.
        const std::size_t line = kText.rfind('\n', middle.begin - 1) + 1;
        const std::size_t line_begin = middle.begin == 0 ? 0 : line;
        CHECK(middle.begin >= line_begin + indentation(std::string_view(kText).substr(line_begin)));
    });
}

TEST_CASE("whole lines begin at a line or after its indentation", "[training][middles]") {
    check_middles(MiddleKind::lines, kText, [](Span middle) {
        CHECK(kText[middle.end] == '\n');
        CHECK(std::count(kText.begin() + static_cast<std::ptrdiff_t>(middle.begin),
                         kText.begin() + static_cast<std::ptrdiff_t>(middle.end),
                         '\n') < 5);
        const std::size_t line_begin =
            middle.begin == 0 ? 0 : kText.rfind('\n', middle.begin - 1) + 1;
        const std::string_view before =
            std::string_view(kText).substr(line_begin, middle.begin - line_begin);
        CHECK(trimmed(before).empty());
    });
}

TEST_CASE("a syntactic middle is what is in brackets, or an indented block",
          "[training][middles]") {
    check_middles(MiddleKind::syntactic, kText, [](Span middle) {
        const bool is_in_brackets =
            matching_bracket(kText, middle.begin - 1, kText.size()) == middle.end;
        const bool is_block = kText[middle.end] == '\n';
        CHECK((is_in_brackets || is_block));
    });
}

TEST_CASE("characters may be cut anywhere between characters", "[training][middles]") {
    check_middles(MiddleKind::characters, kText, [](Span middle) { CHECK(middle.size() <= 203); });
}

TEST_CASE("a text without a place for it has no middle", "[training][middles]") {
    Random random(1);
    CHECK_FALSE(pick_middle("", MiddleKind::characters, random));
    CHECK_FALSE(pick_middle("\n\n\n", MiddleKind::line_tail, random));
    CHECK_FALSE(pick_middle("\n  \n\n", MiddleKind::lines, random));
    CHECK_FALSE(pick_middle("a = b\nc = d\n", MiddleKind::syntactic, random));
    CHECK_FALSE(pick_middle("f()\n", MiddleKind::syntactic, random));
}

TEST_CASE("the kinds of middle come in their shares", "[training][middles]") {
    Random random(5);
    std::map<MiddleKind, int> counts;
    for (int i = 0; i < 10000; ++i) {
        ++counts[pick_middle_kind(random)];
    }
    CHECK(counts[MiddleKind::line_tail] == Approx(3500).margin(200));
    CHECK(counts[MiddleKind::lines] == Approx(3500).margin(200));
    CHECK(counts[MiddleKind::characters] == Approx(800).margin(200));
    CHECK(counts[MiddleKind::syntactic] == Approx(2200).margin(200));
}

TEST_CASE("brackets are matched past strings and comments", "[training][middles]") {
    const std::pair<const char*, std::size_t> cases[] = {{"(a)", 2},
                                                         {"(a, [b], {c})", 12},
                                                         {"(\")\")", 4},
                                                         {"(')')", 4},
                                                         {"( // )\n)", 7},
                                                         {"(\"\\\")\")", 6}};
    for (const auto& [text, close] : cases) {
        INFO(text);
        CHECK(matching_bracket(text, 0, 100) == close);
    }
    CHECK_FALSE(matching_bracket("((a)", 0, 100));
    CHECK_FALSE(matching_bracket("(abcdef)", 0, 4));
}

TEST_CASE("names of code are neither in strings nor in comments", "[training][text]") {
    const struct {
        const char* text;
        std::vector<std::string> names;
    } cases[] = {
        {"a = b(\"c d\", 'e', `f`) + g", {"a", "b", "g"}},
        {"a;  // b", {"a"}},
        {"a = 1 # b", {"a"}},
        {"# a\nb\n  * c\nd", {"b", "d"}},
        {"a = \"b\\\"c\" + d", {"a", "d"}},
        {"fn a<'b>(c: &'b str)", {"fn", "a", "b", "str"}},  // 'b>(c: &' reads as a string
        {"fn a<'b>(c: d)", {"fn", "a", "b", "c", "d"}},
        {"#include <a>", {}},
        {"", {}},
    };
    for (const auto& [text, names] : cases) {
        std::vector<std::string> found;
        for (const Span span : code_identifiers_of(text)) {
            found.emplace_back(part(text, span));
        }
        INFO(text);
        CHECK(found == names);
    }
}

}  // namespace

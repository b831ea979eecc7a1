#include "core/assist/fix_candidates.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::assist {
namespace {

bool offers(const std::vector<std::string>& lines, const std::string& line) {
    return std::ranges::find(lines, line) != lines.end();
}

TEST_CASE("a line with one small mistake has the right one among its edits", "[assist][fix]") {
    struct Case {
        const char *wrong, *right;
    };
    const std::vector<Case> cases = {
        {"  if (a <= b) {", "  if (a < b) {"},
        {"  if (a < b) {", "  if (a > b) {"},
        {"    if not ready:", "    if ready:"},
        {"    if ready:", "    if not ready:"},
        {"  if (ready) {", "  if (!ready) {"},
        {"  if (!ready) {", "  if (ready) {"},
        {"    if x is None:", "    if x is not None:"},
        {"  x = a - b;", "  x = a + b;"},
        {"  done = true;", "  done = false;"},
        {"  if a && b {", "  if a || b {"},
        {"  count + 1;", "  return count + 1;"},
        {"  if (x) y;", "  if (x) return y;"},
        {"  i = 10;", "  i = 9;"},
        {"  i = 0;", "  i = 1;"},
        {"  call(a, b;", "  call(a, b);"},
        {"  call(a, b));", "  call(a, b);"},
        {"  call(a, b)", "  call(a, b);"},
        {"  say(hello\");", "  say(\"hello\");"},
        {"  call(b, a);", "  call(a, b);"},
        {"  call(x, b, f(a, c));", "  call(x, f(a, c), b);"},
        {"  return widht;", "  return width;"},
        {"  return lenght;", "  return length;"},  // spelt right elsewhere
        {"  return couunt;", "  return count;"},
        {"  return cout;", "  return count;"},
    };
    for (const Case& each : cases) {
        INFO(each.wrong << " -> " << each.right);
        const auto lines = find_fix_candidates(
            {.before = "int length, count;\n", .marked = each.wrong, .after = "}\n"});
        CHECK(offers(lines, each.right));
        CHECK(std::set(lines.begin(), lines.end()).size() == lines.size());
        CHECK_FALSE(offers(lines, each.wrong));
    }
}

TEST_CASE("names take the place of names of their style, of no words of the language",
          "[assist][fix]") {
    const auto lines = find_fix_candidates({.before = "// other text\nTotal = sum(LIMIT, items)\n",
                                            .marked = "return count",
                                            .after = "print(\"quoted\")\n"});
    CHECK(offers(lines, "return sum"));
    CHECK(offers(lines, "return items"));
    for (const char* wrong : {"return Total",
                              "return LIMIT",
                              "return other",
                              "return quoted",
                              "sum count",
                              "return return"}) {
        INFO(wrong);
        CHECK_FALSE(offers(lines, wrong));
    }
}

TEST_CASE("no text makes more edits than the limit, and none breaks the search", "[assist][fix]") {
    std::string many;
    for (int i = 0; i < 300; ++i) {
        many += "name" + std::to_string(i) + " ";
    }
    CHECK(find_fix_candidates({.before = many, .marked = many, .after = many}).size() ==
          kFixCandidatesMax);
    for (const char* text : {"",
                             " ",
                             "(",
                             "f(",
                             "f(,",
                             "f(,,)",
                             "f(a,)",
                             "\"",
                             "'",
                             "}",
                             "\xC3",
                             "0",
                             "4294967295",
                             "99999999999999999999",
                             "f(a, b, c, d, e)"}) {
        INFO(text);
        CHECK(find_fix_candidates({.before = text, .marked = text, .after = text}).size() <
              kFixCandidatesMax);
    }
}

}  // namespace
}  // namespace hearth::assist

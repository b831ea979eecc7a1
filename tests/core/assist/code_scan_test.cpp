#include "core/assist/code_scan.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::assist {
namespace {

struct Case {
    std::string language, text;
    std::string open;  ///< brackets at the end
    std::size_t stray_count = 0;
    bool is_in_code = true;
};

void check_cases(const std::vector<Case>& cases) {
    for (const Case& each : cases) {
        INFO(each.language << ": " << each.text);
        const Syntax* syntax = find_syntax(each.language);
        REQUIRE(syntax != nullptr);
        CodeScan scan(*syntax, each.text);
        scan.advance_to(each.text.size());
        CHECK(scan.open_brackets() == each.open);
        CHECK(scan.strays().count() == each.stray_count);
        CHECK(scan.is_in_code() == each.is_in_code);
    }
}

TEST_CASE("brackets are paired by their kind", "[assist][code_scan]") {
    check_cases({
        {"c", "f(a[i], {1})", ""},
        {"c", "f(a[", "(["},
        {"c", "f(a]", "(", 1},
        {"c", "f(a[i)", "", 1},
        {"c", ")", "", 1},
        {"c", "", ""},
    });
}

TEST_CASE("brackets in strings, characters and comments do not count", "[assist][code_scan]") {
    check_cases({
        {"c", "f(\"(\", '(', '\\'', '{') // (", "", 0, false},
        {"c", "a /* ( */ b", ""},
        {"c", "a /* (\n", "", 0, false},
        {"c", "f(\"(\n)", ""},  // a string that is left open ends with its line
        {"cpp", "int a = 1'000'000; f(", "("},
        {"rust", "fn f<'a>(x: &'a str, c: char) { c == '(' ", "{"},
        {"rust", "\"two\nlines (\" [", "["},
        {"go", "`raw (\n` (", "("},
        {"java", "'\\u0028' (", "("},
        {"javascript", "x = /[(\"]/.test(y)", ""},
        {"javascript", "x = a / b; y = (c / d", "("},
        {"typescript", "`${a} (\n` + '('", ""},
        {"python", "f('(', \"(\")  # (", "", 0, false},
        {"python", "\"\"\"it's (\n(\"\"\" [", "["},
        {"python", "f'{a}' + rb'(' + [", "["},
        {"c", "caf\xC3\xA9('\xC3\xA9', (", "(("},
        {"c", std::string("(\0[", 3), "(["},
    });
}

TEST_CASE("a language that is not known has no syntax", "[assist][code_scan]") {
    CHECK(find_syntax("") == nullptr);
    CHECK(find_syntax("markdown") == nullptr);
}

TEST_CASE("a line's brackets without their other half are counted", "[assist][code_scan]") {
    CHECK(count_unbalanced("f(a, b)", "c") == 0);
    CHECK(count_unbalanced("void f(int a)) {", "c") == 2);
    CHECK(count_unbalanced("} else {", "c") == 2);
    CHECK(count_unbalanced("f(a]", "") == 2);
    CHECK(count_unbalanced("print('(')", "python") == 0);
}

}  // namespace
}  // namespace hearth::assist

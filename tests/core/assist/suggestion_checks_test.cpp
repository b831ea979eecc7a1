#include "core/assist/suggestion_checks.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

struct Case {
    std::string place;  ///< the document, its cursor marked
    std::string line;   ///< what is suggested
    Fault fault = Fault::none;
    std::string language = "cpp";
};

void check_cases(const std::vector<Case>& cases) {
    for (const Case& each : cases) {
        INFO(each.place << " <- " << each.line);
        const test::MarkedText place(each.place);
        const Fault fault = find_fault(
            {.before = place.before(), .after = place.after(), .language = each.language},
            each.line);
        CHECK(to_string(fault) == to_string(each.fault));
    }
}

TEST_CASE("blank text and text that grows together with a word are no suggestion",
          "[assist][checks]") {
    check_cases({
        {"a = ^\n", "", Fault::blank},
        {"a = ^\n", " \t", Fault::blank},
        {"^", "x = 1;"},
        {"a = ^count;\n", "b", Fault::joins_words},
        {"a = ^count;\n", "b + "},
        {"a = caf^\xC3\xA9;\n", "e", Fault::joins_words},
    });
}

TEST_CASE("what says the same twice in a row is found", "[assist][checks]") {
    for (const char* text : {"Returns the number of the number of",
                             "the number of the number of the number",
                             "sereturDsereturD",
                             "getValueValueValue",
                             "if not not not x",
                             "is the name of, is the name of, is the name of,",
                             "assert a is b assert a is b"}) {
        INFO(text);
        CHECK(repeats_itself(text));
    }
    for (const char* text : {"unsigned long long value",
                             "std::max(std::max(a, b), c)",
                             "glm::vec3(0.5f, 0.5f, 0.5f)",
                             "call(nullptr, nullptr, nullptr, nullptr)",
                             "int f(const char *, const char *, void *)",
                             "a = b = c; i++, j++",
                             "0xdeadbeefdeadbeef",
                             "// --------------------------------",
                             "aaaaaaaaaaaaaaaa",
                             "} } } }",
                             "[[[[0]]]]",
                             "x.push(1).push(2)",
                             "the more the merrier",
                             "cancan",
                             "__cplusplus",
                             "\xF0\x9F\x98\xBD\xF0\x9F\x98\xBD",
                             ""}) {
        INFO(text);
        CHECK_FALSE(repeats_itself(text));
    }
}

TEST_CASE("words to read are told from code", "[assist][checks]") {
    for (const char* text : {"Returns the number of elements.",
                             "\n  Adds `b` to the list, unless it is there.\nThen stops.",
                             "F\xC3\xBCgt zwei Zahlen zusammen."}) {
        INFO(text);
        CHECK(is_prose(text));
    }
    for (const char* text : {"return 0;",
                             "if err != nil {",
                             "EXPECT_EQ(1, 0, 0, 0, 0, 0",
                             "assert.strictEqual(1.0.000000000",
                             "XX(0, \\",
                             "Yes.",
                             "...",
                             ""}) {
        INFO(text);
        CHECK_FALSE(is_prose(text));
    }
}

TEST_CASE("what stood there twice before is not the suggestion's fault", "[assist][checks]") {
    check_cases({
        {"// the number of the number of ^\n", "x"},
        {"// the number of ^\n", "the number of", Fault::repeats_itself},
    });
    CHECK(repeats_itself("the size of the size of a", 0));
    CHECK_FALSE(repeats_itself("the size of the size of a", 23));
}

TEST_CASE("a line does not stand twice in a row", "[assist][checks]") {
    check_cases({
        {"go(a);\n^\n", "go(a);", Fault::repeats_line_above},
        {"    go(a);\n    go^\n", "(a);", Fault::repeats_line_above},
        {"go(a);\r\n^\r\n", "go(a);", Fault::repeats_line_above},
        {"go(a);\n\n^\n", "go(a);"},
        {"{\n  {\n  }\n^\n", "}"},
        {"^\ngo(a);\n", "go(a);", Fault::repeats_line_below},
        {"^\n\n  go(a);\n", "go(a);", Fault::repeats_line_below},
        {"^\nb();\ngo(alpha);\n", "go(alpha);", Fault::repeats_line_below},
        {"^\nb();\ngo();\n", "go();"},  // too short to tell
        {"^\na();\nb();\nc();\ngo(alpha);\n", "go(alpha);"},
        {"go(a);\n^\ngo(a);", "go(b);"},
    });
}

TEST_CASE("a suggestion closes only what is open", "[assist][checks]") {
    check_cases({
        {"f(^\n", "a)"},
        {"f(^\n", "a))", Fault::unbalanced},
        {"f(^\n", "a]", Fault::unbalanced},
        {"f(^\n", "a, [&] {"},
        {"^\n", "}", Fault::unbalanced},
        {"{\n^\n", "}"},
        {"f(a,\n  ^\n", "b);"},
        {"f(\")\", ^\n", "b);"},
        {"print(^\n", "a))", Fault::unbalanced, "python"},
        {"print(^\n", "a))", Fault::none, "markdown"},
        {"#if A\nif (a) {\n#else\n)\n#endif\n^\n", "f();\n"},
        {"a ] b\n^\n", "c ]"},  // what is broken already says nothing
        {"// ( note ^\n", "about it)"},
        {"f(^) {\n", "a, g(b)"},
        {"f(^) {\n", "g(", Fault::unbalanced},
        {"f^)\n", "(a"},
    });
    const std::string far = "int a;\n" + std::string(20000, ' ') + "\n^\n";
    check_cases({{far, "}"}, {far, ")", Fault::unbalanced}});
}

TEST_CASE("a string ends with its line", "[assist][checks]") {
    check_cases({
        {"s = ^\n", "\"abc", Fault::open_string},
        {"s = ^\n", "\"abc\";"},
        {"s = \"ab^\n", "c\";"},
        {"s = \"ab^\n", "c;", Fault::open_string},
        {"s = \"ab^\";\n", "c"},
        {"s = ^\n", "\"a\\\"", Fault::open_string},
        {"s = \"a ^\n", "b\\"},
        {"s = ^\n", "'abc", Fault::open_string, "python"},
        {"s = ^\n", "\"\"\"abc", Fault::none, "python"},
        {"x  # don't ^\n", "say 'so", Fault::none, "python"},
        {"let s = ^\n", "`abc", Fault::none, "javascript"},
        {"fn f<^\n", "'a>(x: &'a str) {", Fault::none, "rust"},
        {"s = ^\n", "'abc", Fault::none, "plaintext"},
    });
}

TEST_CASE("odd text is looked at without harm", "[assist][checks]") {
    const std::string line(1U << 20, 'x');
    std::string bytes;
    for (int i = 0; i < 4096; ++i) {
        bytes += static_cast<char>(i * 167 + i / 7);
    }
    for (const std::string& text : {line, bytes, std::string(1U << 20, '('), std::string()}) {
        for (const std::string& suggestion : {text, std::string("a b"), std::string("\")")}) {
            const Fault fault =
                find_fault({.before = text, .after = text, .language = "cpp"}, suggestion);
            CHECK(static_cast<std::size_t>(fault) < kFaultCount);
        }
    }
}

}  // namespace
}  // namespace hearth::assist

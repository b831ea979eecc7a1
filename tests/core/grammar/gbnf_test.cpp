#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/grammar/matches.h"

namespace hearth::grammar {
namespace {

struct Case {
    std::string grammar;
    std::vector<std::string> right, wrong;
};

TEST_CASE("a text follows a grammar or does not", "[grammar][gbnf]") {
    const Case cases[] = {
        {"root ::= \"ab\"", {"ab"}, {"", "a", "abc", "ba"}},
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::= \"a\" | \"b\" \"c\"", {"a", "bc"}, {"b", "ac", "abc"}},
        {"root ::= (\"a\" | \"b\")* \"c\"", {"c", "abbac"}, {"", "ab", "cc"}},
        {"root ::= \"a\"+", {"a", "aaaa"}, {""}},
        {"root ::= \"ab\"?", {"", "ab"}, {"a", "abab"}},
        {"root ::= \"ab\"{2}", {"abab"}, {"ab", "ababab"}},
        {"root ::= \"a\"{2,}", {"aa", "aaaaa"}, {"a"}},
        {"root ::= \"a\"{1,3}", {"a", "aa", "aaa"}, {"", "aaaa"}},
        {"root ::= \"a\"{0}", {""}, {"a"}},
        {"root ::= [a-cx] [^a-c]", {"ax", "xd", "b\n"}, {"aa", "dx", "a"}},
        {"root ::= [^\"\\\\\\n]*", {"", "a b'"}, {"\"", "\\", "\n"}},
        {"root ::= [-+] [a-]", {"-a", "+-"}, {"a-", "-b"}},
        {"root ::= .", {"a", "\xC3\xA9", "\xF0\x9F\x98\x80"}, {"\n", "\xC3", "ab", "\xED\xA0\x80"}},
        {"root ::= [\xC3\xA0-\xC3\xBF]", {"\xC3\xA9"}, {"\xC3\x9F", "e"}},
        {"root ::= [\\u0430-\\u044F]+", {"\xD1\x84\xD0\xB0"}, {"f", "\xD0\x90"}},
        {"root ::= [^a]", {"b", "\xE2\x82\xAC"}, {"a", "\xE2\x82"}},
        {"root ::= \"\\x41\\u00e9\\\"\\\\\"", {"A\xC3\xA9\"\\"}, {"A"}},
        {"root ::= a-1 b_2 # said\n# nothing\na-1 ::= \"a\"\nb_2 ::=\n \"b\" |\n \"c\"",
         {"ab", "ac"},
         {"a", "abc"}},
        // It holds itself.
        {"root ::= \"(\" root \")\" | \"x\"", {"x", "((x))"}, {"((x)", "()"}},
        {"root ::= item (\",\" item)*\nitem ::= [0-9]+ | \"[\" root? \"]\"",
         {"1", "1,[2,[]],34"},
         {"", "1,", "[", "[1"}},
        {"root ::= list\nlist ::= \"a\" list | \"a\"", {"a", "aaaaaaaaaaaaaaaaaaaa"}, {"", "b"}},
    };
    for (const Case& each : cases) {
        test::check_matches(each.grammar, each.right, each.wrong);
    }
}

TEST_CASE("every code point is one character and no other bytes are", "[grammar][gbnf]") {
    const auto grammar = Grammar::parse("root ::= [^\\x00]").value();
    std::size_t count = 0;
    // All sequences that the grammar allows, byte by byte.
    Recogniser recogniser(grammar);
    std::vector<Recogniser::State> states = {recogniser.start()};
    for (int depth = 0; depth < 4; ++depth) {
        std::vector<Recogniser::State> next_states;
        for (const Recogniser::State state : states) {
            for (int byte = 0; byte < 256; ++byte) {
                const auto next = recogniser.next(state, static_cast<std::uint8_t>(byte));
                if (next == Recogniser::kDead) continue;
                if (recogniser.is_complete(next)) {
                    ++count;
                } else {
                    next_states.push_back(next);
                }
            }
        }
        states = std::move(next_states);
    }
    CHECK(states.empty());
    CHECK(count == 0x110000 - 0x800 - 1);
}

TEST_CASE("what is wrong with a grammar is said, and where", "[grammar][gbnf]") {
    struct Wrong {
        std::string grammar, said;
    };
    std::string deep = "root ::= ";
    for (int i = 0; i < 200; ++i) {
        deep += "(";
    }
    const Wrong wrongs[] = {
        {"", "no rule \"root\""},
        {"a ::= \"b\"", "no rule \"root\""},
        {"root ::= name", "no rule \"name\""},
        {"root = \"b\"", "line 1, column 6"},
        {"root ::= \"b\nroot", "no end"},
        {"root ::= \"b\"\nroot ::= \"c\"", "there already"},
        {"root ::= [a", "line 1"},
        {"root ::= []", "holds no character"},
        {"root ::= [^\\x00-\\U0010FFFF]", "holds no character"},
        {"root ::= [b-a]", "ends before it begins"},
        {"root ::= (\"a\"", "expected ')'"},
        {"root ::= \"a\")", "no '('"},
        {"root ::= \"a\"{3,2}", "below its least"},
        {"root ::= \"a\"{99999}", "at most 4096"},
        {"root ::= \"a\"{x}", "expected a number"},
        {"root ::= \"\\q\"", "unknown escape"},
        {"root ::= \"\\", "escape"},
        {"root ::= \"\\u12\"", "hexadecimal"},
        {"root ::= \"\\UFFFFFFFF\"", "U+10FFFF"},
        {"root ::= \"\xC3(\"", "not UTF-8"},
        {"root ::= \"\xC3", "not UTF-8"},
        {"root ::= \"\x80\"", "not UTF-8"},
        {"root ::= [\xC0\x80]", "not UTF-8"},
        {"root ::= [\xF7\xBF\xBF\xBF]", "not UTF-8"},
        {"root ::= root \"a\" | \"a\"", "\"root\" can begin with itself"},
        {"root ::= a\na ::= b? a \"x\"\nb ::= \"y\"", "can begin with itself"},
        {"root ::= (\"a\"?)*", "may be empty"},
        {"root ::= !", "expected a piece"},
        {deep, "too many brackets"},
    };
    for (const Wrong& wrong : wrongs) {
        const auto grammar = Grammar::parse(wrong.grammar);
        INFO(wrong.grammar);
        REQUIRE_FALSE(grammar);
        CHECK_THAT(grammar.error().text, Catch::Contains(wrong.said));
    }
    const auto large = Grammar::parse("root ::= " + std::string("\"a\"{4000} ") + "[ab]{4000}" +
                                      std::string(2U << 20, ' '));
    REQUIRE_FALSE(large);
    CHECK(large.error().code == ErrorCode::too_large);
}

}  // namespace
}  // namespace hearth::grammar

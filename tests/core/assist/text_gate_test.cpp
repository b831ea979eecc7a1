#include "core/assist/text_gate.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::assist {
namespace {

using engine::FinishReason;

TEST_CASE("a stop string never leaks, however it is cut into pieces", "[assist][stop_strings]") {
    struct Case {
        std::vector<std::string> stops;
        std::string text, out;
        bool is_stopped;
    };
    const std::vector<Case> cases = {
        {{"</end>"}, "hello</end>more", "hello", true},
        {{"</end>"}, "hello</en", "hello</en", false},
        {{"</end>"}, "a<</end>", "a<", true},
        {{"aab"}, "aaab", "a", true},
        {{"abc", "b"}, "xabc", "xa", true},
        {{"\n\nUser:"}, "one\n\ntwo", "one\n\ntwo", false},
        {{}, "anything", "anything", false},
        {{"x"}, "", "", false},
    };
    for (const Case& each : cases) {
        for (std::size_t bytes = 1; bytes <= each.text.size() + 1; ++bytes) {
            INFO(each.text << " in pieces of " << bytes);
            StopStrings stops(each.stops);
            std::string out;
            for (std::size_t at = 0; at < each.text.size(); at += bytes) {
                out += stops.feed(each.text.substr(at, bytes));
                CHECK(each.out.starts_with(out));
            }
            out += stops.finish();
            CHECK(stops.is_stopped() == each.is_stopped);
            CHECK(out == each.out);
        }
    }
}

std::string explain(const std::string& text, FinishReason reason) {
    ExplainGate gate({"<stop>"});
    std::string out;
    for (const char c : text) {
        const GateAnswer answer = gate.feed(std::string(1, c), 1.0F);
        out += answer.text;
        if (answer.is_enough) return out;
    }
    return out + gate.finish(reason);
}

TEST_CASE("an explanation is clean at both ends", "[assist][explain_gate]") {
    CHECK(explain("\n  Adds two numbers.\n", FinishReason::stop_token) == "Adds two numbers.");
    CHECK(explain("Adds two numbers", FinishReason::stop_token) == "Adds two numbers");
    CHECK(explain("One. Two.<stop>Three.", FinishReason::stop_token) == "One. Two.");
    CHECK(explain("  ", FinishReason::stop_token).empty());
    CHECK(explain("First.\n\n- a\n- b\n", FinishReason::stop_token) == "First.\n\n- a\n- b");
}

TEST_CASE("an explanation that was cut ends with a sentence", "[assist][explain_gate]") {
    CHECK(explain("Uses v3.5 of it. Then it", FinishReason::tokens_max) == "Uses v3.5 of it.");
    CHECK(explain("One. Two.", FinishReason::tokens_max) == "One. Two.");
    CHECK(explain("Only half a sent", FinishReason::tokens_max) == "Only half a sent");
    CHECK(explain("One. Tw", FinishReason::cancelled) == "One.");
}

TEST_CASE("an explanation streams by the sentence", "[assist][explain_gate]") {
    ExplainGate gate({});
    CHECK(gate.feed("Adds a", 1.0F).text.empty());
    CHECK(gate.feed(" and b. Then", 1.0F).text == "Adds a and b.");
    CHECK(gate.feed(" stops.\nEnd", 1.0F).text == " Then stops.\n");
    CHECK(gate.finish(FinishReason::stop_token) == "End");
}

TEST_CASE("a fix is tidied to stand in place of the marked line", "[assist][fix_gate]") {
    CHECK(tidy_fix("    return a\n", "    retrun a\n", false) == "    return a");
    CHECK(tidy_fix("return a", "    retrun a", false) == "    return a");
    CHECK(tidy_fix("\n\treturn a\n\n", "\tretrun a", false) == "\treturn a");
    CHECK(tidy_fix("    return a  ", "    return a", false).empty());
    CHECK(tidy_fix("  ", "x", false).empty());
    CHECK(tidy_fix("if a:\n    b()", "  fi a:\n", false) == "  if a:\n      b()");
}

TEST_CASE("a chat model's fix is taken out of its fence", "[assist][fix_gate]") {
    CHECK(tidy_fix("Sure:\n```c\nint a;\n```\nDone.", "itn a;", true) == "int a;");
    CHECK(tidy_fix("```\nint a;", "itn a;", true) == "int a;");
    CHECK(tidy_fix("int a;", "itn a;", true) == "int a;");
    CHECK(tidy_fix("```", "itn a;", true).empty());
}

TEST_CASE("a fix of one line needs no second", "[assist][fix_gate]") {
    FixGate gate({.marked = "  itn a;\n", .may_have_fence = false, .stops = {}});
    CHECK_FALSE(gate.feed("  int a;", 1.0F).is_enough);
    const GateAnswer answer = gate.feed("\nmore", 1.0F);
    CHECK(answer.is_enough);
    CHECK(answer.text == "  int a;");
}

TEST_CASE("a fix that was cut is no fix", "[assist][fix_gate]") {
    for (const auto reason :
         {FinishReason::tokens_max, FinishReason::deadline, FinishReason::cancelled}) {
        FixGate gate({.marked = "itn a = 1;", .may_have_fence = false, .stops = {}});
        gate.feed("int a", 1.0F);
        CHECK(gate.finish(reason).empty());
    }
}

}  // namespace
}  // namespace hearth::assist

#include "core/assist/text_gate.h"

#include <string>
#include <utility>
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
    ExplainGate gate({.stops = {"<stop>"}});
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

TEST_CASE("an explanation ends before what the model is not sure of", "[assist][explain_gate]") {
    const auto shown = [](float first, float second) {
        ExplainGate gate({.stops = {}, .confidence_min = 0.5});
        std::string out;
        for (const auto& [text, probability] :
             {std::pair{"Adds two numbers. ", first}, std::pair{"Then it stops. ", second}}) {
            const GateAnswer answer = gate.feed(text, probability);
            out += answer.text;
            if (answer.is_enough) return out;
        }
        return out + gate.finish(FinishReason::stop_token);
    };
    CHECK(shown(0.9F, 0.8F) == "Adds two numbers. Then it stops.");
    CHECK(shown(0.9F, 0.1F) == "Adds two numbers.");
    CHECK(shown(0.2F, 0.9F).empty());
}

TEST_CASE("an explanation that says the same over and over is not begun",
          "[assist][explain_gate]") {
    ExplainGate gate({.stops = {}, .confidence_min = 0.1});
    CHECK(gate.feed("Returns the number of the number of the number", 0.9F).text.empty());
    CHECK(gate.finish(FinishReason::stop_token).empty());
    ExplainGate second({.stops = {}, .confidence_min = 0.1});
    CHECK(second.feed("Adds it. The sum of the sum of. ", 0.9F).text.empty());
    ExplainGate third({.stops = {}, .confidence_min = 0.1});
    CHECK(third.feed("Adds it. ", 0.9F).text == "Adds it.");
    CHECK(third.feed("The sum of the sum of. ", 0.9F).is_enough);
    ExplainGate code({.stops = {}, .confidence_min = 0.1});
    CHECK(code.feed("EXPECT_EQ(1, 0, 0, 0, 0, 0). ", 0.9F).is_enough);
    ExplainGate unchecked({.stops = {}, .confidence_min = 0.0});
    CHECK_FALSE(unchecked.feed("The sum of the sum of. ", 0.01F).text.empty());
}

TEST_CASE("a fix that is unlikely or makes things worse is no fix", "[assist][fix_gate]") {
    struct FixCase {
        std::string before, marked, after, answer, fixed;
        float probability = 0.9F;
    };
    const std::vector<FixCase> cases = {
        {"", "itn a;", "", "int a;", "int a;"},
        {"", "itn a;", "", "int a;", "", 0.2F},
        {"", "f(a));", "", "f(a);", "f(a);"},
        {"", "f(a);", "", "f(b));", ""},
        {"", "f(a));", "", "f(b));", "f(b));"},  // as broken as before
        {"g(a,\n", "  b;", "", "  b);", "  b);"},
        {"a = b;\n", "a = c;", "", "a = b;", ""},
        {"", "a = c;", "a = b;\n", "a = b;", ""},
        {"", "s = \"a;", "", "s = \"a\";", "s = \"a\";"},
        {"", "s = \"a\";", "", "s = \"a;", ""},
        {"", "return a", "", "return the sum of the sum of", ""},
    };
    for (const FixCase& each : cases) {
        INFO(each.marked << " -> " << each.answer);
        FixGate gate({.before = each.before,
                      .marked = each.marked,
                      .after = each.after,
                      .language = "cpp",
                      .probability_min = 0.3});
        std::string out = gate.feed(each.answer, each.probability).text;
        out += gate.finish(FinishReason::stop_token);
        CHECK(out == each.fixed);
        FixGate unchecked({.before = each.before, .marked = each.marked, .after = each.after});
        unchecked.feed(each.answer, each.probability);
        CHECK(unchecked.finish(FinishReason::stop_token) == each.answer);
    }
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
    FixGate gate({.before = {}, .marked = "  itn a;\n", .after = {}});
    CHECK_FALSE(gate.feed("  int a;", 1.0F).is_enough);
    const GateAnswer answer = gate.feed("\nmore", 1.0F);
    CHECK(answer.is_enough);
    CHECK(answer.text == "  int a;");
}

TEST_CASE("a fix that was cut is no fix", "[assist][fix_gate]") {
    for (const auto reason :
         {FinishReason::tokens_max, FinishReason::deadline, FinishReason::cancelled}) {
        FixGate gate({.before = {}, .marked = "itn a = 1;", .after = {}});
        gate.feed("int a", 1.0F);
        CHECK(gate.finish(reason).empty());
    }
}

}  // namespace
}  // namespace hearth::assist

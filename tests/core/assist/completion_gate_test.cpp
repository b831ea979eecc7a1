#include "core/assist/completion_gate.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/assist/fakes.h"

namespace hearth::assist {
namespace {

using engine::FinishReason;

struct Case {
    std::string place;  ///< the document, its cursor marked
    std::string model;  ///< what the model says
    std::string shown;  ///< what the user sees
    std::uint32_t lines_max = 0;
    FinishReason reason = FinishReason::stop_token;
};

struct Outcome {
    std::string shown;
    std::size_t bytes_read = 0;
};

/// Feeds the model's text in pieces of `piece_bytes`.
Outcome run(const Case& each, std::size_t piece_bytes) {
    const test::MarkedText place(each.place);
    CompletionGate gate({.before = place.before(),
                         .after = place.after(),
                         .language = "cpp",
                         .lines_max = each.lines_max});
    Outcome outcome;
    for (std::size_t at = 0; at < each.model.size(); at += piece_bytes) {
        const std::string piece = each.model.substr(at, piece_bytes);
        const GateAnswer answer = gate.feed(piece, 1.0F);
        outcome.shown += answer.text;
        outcome.bytes_read += piece.size();
        if (answer.is_enough) return outcome;
    }
    outcome.shown += gate.finish(each.reason);
    return outcome;
}

void check_cases(const std::vector<Case>& cases) {
    for (const Case& each : cases) {
        for (const std::size_t piece_bytes : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
            INFO(each.place << " <- " << each.model << " in pieces of " << piece_bytes);
            CHECK(run(each, piece_bytes).shown == each.shown);
        }
    }
}

TEST_CASE("one line ends with the line", "[assist][completion_gate]") {
    check_cases({
        {"int a = ^\n", "1;\nint b = 2;\n", "1;", 1},
        {"int a = ^\n", "1;", "1;", 1},
        {"int a = ^\n", "1;   \n", "1;", 1},
        {"int a = ^\n", "\nint b;", "", 1},
        {"int a = ^\n", "  ", "", 1},
        {"^", "x", "x", 1},
        {"^", "", "", 1},
    });
}

TEST_CASE("what the model writes anew of the text before the cursor is not shown",
          "[assist][completion_gate]") {
    const auto shown = [](std::vector<std::string_view> tokens) {
        CompletionGate gate({.before = "int a =\n    get",
                             .after = "\n",
                             .healed = " get",
                             .language = "cpp",
                             .lines_max = 1});
        std::string text;
        for (const std::string_view token : tokens) {
            const bool is_known = token == " g";
            text += gate.feed(token, is_known ? 0.001F : 0.5F).text;
        }
        text += gate.finish(FinishReason::stop_token);
        return text + " " + std::to_string(gate.evidence().token_count);
    };
    CHECK(shown({" getB", "();"}) == "B(); 2");
    CHECK(shown({" g", "etB", "();"}) == "B(); 3");
    CHECK(shown({" get", "B();"}) == "B(); 2");
    CHECK(shown({" g", "o();"}) == "o(); 2");
    CHECK(shown({}) == " 0");
}

TEST_CASE("code right of the cursor makes it one line", "[assist][completion_gate]") {
    check_cases({
        {"int a = ^ + c;\n", "b\n  + d\n", "b"},
        {"f(^)\n", "a,\n  b", "a,"},
        {"return ^x;\n", "a + ", "a + "},
    });
}

TEST_CASE("what stands right of the cursor is not said again", "[assist][completion_gate]") {
    check_cases({
        {"int a = ^;", "1;", "1"},
        {"int a = ^;", "1", "1"},
        {"foo(^)", "a, b)", "a, b"},
        {"foo(^);", "a, b);\n", "a, b"},
        {"foo(^)", "bar()", "bar()"},
        {"foo(^)", "bar(x[1])", "bar(x[1])"},
        {"if (foo(^)) {", "x)) {", "x"},
        {"if (foo(^) {", "x))", "x)"},
        {"foo(^", "a, b)", "a, b)"},
        {"x = [^]", "1, 2]", "1, 2"},
        {"print(\"^\")", "hello\")", "hello"},
        {"print(\"^\")", "a \\\"b\\\" c\")", "a \\\"b\\\" c"},
        {"say('^')", "it')", "it"},
        {"a = ^b + c", "b + c", ""},
        {"a = ^b + c", "b", ""},
        {"a = ^ b", "2 *", "2 *"},
        {"f(^) + g()", "x", "x"},
        {"call(\")\", ^)", "y)", "y"},
    });
}

TEST_CASE("a bracket that is already closed ends the answer at once", "[assist][completion_gate]") {
    const Case each{"foo(^)", "a) and much more that nobody needs to wait for", "a"};
    CHECK(run(each, 1).shown == "a");
    CHECK(run(each, 1).bytes_read == 2);
}

TEST_CASE("a block ends where its indentation ends", "[assist][completion_gate]") {
    check_cases({
        {"def f():\n    ^\n", "a = 1\n    return a\n\ndef g():\n", "a = 1\n    return a"},
        {"def f():\n    ^\n", "a = 1\n    return a\ndef g():\n    pass\n", "a = 1\n    return a"},
        {"def f():^\n", "\n    return 1\ndef g():\n", "\n    return 1"},
        {"def f():^\n", "\n    a = 1\n    return a", "\n    a = 1\n    return a"},
        {"^",
         "def f():\n    return 1\ndef g():\n    return 2\n",
         "def f():\n    return 1\ndef g():\n    return 2"},
        {"\tif (a) {^\n", "\n\t\tb();\n\t}\n\tc();\n", "\n\t\tb();\n\t}"},
        {"    if (a) {^\n",
         "\n        b();\n    } else {\n        c();\n    }\n    d();\n",
         "\n        b();\n    } else {\n        c();\n    }"},
        {"    for x in y:^\n", "\n        z(x)\n    return y\n", "\n        z(x)"},
        {"{\n    a();\n    ^\n", "b();\n}\n", "b();"},
        {"class A:\n^\n", "    x = 1\n    y = 2\nz = 3\n", "    x = 1\n    y = 2"},
    });
}

TEST_CASE("a dedent ends the answer before its line has come", "[assist][completion_gate]") {
    const Case each{"def f():\n    ^\n", "return 1\ndef g(): and so on", "return 1"};
    CHECK(run(each, 1).shown == "return 1");
    CHECK(run(each, 1).bytes_read == std::string("return 1\nd").size());
}

TEST_CASE("a blank line ends a block", "[assist][completion_gate]") {
    check_cases({
        {"a = 1^\n", "\nb = 2\n\nc = 3\n", "\nb = 2"},
        {"a = 1^\n", "\n\nc = 3\n", ""},
        {"\n^\n", "\nc = 3\nd = 4", "\nc = 3\nd = 4"},
        {"\n^\n", "\n\nc = 3\n", ""},
    });
}

TEST_CASE("lines_max lines are shown and no more is read", "[assist][completion_gate]") {
    const Case each{"^\n", "a\nb\nc\nd\n", "a\nb", 2};
    check_cases({each});
    CHECK(run(each, 1).bytes_read == 4);
}

TEST_CASE("the next line of the document is not said again", "[assist][completion_gate]") {
    check_cases({
        {"{\n    a();\n    ^\n    c();\n}\n", "b();\n    c();\n", "b();"},
        {"{\n    ^\n    c();\n}\n", "c();\n", ""},
        {"{\n    ^\n\n    c();\n}\n", "c();", ""},
        {"if (a) {^\n}\n", "\n    b();\n}\n", "\n    b();"},
        {"{\n    ^\r\n    c();\r\n}\r\n", "b();\n    c();\n", "b();"},
    });
}

TEST_CASE("an answer that repeats itself is cut", "[assist][completion_gate]") {
    check_cases({
        {"^\n", "add(a)\nadd(a)\nadd(a)\nadd(a)\n", "add(a)"},
        {"^\n", "a,\nb,\na,\nb,\na,\nb,\n", "a,\nb,\na,\nb,"},
    });
    std::string loop = "x = [";
    for (int i = 0; i < 100; ++i) {
        loop += "0, ";
    }
    const std::string shown = run({"^\n", loop, ""}, 1).shown;
    CHECK(shown.size() < 12);
    CHECK(shown.starts_with("x = [0,"));
    // A ruler is no loop.
    const std::string ruler = "# " + std::string(78, '-');
    CHECK(run({"^\n", ruler, ""}, 1).shown == ruler);
}

TEST_CASE("what a limit has cut goes back to what is whole", "[assist][completion_gate]") {
    const auto cut = FinishReason::tokens_max;
    check_cases({
        {"^\n", "a = 1\nb = 2\nc = thr", "a = 1\nb = 2", 0, cut},
        {"^\n", "a = 1\nb = 2\n", "a = 1\nb = 2", 0, cut},
        {"^\n", "total = first + seco", "total = first +", 0, cut},
        {"^\n", "seco", "", 0, cut},
        {"^\n", "a = 1\nb = 2\nc = thr", "a = 1\nb = 2", 0, FinishReason::deadline},
        {"^\n", "a = 1\nb", "a = 1", 0, FinishReason::cancelled},
    });
}

TEST_CASE("carriage returns of the model are not shown", "[assist][completion_gate]") {
    check_cases({{"^\r\n", "a\r\nb\r\n", "a\nb"}, {"f(^)\r\n", "x)\r\n", "x"}});
}

TEST_CASE("an unlikely suggestion is not shown", "[assist][completion_gate]") {
    const auto shown = [](float first, float second) {
        CompletionGate gate({.before = "", .after = "", .lines_max = 1, .probability_min = 0.5});
        std::string text = gate.feed("ab", first).text;
        text += gate.feed("cd", second).text;
        return text + gate.finish(FinishReason::stop_token);
    };
    CHECK(shown(0.9F, 0.6F) == "abcd");
    CHECK(shown(0.9F, 0.3F).empty());
    CHECK(shown(0.0F, 1.0F).empty());
}

TEST_CASE("an unlikely first line ends the whole answer", "[assist][completion_gate]") {
    CompletionGate gate({.before = "", .after = "", .probability_min = 0.5});
    const GateAnswer answer = gate.feed("a = 1\nb", 0.1F);
    CHECK(answer.text.empty());
    CHECK(answer.is_enough);
}

TEST_CASE("a first line with a fault is not shown, a later one ends the answer",
          "[assist][completion_gate]") {
    check_cases({
        {"return ^\n", "the list of the list of", ""},
        {"go(a);\n^\n", "go(a);\ngo(b);\n", ""},
        {"^\n", "a();\na();\n", "a();"},
        {"f(^\n", "a));\nb();\n", ""},
        {"{\n    ^\n}\n", "f(a);\n    g(b));\n    h();\n", "f(a);"},
        {"^\n", "a = \"b;\nc();\n", ""},
        {"return ^value;\n", "my", ""},
    });
    CompletionGate gate({.before = "f(", .after = "\n", .language = "cpp", .lines_max = 1});
    gate.feed("a));\n", 0.5F);
    REQUIRE(gate.decision());
    CHECK(gate.decision()->model_fault == Fault::unbalanced);
    CHECK(gate.decision()->model_line == "a));");
    CHECK(gate.decision()->choice.source == Source::none);
    CompletionGate unchecked(
        {.before = "f(", .after = "\n", .language = "cpp", .lines_max = 1, .has_checks = false});
    CHECK(unchecked.feed("a));\n", 0.5F).text == "a));");
}

TEST_CASE("the end of a suggestion does not run into the rest of the line",
          "[assist][completion_gate]") {
    check_cases({
        {"return ^ && ready;\n", "is_open && ready", "is_open"},
        {"a = ^ + total * 2;\n", "first + total", "first"},
        {"a = ^ + b;\n", "c + d", "c + d"},
        {"x = f(^, last);\n", "first, last", "first"},
    });
}

TEST_CASE("a block goes on while each of its lines is likely", "[assist][completion_gate]") {
    CompletionGate gate({.before = "", .after = "", .probability_min = 0.5});
    std::string shown = gate.feed("a();\n", 0.9F).text;
    shown += gate.feed("b();\n", 0.8F).text;
    CHECK(shown == "a();\nb();");
    const GateAnswer last = gate.feed("c();\n", 0.3F);
    CHECK(last.text.empty());
    CHECK(last.is_enough);
}

CopyOffer copy_of(std::string text, std::int32_t match, std::int32_t agreeing) {
    CopyOffer offer;
    offer.text = text;
    offer.evidence = {.text = std::move(text), .match_characters = match, .agreeing = agreeing};
    return offer;
}

TEST_CASE("a likelier copy takes the model's place", "[assist][completion_gate]") {
    const std::vector<CopyOffer> copies = {copy_of("copied();", 200, 8)};
    const auto shown = [&](const std::string& model, float probability) {
        CompletionGate gate({.before = "",
                             .after = "",
                             .language = "cpp",
                             .copies = copies,
                             .probability_min = 0.3});
        const GateAnswer answer = gate.feed(model, probability);
        return answer.is_enough ? answer.text : answer.text + gate.finish(FinishReason::stop_token);
    };
    CHECK(shown("model();\n", 0.5F) == "copied();");
    CHECK(shown("model();\n", 0.99F) == "model();");
    CHECK(shown("copied();\nmore();\n", 0.5F) == "copied();\nmore();");
    CHECK(shown("", 1.0F) == "copied();");
    CHECK(shown("f(a]\n", 0.99F) == "copied();");
}

TEST_CASE("a model that has lost is not read on", "[assist][completion_gate]") {
    const std::vector<CopyOffer> copies = {copy_of("copied();", 200, 8)};
    CompletionGate gate({.before = "", .after = "", .copies = copies, .probability_min = 0.3});
    CHECK_FALSE(gate.feed("co", 0.2F).is_enough);  // it may still say what was copied
    const GateAnswer answer = gate.feed("unt", 0.2F);
    CHECK(answer.is_enough);
    CHECK(answer.text == "copied();");
    CompletionGate alone({.before = "", .after = "", .probability_min = 0.3});
    const GateAnswer nothing = alone.feed("count", 0.1F);
    CHECK(nothing.is_enough);
    CHECK(nothing.text.empty());
}

TEST_CASE("a line that another beginning may beat is left open", "[assist][completion_gate]") {
    const auto decide = [](float second_rival, bool leaves_open, double probability_min) {
        CompletionGate gate({.before = "",
                             .after = "",
                             .probability_min = probability_min,
                             .leaves_open = leaves_open});
        gate.feed("a", 0.9F, 0.05F);
        const GateAnswer answer = gate.feed("b();\n", 0.3F, second_rival);
        return std::pair(answer, gate.decision().value());
    };
    const auto [answer, decision] = decide(0.6F, true, 0.1);
    CHECK(answer.text.empty());
    CHECK(answer.is_enough);
    CHECK(decision.is_open);
    CHECK(decision.model_line == "ab();");
    CHECK(decide(0.6F, false, 0.1).first.text == "ab();");
    CHECK_FALSE(decide(0.2F, true, 0.1).second.is_open);  // it cannot
    CHECK_FALSE(decide(0.4F, true, 0.9).second.is_open);  // nor would it be shown
}

TEST_CASE("where lines are judged, less likely ones keep a line open",
          "[assist][completion_gate]") {
    CopyOffer copy;
    copy.text = "other();";
    copy.evidence = {.text = "other();", .match_characters = 20, .agreeing = 1};
    const auto is_open = [&](float rival, std::span<const CopyOffer> copies, double least) {
        CompletionGate gate({.before = "",
                             .after = "",
                             .copies = copies,
                             .probability_min = least,
                             .leaves_open = true,
                             .chances = {.of_best = 0.1, .of_shown = 0.4}});
        gate.feed("b();\n", 0.5F, rival);
        return gate.decision().value().is_open;
    };
    CHECK(is_open(0.2F, {}, 0.1));
    CHECK_FALSE(is_open(0.01F, {}, 0.1));
    CHECK(is_open(0.01F, {&copy, 1}, 0.1));
    CHECK(is_open(0.5F, {}, 0.9));        // it may turn out to be likely enough
    CHECK_FALSE(is_open(0.2F, {}, 0.9));  // but not from so far
    copy.fault = Fault::unbalanced;
    CHECK_FALSE(is_open(0.01F, {&copy, 1}, 0.1));
}

TEST_CASE("a line that was chosen is shown, however likely", "[assist][completion_gate]") {
    CompletionGate gate({.before = "",
                         .after = "",
                         .copies = {},
                         .probability_min = 0.5,
                         .chosen = Choice{Source::model, 0.6, "a();"}});
    CHECK(gate.feed("a();\n", 0.1F).text == "a();");
    CHECK(gate.feed("b();\n", 0.9F).text == "\nb();");
    CHECK(gate.feed("c();\n", 0.1F).is_enough);
}

TEST_CASE("copies are offered as the gate would show them", "[assist][completion_gate]") {
    const auto offers = [](const std::string& marked) {
        const test::MarkedText place(marked);
        std::vector<std::string> out;
        for (const CopyOffer& offer :
             find_copy_offers({.before = place.before(), .after = place.after(), .others = {}},
                              "cpp",
                              CancelToken())) {
            out.push_back(offer.text + ": " + std::string(to_string(offer.fault)));
        }
        return out;
    };
    using Offers = std::vector<std::string>;
    CHECK(offers("call(a, b) {\ncall(^)\n") == Offers{"a, b: none"});
    CHECK(offers("go(a);\ngo(^\n") == Offers{"a);: repeats_line_above"});
    CHECK(offers("x = (go(a));\ny = go(^\n") == Offers{"a));: unbalanced"});
    CHECK(offers("nothing alike^\n").empty());
}

TEST_CASE("what was released is never taken back", "[assist][completion_gate]") {
    CompletionGate gate({.before = "", .after = ""});
    CHECK(gate.feed("a = 1\n", 1.0F).text == "a = 1");
    CHECK(gate.feed("b = 2\n", 1.0F).text == "\nb = 2");
    CHECK(gate.feed("\n", 1.0F).text.empty());
}

}  // namespace
}  // namespace hearth::assist

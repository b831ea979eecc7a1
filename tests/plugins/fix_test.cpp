#include <catch2/catch.hpp>

#include "tests/support/shipped_plugins.h"

namespace hearth::test {
namespace {

using plugin_host::Action;
using plugin_host::ActionKind;
using plugin_host::CallStatus;
using plugin_host::DiagnosticView;
using plugin_host::PartKind;

std::vector<Action> fixes(ShippedPlugins& shipped,
                          const MarkedText& text,
                          std::span<const DiagnosticView> diagnostics = {}) {
    std::vector<Action> actions = shipped.host->list_actions(
        shipped.context, view_of(text), selection_of(text, diagnostics), 16);
    std::erase_if(actions, [](const Action& action) { return action.kind != ActionKind::fixes; });
    return actions;
}

std::string text_of(const MarkedText& source, const plugin_host::ByteRange& range) {
    return source.text.substr(range.begin_byte, range.end_byte - range.begin_byte);
}

DiagnosticView diagnostic_at(std::uint64_t byte, std::string_view message) {
    return {.range = {.begin_byte = byte, .end_byte = byte + 1},
            .severity = 1,
            .source = "test",
            .message = message};
}

TEST_CASE("without a diagnostic the first line with text is offered", "[plugins][fix]") {
    struct Case {
        MarkedText text;
        const char* line;
    };
    const Case cases[] = {
        {marked("one\n  tw^o\nthree\n"), "  two"},
        {marked("one\r\ntw^o\r\nthree"), "two"},
        {marked("one\ntwo^"), "two"},
        {marked("one\n<\n  \ntwo\nthree>\n", '<', '>'), "two"},
    };
    ShippedPlugins shipped;
    for (const Case& test : cases) {
        INFO(test.line);
        const std::vector<Action> actions = fixes(shipped, test.text);
        REQUIRE(actions.size() == 1);
        CHECK(actions[0].title == "Fix this line");
        CHECK(text_of(test.text, actions[0].range) == test.line);
    }
    CHECK(fixes(shipped, marked("one\n^\ntwo")).empty());
    CHECK(fixes(shipped, marked("^")).empty());
}

TEST_CASE("each diagnostic is an action with a title that fits", "[plugins][fix]") {
    ShippedPlugins shipped;
    const MarkedText text = marked("one\ntwo^\nthree\n");
    const std::string long_message = std::string(58, 'x') + "\xc3\xa9\xc3\xa9 and so on";
    const DiagnosticView diagnostics[] = {diagnostic_at(4, "missing ';'\nnote: here"),
                                          diagnostic_at(8, long_message)};
    const std::vector<Action> actions = fixes(shipped, text, diagnostics);
    REQUIRE(actions.size() == 2);
    CHECK(actions[0].title == "Fix: missing ';'");
    CHECK(text_of(text, actions[0].range) == "two");
    CHECK(actions[1].title == "Fix: " + std::string(58, 'x') + "\xc3\xa9...");
    CHECK(text_of(text, actions[1].range) == "three");
}

TEST_CASE("a diagnostic outside of the text or on an empty line is passed over", "[plugins][fix]") {
    ShippedPlugins shipped;
    const MarkedText text = marked("one^\n\n");
    const DiagnosticView diagnostics[] = {diagnostic_at(100, "far"), diagnostic_at(4, "empty")};
    const std::vector<Action> actions = fixes(shipped, text, diagnostics);
    REQUIRE(actions.size() == 1);
    CHECK(actions[0].title == "Fix this line");
}

/// What a fix of the marked line emits when the model answers so.
std::map<std::uint32_t, std::string> fixed(const MarkedText& text,
                                           std::vector<std::string> answer,
                                           FakeContext* noted = nullptr) {
    ShippedPlugins shipped;
    const DiagnosticView diagnostic = diagnostic_at(text.cursor_byte, "missing ';'");
    const std::vector<Action> actions = fixes(shipped, text, {&diagnostic, 1});
    REQUIRE(actions.size() == 1);
    shipped.context->answer = std::move(answer);
    CHECK(shipped.host->run_action(
              shipped.context, view_of(text), selection_of(text, {&diagnostic, 1}), actions[0]) ==
          CallStatus::ok);
    if (noted != nullptr) noted->parts = shipped.context->parts;
    return shipped.context->items;
}

TEST_CASE("the model is shown the line between what stands before and after it", "[plugins][fix]") {
    std::string before;
    std::string after;
    for (int i = 0; i < 15; ++i) {
        before += "b" + std::to_string(i) + "\n";
        after += "a" + std::to_string(i) + "\n";
    }
    FakeContext noted;
    const auto items = fixed(marked(before + "  int a^\n" + after), {"  int", " a;\n"}, &noted);
    CHECK(items.at(0) == "  int a;");
    REQUIRE(noted.parts.size() == 4);
    CHECK(noted.parts[0].kind == PartKind::code);
    CHECK(noted.parts[0].text == before.substr(before.find("b5\n")));
    CHECK(noted.parts[1].kind == PartKind::marked_line);
    CHECK(noted.parts[1].text == "  int a");
    CHECK(noted.parts[2].kind == PartKind::code);
    CHECK(noted.parts[2].text == after.substr(0, after.find("a10\n")));
    CHECK(noted.parts[3].kind == PartKind::diagnostic);
    CHECK(noted.parts[3].text == "missing ';'");
}

TEST_CASE("the first and the last line have nothing beside them", "[plugins][fix]") {
    FakeContext noted;
    CHECK(fixed(marked("int a^"), {"int a;"}, &noted).at(0) == "int a;");
    REQUIRE(noted.parts.size() == 4);
    CHECK(noted.parts[0].text.empty());
    CHECK(noted.parts[2].text.empty());
}

TEST_CASE("an answer that changes nothing is no fix", "[plugins][fix]") {
    const std::vector<std::string> answers[] = {
        {}, {""}, {"\n"}, {"  int a"}, {"  int a\n"}, {"  int", " a  \r\n"}};
    for (const std::vector<std::string>& answer : answers) {
        CHECK(fixed(marked("x\n  int a^  \ny\n"), answer).empty());
    }
}

TEST_CASE("an answer without an end is no fix", "[plugins][fix]") {
    CHECK(fixed(marked("int a^"), std::vector<std::string>(100, std::string(1000, 'x'))).empty());
}

TEST_CASE("an action whose diagnostic has gone is refused", "[plugins][fix]") {
    ShippedPlugins shipped;
    const MarkedText text = marked("int a^");
    const DiagnosticView diagnostic = diagnostic_at(0, "missing ';'");
    const std::vector<Action> actions = fixes(shipped, text, {&diagnostic, 1});
    REQUIRE(actions.size() == 1);
    CHECK(
        shipped.host->run_action(shipped.context, view_of(text), selection_of(text), actions[0]) ==
        CallStatus::unsupported);
}

}  // namespace
}  // namespace hearth::test

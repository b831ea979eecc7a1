#include <catch2/catch.hpp>

#include "tests/support/shipped_plugins.h"

namespace hearth::test {
namespace {

using plugin_host::Action;
using plugin_host::ActionKind;
using plugin_host::CallStatus;

std::vector<Action> explanations(ShippedPlugins& shipped, const MarkedText& text) {
    std::vector<Action> actions =
        shipped.host->list_actions(shipped.context, view_of(text), selection_of(text), 16);
    std::erase_if(actions,
                  [](const Action& action) { return action.kind != ActionKind::explains; });
    return actions;
}

TEST_CASE("the selection, or the block around the cursor, is handed over as code",
          "[plugins][explain]") {
    struct Case {
        MarkedText text;
        const char* code;
    };
    const Case cases[] = {
        {marked("int <a = 1>;\n", '<', '>'), "a = 1"},
        {marked("int f() {\n    ret^urn 1;\n}\nint b;\n"), "int f() {\n    return 1;\n}"},
        {marked("int f() {\r\n    ret^urn 1;\r\n}\r\nint b;\r\n"),
         "int f() {\r\n    return 1;\r\n}"},
    };
    ShippedPlugins shipped;
    for (const Case& test : cases) {
        INFO(test.code);
        const std::vector<Action> actions = explanations(shipped, test.text);
        REQUIRE(actions.size() == 1);
        CHECK(actions[0].title == "Explain this code");
        const auto [begin, end] = actions[0].range;
        CHECK(test.text.text.substr(begin, end - begin) == test.code);

        const auto context = std::make_shared<FakeContext>();
        context->answer = {"It ", "returns."};
        CHECK(shipped.host->run_action(
                  context, view_of(test.text), selection_of(test.text), actions[0]) ==
              CallStatus::ok);
        CHECK(context->items[0] == "It returns.");
        CHECK(context->tasks == std::vector{plugin_host::GenerateTask::explain});
        REQUIRE(context->parts.size() == 1);
        CHECK(context->parts[0].kind == plugin_host::PartKind::code);
        CHECK(context->parts[0].path == "file:///here.cpp");
        CHECK(context->parts[0].text == test.code);
    }
}

TEST_CASE("where there is no code there is nothing to explain", "[plugins][explain]") {
    ShippedPlugins shipped;
    for (const char* const source : {"^", "int a;\n^\nint b;\n", "int a;\n   ^   \n"}) {
        CHECK(explanations(shipped, marked(source)).empty());
    }
    CHECK(explanations(shipped, marked("a\n< \n\t>b", '<', '>')).empty());
}

}  // namespace
}  // namespace hearth::test

#include <optional>

#include <catch2/catch.hpp>

#include "tests/support/shipped_plugins.h"

namespace hearth::test {
namespace {

using plugin_host::CallStatus;

/// What the plugin asked the model for, if anything.
std::optional<plugin_host::InfillOptions> asked(ShippedPlugins& shipped,
                                                const std::string& source) {
    const MarkedText text = marked(source);
    const auto context = std::make_shared<FakeContext>();
    context->answer = {"answer"};
    CHECK(shipped.host->complete(context, view_of(text)) == CallStatus::ok);
    CHECK((context->items[0] == "answer") == !context->infills.empty());
    if (context->infills.empty()) return std::nullopt;
    CHECK(context->infills[0].candidates_max == 1);
    CHECK(context->infills[0].temperature == 0.0F);
    return context->infills[0];
}

/// The number of lines, or -1 for nothing.
int lines_asked(ShippedPlugins& shipped, const std::string& source) {
    const auto options = asked(shipped, source);
    return options ? static_cast<int>(options->lines_max) : -1;
}

TEST_CASE("the cursor's place decides between nothing, a line and a block", "[plugins][complete]") {
    struct Case {
        const char* source;
        int lines;
    };
    constexpr int kNothing = -1;
    constexpr int kLine = 1;
    constexpr int kBlock = 8;
    const Case cases[] = {
        // Nothing to go on, or no room.
        {"^", kNothing},
        {"\n  ^\n", kNothing},
        {"int fo^o = 1;", kNothing},
        {"int ^foo = 1;", kNothing},
        {"print^(x)", kNothing},
        {"a ^+ b", kNothing},
        {"na\xc3^\xafve", kNothing},
        {"x = ^\"text\"", kLine},
        // The rest of a line.
        {"int a = ^", kLine},
        {"int a = ^;\nint b;", kLine},
        {"call(^)", kLine},
        {"call(a, ^ b)", kLine},
        {"text = \"^\"", kLine},
        {"f(^)\r\n", kLine},
        {"return^\n", kLine},
        // A block.
        {"int f() {\n    ^\n}\n", kBlock},
        {"int f() {^\n}\n", kBlock},
        {"int f() { ^\n}\n", kBlock},
        {"def f(x):^\n", kBlock},
        {"def f(x):\n    ^", kBlock},
        {"int f() {\r\n^\r\n}\r\n", kBlock},
    };
    ShippedPlugins shipped;
    for (const Case& test : cases) {
        INFO(test.source);
        CHECK(lines_asked(shipped, test.source) == test.lines);
    }
}

TEST_CASE("the length of a block is a setting", "[plugins][complete]") {
    const std::string block = "def f(x):\n    ^";
    ShippedPlugins three("plugins", {"hearth.complete", "block_lines_max", "3"});
    CHECK(lines_asked(three, block) == 3);
    ShippedPlugins broken("plugins", {"hearth.complete", "block_lines_max", "many"});
    CHECK(lines_asked(broken, block) == 8);
    ShippedPlugins foreign("plugins", {"hearth.other", "block_lines_max", "3"});
    CHECK(lines_asked(foreign, block) == 8);
}

TEST_CASE("the length of a suggestion in tokens is a setting", "[plugins][complete]") {
    const std::string line = "int a = ^";
    ShippedPlugins short_one("plugins", {"hearth.complete", "tokens_max", "24"});
    CHECK(asked(short_one, line).value().tokens_max == 24);
    ShippedPlugins shipped;
    CHECK(asked(shipped, line).value().tokens_max == 0);
}

TEST_CASE("what the model says is passed on, also that it cannot", "[plugins][complete]") {
    ShippedPlugins shipped;
    const MarkedText text = marked("int a = ^;");
    for (const CallStatus status : {CallStatus::unsupported, CallStatus::cancelled}) {
        const auto context = std::make_shared<FakeContext>();
        context->model_status = status;
        CHECK(shipped.host->complete(context, view_of(text)) == status);
    }
}

}  // namespace
}  // namespace hearth::test

#include <catch2/catch.hpp>

#include "tests/support/shipped_plugins.h"

namespace hearth::test {
namespace {

TEST_CASE("the template says what its documentation promises", "[plugins][template]") {
    const std::pair<const char*, const char*> cases[] = {
        {"say hello^", ", world"},
        {"say hello^ there", ", world"},
        {"say hell^", ""},
        {"hello ^", ""},
        {"^hello", ""},
        {"hello^", ", world"},
    };
    ShippedPlugins shipped("template");
    for (const auto& [source, expected] : cases) {
        INFO(source);
        const MarkedText text = marked(source);
        const auto context = std::make_shared<FakeContext>();
        CHECK(shipped.host->complete(context, view_of(text)) == plugin_host::CallStatus::ok);
        CHECK(context->items[0] == expected);
    }
}

}  // namespace
}  // namespace hearth::test

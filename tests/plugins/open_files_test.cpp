#include <catch2/catch.hpp>

#include "tests/support/shipped_plugins.h"

namespace hearth::test {
namespace {

using plugin_host::CallStatus;
using plugin_host::DocumentView;

std::map<std::uint32_t, std::string> gathered(const MarkedText& here,
                                              const std::vector<DocumentView>& others,
                                              std::uint64_t budget_bytes = 16384) {
    ShippedPlugins shipped;
    REQUIRE(shipped.host->provider_count() == 1);
    shipped.context->open_documents = others;
    CHECK(shipped.host->gather(0, shipped.context, view_of(here), budget_bytes) == CallStatus::ok);
    return shipped.context->items;
}

/// Lines that share nothing with anything.
std::string filler(int count, const std::string& word) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
        lines += word + std::to_string(i) + "\n";
    }
    return lines;
}

const char* const kHere = "load_weights(path);\nparse_header(bytes);\n^\n";
const std::string kRelated = "void load_weights(Path path);\nvoid parse_header(Bytes bytes);\n";

TEST_CASE("the related file is given and the unrelated one is not", "[plugins][open_files]") {
    const std::string unrelated = "completely different words here\n";
    const auto items = gathered(marked(kHere),
                                {{.uri = "file:///u.cpp", .language = "cpp", .text = unrelated},
                                 {.uri = "file:///r.cpp", .language = "cpp", .text = kRelated}});
    CHECK(items == std::map<std::uint32_t, std::string>{{0, "file:///r.cpp\n" + kRelated}});
}

TEST_CASE("files of the same language come first, then the more similar, then the more recent",
          "[plugins][open_files]") {
    const std::string less = kRelated + filler(12, "void other_name");
    const auto items = gathered(marked(kHere),
                                {{.uri = "python", .language = "python", .text = kRelated},
                                 {.uri = "less", .language = "cpp", .text = less},
                                 {.uri = "recent", .language = "cpp", .text = kRelated},
                                 {.uri = "older", .language = "cpp", .text = kRelated}});
    REQUIRE(items.size() == 4);
    const char* const order[] = {"recent\n", "older\n", "less\n", "python\n"};
    for (std::uint32_t i = 0; i < 4; ++i) {
        CHECK(items.at(i).starts_with(order[i]));
    }
}

TEST_CASE("of a long file the similar window is given", "[plugins][open_files]") {
    const std::string text = filler(100, "before") + kRelated + filler(100, "after");
    const auto items = gathered(marked(kHere), {{.uri = "long", .language = "cpp", .text = text}});
    REQUIRE(items.size() == 1);
    CHECK(items.at(0).find("load_weights") != std::string::npos);
    CHECK(items.at(0).size() < 600);
}

TEST_CASE("the line being typed changes nothing", "[plugins][open_files]") {
    const std::vector<DocumentView> others = {{.uri = "r", .language = "cpp", .text = kRelated}};
    const auto before = gathered(marked("load_weights(path);\nparse_header(bytes);\nx^\n"), others);
    const auto after =
        gathered(marked("load_weights(path);\nparse_header(bytes);\nxyz other_words()^\n"), others);
    REQUIRE(before.size() == 1);
    CHECK(before == after);
}

TEST_CASE("the budget is kept and a smaller piece may still fit", "[plugins][open_files]") {
    const std::string big = kRelated + "// load_weights path " + std::string(500, 'x') + "\n";
    const auto items = gathered(marked(kHere),
                                {{.uri = "big", .language = "cpp", .text = big},
                                 {.uri = "small", .language = "cpp", .text = kRelated}},
                                kRelated.size() + 10);
    CHECK(items == std::map<std::uint32_t, std::string>{{0, "small\n" + kRelated}});
    CHECK(gathered(marked(kHere), {{.uri = "r", .language = "cpp", .text = kRelated}}, 0).empty());
}

TEST_CASE("a file too long to be read whole is read around where the user was",
          "[plugins][open_files]") {
    const std::string front = filler(20'000, "front_word");
    const std::string text = front + kRelated + filler(20'000, "back_word");
    const auto at = [&](std::uint64_t cursor) {
        return gathered(marked(kHere),
                        {{.uri = "huge", .language = "cpp", .text = text, .cursor_byte = cursor}});
    };
    CHECK(at(front.size()).size() == 1);
    CHECK(at(0).empty());
    CHECK(at(text.size()).empty());
}

TEST_CASE("a cancelled search gives nothing", "[plugins][open_files]") {
    ShippedPlugins shipped;
    const MarkedText here = marked(kHere);
    shipped.context->open_documents = {{.uri = "r", .language = "cpp", .text = kRelated}};
    shipped.context->is_cancel_wanted = true;
    CHECK(shipped.host->gather(0, shipped.context, view_of(here), 1000) == CallStatus::cancelled);
    CHECK(shipped.context->items.empty());
}

}  // namespace
}  // namespace hearth::test

// Bad plugins in a folder that the settings name: left out by name, and the daemon serves on.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/scenarios/support/daemon_fixture.h"

namespace hearth::test {
namespace {

std::string settings_with(const std::string& folder) {
    return R"({"plugin_folders": [")" + folder + R"("]})";
}

void copy_plugin(const std::string& library, const std::string& path) {
    namespace fs = std::filesystem;
    fs::copy_file(Scenario::built("tests/plugins/" + library), path);
    fs::permissions(path, fs::perms::owner_all);
}

TEST_CASE("a folder full of bad plugins costs sentences, not the daemon", "[scenario][plugins]") {
    const TemporaryFolder folder;
    for (const char* fault :
         {"wrong_version", "null_factory", "null_instance", "init_false", "init_throws"}) {
        copy_plugin("test_hostile.so", folder.file(std::string(fault) + ".so"));
    }
    copy_plugin("test_no_entry.so", folder.file("no_entry.so"));
    std::ofstream(folder.file("text.so")) << "no library at all";
    const Scenario scenario(settings_with(folder.path().string()));
    const std::unique_ptr<lsp::Client> client = scenario.start();
    const lsp::HearthStatus status = scenario.status();
    CHECK(left_out_plugins(status) == 7);
    for (const char* id : {"hearth.complete", "hearth.explain", "hearth.fix"}) {
        CHECK(std::count(status.plugins.begin(), status.plugins.end(), id) == 1);
    }
    initialize(*client);
    open_document(*client, "file:///w/a.cpp", "int a = \n");
    CHECK(client->call("textDocument/inlineCompletion",
                       to_any(lsp::InlineCompletionParams{{"file:///w/a.cpp"}, {0, 8}, {}}),
                       kPatience));
}

TEST_CASE("a plugin from the settings' folder answers in the editor", "[scenario][plugins]") {
    const Scenario scenario(settings_with(Scenario::built("lib/hearth/template")));
    const std::unique_ptr<lsp::Client> client = scenario.start();
    CHECK(scenario.status().plugins.size() == 5);
    initialize(*client);
    // Inside a word the shipped plugin stays silent and the template greets.
    open_document(*client, "file:///w/a.cpp", "// hellothere\n");
    const auto list = call<lsp::InlineCompletionList>(
        *client,
        "textDocument/inlineCompletion",
        lsp::InlineCompletionParams{{"file:///w/a.cpp"}, {0, 8}, {}});
    REQUIRE(list.items.size() == 1);
    CHECK(list.items[0].insert_text == ", world");
}

TEST_CASE("settings with a misspelled key are named", "[scenario][plugins]") {
    const Scenario scenario(R"({"plugin_folder": []})");
    const Outcome outcome = scenario.hearth({"serve"});
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.err.find("plugin_folder") != std::string::npos);
}

}  // namespace
}  // namespace hearth::test

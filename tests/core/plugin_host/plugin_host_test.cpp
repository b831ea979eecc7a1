#include "core/plugin_host/plugin_host.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/core/plugin_host/hostile_folder.h"
#include "tests/support/fake_context.h"

namespace hearth::plugin_host {
namespace {

using test::FakeContext;
using test::HostileFolder;
using test::LoadedFolder;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// The first completion that the host gives.
std::string completed(PluginHost& host) {
    const auto context = std::make_shared<FakeContext>();
    host.complete(context, {.uri = "file:///a.cpp", .language = "cpp", .text = "x"});
    return context->items[0];
}

TEST_CASE("a sound plugin is loaded, described and asked", "[plugin_host]") {
    LoadedFolder loaded(HostileFolder{"sound"});
    const std::vector<PluginInfo> infos = loaded.host->plugins();
    REQUIRE(infos.size() == 1);
    CHECK(infos[0].id == "test.hostile");
    CHECK(infos[0].name == "Hostile");
    CHECK(infos[0].version == "1.0");
    CHECK(infos[0].extensions ==
          std::vector<std::string>{"hearth.inline-completion/0", "hearth.code-action/0"});
    CHECK(infos[0].state == PluginState::active);
    CHECK(loaded.host->take_messages().empty());
    CHECK(completed(*loaded.host) == "done");
}

TEST_CASE("a plugin that is wrong is named with its fault and left out, and the next one serves",
          "[plugin_host]") {
    struct Fault {
        const char* name;
        const char* sentence;
        bool is_id_known;
    };
    const Fault faults[] = {
        {"wrong_version", "was built for version 1 of the plugin interface", false},
        {"null_get_factory", "a null get_factory", false},
        {"null_factory", "has no hearth.plugin-factory/0", false},
        {"null_factory_function", "its factory has a null function", false},
        {"no_plugins", "lists 0 plugins", false},
        {"too_many_plugins", "lists 4294967295 plugins", false},
        {"null_descriptor", "describes nothing at place 0", false},
        {"null_id", "the id at place 0 is null", false},
        {"broken_id", "the id at place 0 is null, empty, too long, or not of letters", false},
        {"null_name", "its name or version is null", true},
        {"null_instance", "its create gave no instance", true},
        {"null_instance_function", "its instance has a null function", true},
        {"create_throws", "its create let an exception out: no instance", true},
        {"init_false", "its init refused to start", true},
        {"init_throws", "its init let an exception out: not today", true},
        {"null_extension_function", "hearth.inline-completion/0 has a null function", true},
        {"extension_throws", "its get_extension let an exception out: no extension", true},
    };
    for (const Fault& fault : faults) {
        INFO(fault.name);
        HostileFolder folder{fault.name};
        folder.add("zz_sound.so", "test_hostile.so");
        LoadedFolder loaded(folder);
        const std::vector<PluginInfo> infos = loaded.host->plugins();
        REQUIRE(infos.size() == 2);
        CHECK(infos[0].state == PluginState::left_out);
        INFO(infos[0].reason);
        CHECK(contains(infos[0].reason, fault.sentence));
        CHECK(contains(infos[0].reason, folder.file(std::string(fault.name) + ".so")));
        CHECK(contains(infos[0].reason, "is left out: "));
        CHECK(contains(infos[0].reason, "; "));  // what to do
        CHECK(contains(infos[0].reason, "plugin test.hostile of ") == fault.is_id_known);
        CHECK(loaded.host->take_messages() == std::vector<std::string>{infos[0].reason});
        CHECK(loaded.host->take_messages().empty());
        CHECK(infos[1].state == PluginState::active);
        CHECK(completed(*loaded.host) == "done");
    }
}

TEST_CASE("files that are no plugins are named", "[plugin_host]") {
    HostileFolder folder{};
    folder.add("1_no_entry.so", "test_no_entry.so");
    std::ofstream(folder.file("2_text.so")) << "not a library";
    std::ofstream(folder.file("3_empty.so")).flush();
    std::ofstream(folder.file("4_elf_in_name_only.so")) << "\x7f"
                                                           "ELF and nothing more";
    std::filesystem::create_directory(folder.file("5_folder.so"));
    std::filesystem::create_symlink(folder.file("nowhere"), folder.file("6_dangling.so"));
    std::ofstream(folder.file("readme.txt")) << "not looked at";
    const std::string sentences[] = {"does not export the symbol hearth_plugin_entry",
                                     "is no shared library",
                                     "is no shared library",
                                     "cannot be loaded",
                                     "is no regular file",
                                     "cannot be read"};
    LoadedFolder loaded(folder);
    const std::vector<PluginInfo> infos = loaded.host->plugins();
    REQUIRE(infos.size() == std::size(sentences));
    for (std::size_t i = 0; i < infos.size(); ++i) {
        INFO(infos[i].reason);
        CHECK(infos[i].state == PluginState::left_out);
        CHECK(contains(infos[i].reason, sentences[i]));
    }
    CHECK(completed(*loaded.host).empty());
}

TEST_CASE("what every user of the machine may write to is not loaded", "[plugin_host]") {
    namespace fs = std::filesystem;
    SECTION("a file") {
        const HostileFolder folder{"sound"};
        fs::permissions(folder.file("sound.so"), fs::perms::others_write, fs::perm_options::add);
        LoadedFolder loaded(folder);
        REQUIRE(loaded.host->plugins().size() == 1);
        CHECK(contains(loaded.host->plugins()[0].reason, "every user of this machine may write"));
    }
    SECTION("a folder") {
        const HostileFolder folder{"sound"};
        fs::permissions(folder.path(), fs::perms::others_write, fs::perm_options::add);
        LoadedFolder loaded(folder);
        REQUIRE(loaded.host->plugins().size() == 1);
        CHECK(loaded.host->plugins()[0].path == folder.path());
        CHECK(contains(loaded.host->plugins()[0].reason, "every user of this machine may write"));
    }
}

TEST_CASE("a folder that is not there is named and the others are loaded", "[plugin_host]") {
    const HostileFolder folder{"sound"};
    Log log(LogLevel::error, [](LogLevel, std::string_view, std::string_view) {});
    const SteadyClock clock;
    const auto host = PluginHost::load(
        {.folders = {"/nowhere/at/all", folder.path()}, .budgets = {}, .settings = {}}, log, clock);
    REQUIRE(host->plugins().size() == 2);
    CHECK(contains(host->plugins()[0].reason, "/nowhere/at/all is left out: it cannot be read"));
    CHECK(completed(*host) == "done");
}

TEST_CASE("of two plugins with one id the first is kept", "[plugin_host]") {
    SECTION("in two libraries") {
        const HostileFolder folder{"another", "sound"};
        LoadedFolder loaded(folder);
        const std::vector<PluginInfo> infos = loaded.host->plugins();
        REQUIRE(infos.size() == 2);
        CHECK(infos[0].state == PluginState::active);
        CHECK(contains(infos[1].reason,
                       "another plugin has the same id, in " + folder.file("another.so")));
    }
    SECTION("in one library") {
        LoadedFolder loaded(HostileFolder{"same_id_twice"});
        const std::vector<PluginInfo> infos = loaded.host->plugins();
        REQUIRE(infos.size() == 2);
        CHECK(infos[0].state == PluginState::active);
        CHECK(contains(infos[1].reason, "another plugin has the same id"));
    }
}

TEST_CASE("a plugin whose init hangs is left behind and the next one serves", "[plugin_host]") {
    const HostileFolder folder{"init_hangs", "sound"};
    Log log(LogLevel::error, [](LogLevel, std::string_view, std::string_view) {});
    const SteadyClock clock;
    TimeBudgets budgets;
    budgets.init = std::chrono::milliseconds(500);
    const auto host = PluginHost::load(
        {.folders = {folder.path()}, .budgets = budgets, .settings = {}}, log, clock);
    const std::vector<PluginInfo> infos = host->plugins();
    REQUIRE(infos.size() == 2);
    CHECK(contains(infos[0].reason, "plugin test.hostile of " + folder.file("init_hangs.so")));
    CHECK(contains(infos[0].reason, "did not finish its start within 500 ms"));
    CHECK(completed(*host) == "done");
}

TEST_CASE("a plugin whose destroy throws costs nothing but its library", "[plugin_host]") {
    LoadedFolder loaded(HostileFolder{"destroy_throws"});
    CHECK(completed(*loaded.host) == "done");
    loaded.host.reset();
}

TEST_CASE("the shipped plugins and the template pass the check", "[plugin_host]") {
    const std::string folder = HEARTH_BINARY_DIR "/lib/hearth/";
    const std::pair<const char*, const char*> plugins[] = {
        {"plugins/complete.so", "hearth.complete"},
        {"plugins/explain.so", "hearth.explain"},
        {"plugins/fix.so", "hearth.fix"},
        {"plugins/open_files.so", "hearth.open_files"},
        {"template/template.so", "hearth.template"}};
    for (const auto& [file, id] : plugins) {
        INFO(file);
        const auto infos = check_plugin(folder + file);
        REQUIRE(infos);
        REQUIRE(infos->size() == 1);
        CHECK(infos->front().id == id);
        CHECK(infos->front().extensions.size() == 1);
    }
}

TEST_CASE("the check names what is wrong", "[plugin_host]") {
    const std::pair<const char*, const char*> faults[] = {
        {"wrong_version", "was built for version 1"},
        {"null_instance", "its create gave no instance"},
        {"lookup_changes", "answers the lookup of hearth.inline-completion/0 wrongly"},
        {"destroy_throws", "did not let itself be destroyed"},
    };
    for (const auto& [fault, sentence] : faults) {
        INFO(fault);
        const HostileFolder folder{fault};
        const auto checked = check_plugin(folder.file(std::string(fault) + ".so"));
        REQUIRE_FALSE(checked);
        INFO(checked.error().text);
        CHECK(contains(checked.error().text, sentence));
    }
    CHECK_FALSE(check_plugin("/nowhere/at/all.so"));
}

}  // namespace
}  // namespace hearth::plugin_host

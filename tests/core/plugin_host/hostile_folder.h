// A folder of plugins that are wrong on purpose, and a host that has loaded it.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/plugin_host/plugin_host.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temporary_folder.h"

namespace hearth::test {

/// Copies tests/plugins/test_hostile.so under the names of faults.
class HostileFolder {
  public:
    HostileFolder(std::initializer_list<const char*> faults) {
        for (const char* const fault : faults) {
            add(std::string(fault) + ".so", "test_hostile.so");
        }
    }

    void add(const std::string& name, const std::string& library) {
        namespace fs = std::filesystem;
        fs::copy_file(fs::path(HEARTH_BINARY_DIR "/tests/plugins") / library, file(name));
        fs::permissions(file(name), fs::perms::owner_all);
    }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }
    [[nodiscard]] std::string path() const { return folder_.path().string(); }

  private:
    TemporaryFolder folder_;
};

/// A host over one folder, with a clock that stands still and a log that is kept.
struct LoadedFolder {
    explicit LoadedFolder(const HostileFolder& folder,
                          const plugin_host::PluginHostOptions::Setting& setting = {})
        : host(plugin_host::PluginHost::load(
              {.folders = {folder.path()}, .budgets = {}, .settings = {setting}}, log, clock)) {}

    std::vector<std::string> lines;
    Log log{LogLevel::debug, [this](LogLevel, std::string_view room, std::string_view text) {
                lines.push_back(std::string(room) + ": " + std::string(text));
            }};
    FakeClock clock;
    std::unique_ptr<plugin_host::PluginHost> host;
};

}  // namespace hearth::test

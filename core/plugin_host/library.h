// Library: one shared library on its way to being plugins. Opens it, reads its entry and factory,
// creates and starts its plugins and walks their tables; whatever is wrong becomes a sentence that
// names the file, the plugin and what to do. All of it runs code of the library.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/plugin_host/plugin.h"
#include "core/plugin_host/plugin_host.h"

namespace hearth::plugin_host {

/// What a library may hold.
constexpr std::uint32_t kPluginsPerLibraryMax = 64;

/// Refuses what others may write to: a file or folder that any user of the machine can change.
Result<void> check_trusted(const std::string& path);

/// An opened library with a checked entry and factory. Closed only by close(): a plugin that was
/// left behind may still run in it.
class Library {
  public:
    /// Errors: io, unsupported, corrupt.
    static Result<std::shared_ptr<Library>> open(const std::string& path);

    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;
    ~Library() = default;

    [[nodiscard]] const hearth_plugin_factory& factory() const { return *factory_; }
    void close();

  private:
    Library(void* handle, const hearth_plugin_factory* factory)
        : handle_(handle),
          factory_(factory) {}

    void* handle_;
    const hearth_plugin_factory* factory_;
};

/// What starting a library needs to know of the rest.
struct StartOptions {
    std::shared_ptr<Ledger> ledger;
    std::vector<PluginHostOptions::Setting> settings = {};
    std::map<std::string, std::string> known_ids = {};  ///< plugin id -> the library that has it
    /// Told each plugin's id before its code runs, "" before the library's own.
    std::function<void(const std::string& id)> on_step = {};
};

/// Opens the library at `path` and starts each plugin that it holds. What cannot be started is in
/// the list, too, with its reason. A library without any working plugin is closed again.
std::vector<std::shared_ptr<Plugin>> start_library(const std::string& path,
                                                   const StartOptions& options);

/// Destroys the instance. Errors: internal (it threw).
Result<void> destroy_plugin(Plugin& plugin);

/// A plugin that is not there, with the sentence that says why.
std::shared_ptr<Plugin> make_refused(const std::string& path,
                                     const std::string& id,
                                     const std::string& why,
                                     const std::shared_ptr<Ledger>& ledger);

}  // namespace hearth::plugin_host

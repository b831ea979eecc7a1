#include "core/plugin_host/library.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/plugin_host/guard.h"
#include "core/plugin_host/utf8.h"

namespace hearth::plugin_host {
namespace {

constexpr std::size_t kDescriptorBytesMax = 128;
constexpr const char* kAskItsAuthor = "; ask its author to mend it, or remove the file";

Failure broken(const std::string& what) {
    return fail(ErrorCode::corrupt, what + kAskItsAuthor, "plugins");
}

/// Calls into the library; an exception becomes a sentence.
template <typename Work>
auto call(const std::string& function, const Work& work) -> Result<decltype(work())> {
    try {
        return work();
    } catch (const std::exception& e) {
        return broken("its " + function + " let an exception out: " + e.what());
    } catch (...) {
        return broken("its " + function + " let an exception out");
    }
}

Result<void> check_file(const std::string& path) {
    HEARTH_CHECK(check_trusted(path));
    std::error_code failed;
    if (!std::filesystem::is_regular_file(path, failed)) {
        return fail(ErrorCode::unsupported,
                    "it is no regular file; put a shared library in its place, or remove it",
                    "plugins");
    }
    std::ifstream file(path, std::ios::binary);
    char magic[4] = {};
    if (!file.read(magic, sizeof magic) || std::memcmp(magic,
                                                       "\x7f"
                                                       "ELF",
                                                       sizeof magic) != 0) {
        return fail(ErrorCode::corrupt,
                    "it is no shared library (or cannot be read); build it again, or remove it",
                    "plugins");
    }
    return {};
}

Result<const hearth_plugin_factory*> read_entry(void* handle) {
    const auto* entry = static_cast<const hearth_entry*>(dlsym(handle, HEARTH_PLUGIN_ENTRY));
    if (entry == nullptr) {
        return broken("it does not export the symbol " HEARTH_PLUGIN_ENTRY);
    }
    if (entry->abi.major != HEARTH_ABI_MAJOR) {
        return fail(ErrorCode::unsupported,
                    "it was built for version " + std::to_string(entry->abi.major) +
                        " of the plugin interface and this hearth has version " +
                        std::to_string(HEARTH_ABI_MAJOR) +
                        "; install the plugin for this hearth, or build it again",
                    "plugins");
    }
    if (entry->get_factory == nullptr) return broken("its entry has a null get_factory");
    HEARTH_TRY(const void* found,
               call("get_factory", [&] { return entry->get_factory(HEARTH_PLUGIN_FACTORY); }));
    if (found == nullptr) return broken("it has no " HEARTH_PLUGIN_FACTORY);
    const auto* factory = static_cast<const hearth_plugin_factory*>(found);
    if (factory->count == nullptr || factory->describe == nullptr || factory->create == nullptr) {
        return broken("its factory has a null function");
    }
    return factory;
}

bool is_id(std::string_view id) {
    return std::ranges::all_of(id, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '-' || c == '_';
    });
}

/// A string of a descriptor; empty if it is null, empty, too long or not UTF-8.
std::string descriptor_text(const char* text) {
    if (text == nullptr) return {};
    const std::size_t bytes = strnlen(text, kDescriptorBytesMax + 1);
    const std::string_view view(text, bytes);
    return bytes <= kDescriptorBytesMax && is_utf8(view) ? std::string(view) : std::string();
}

Result<void> describe(const hearth_plugin_factory& factory, std::uint32_t index, PluginInfo& info) {
    HEARTH_TRY(const hearth_descriptor* descriptor,
               call("describe", [&] { return factory.describe(index); }));
    if (descriptor == nullptr) {
        return broken("its factory describes nothing at place " + std::to_string(index));
    }
    info.id = descriptor_text(descriptor->id);
    info.name = descriptor_text(descriptor->name);
    info.version = descriptor_text(descriptor->version);
    if (info.id.empty() || !is_id(info.id)) {
        info.id.clear();
        return broken("the id at place " + std::to_string(index) +
                      " is null, empty, too long, or not of letters, digits, '.', '-' and '_'");
    }
    if (info.name.empty() || info.version.empty()) {
        return broken("its name or version is null, empty, too long or not UTF-8");
    }
    return {};
}

template <typename Table, typename IsWhole>
Result<void> find_table(Plugin& plugin,
                        const char* id,
                        const Table*& out,
                        const IsWhole& is_whole) {
    const hearth_plugin* instance = plugin.instance;
    HEARTH_TRY(const void* found,
               call("get_extension", [&] { return instance->get_extension(instance, id); }));
    if (found == nullptr) return {};
    out = static_cast<const Table*>(found);
    if (!is_whole(*out)) return broken("its table " + std::string(id) + " has a null function");
    plugin.info.extensions.emplace_back(id);
    return {};
}

Result<void> find_tables(Plugin& plugin) {
    HEARTH_CHECK(find_table(plugin,
                            HEARTH_EXT_INLINE_COMPLETION,
                            plugin.tables.inline_completion,
                            [](const auto& table) { return table.complete != nullptr; }));
    HEARTH_CHECK(find_table(
        plugin, HEARTH_EXT_CODE_ACTION, plugin.tables.code_action, [](const auto& table) {
            return table.list != nullptr && table.run != nullptr;
        }));
    return find_table(
        plugin, HEARTH_EXT_CONTEXT_PROVIDER, plugin.tables.context_provider, [](const auto& table) {
            return table.gather != nullptr;
        });
}

Result<void> init(const hearth_plugin& instance) {
    HEARTH_TRY(const bool is_started, call("init", [&] { return instance.init(&instance); }));
    if (is_started) return {};
    return fail(
        ErrorCode::unsupported, "its init refused to start; the log may say why", "plugins");
}

/// From the descriptor to an instance that may be asked. On an error the instance is gone again.
Result<void> start(Plugin& plugin, const hearth_plugin_factory& factory) {
    HEARTH_TRY(const hearth_plugin* instance, call("create", [&] {
                   return factory.create(&plugin.host, plugin.info.id.c_str());
               }));
    if (instance == nullptr) return broken("its create gave no instance");
    if (instance->init == nullptr || instance->destroy == nullptr ||
        instance->get_extension == nullptr) {
        return broken("its instance has a null function");
    }
    plugin.instance = instance;
    plugin.is_host_open = true;
    Result<void> checked = init(*instance);
    if (checked) checked = find_tables(plugin);
    if (!checked && !destroy_plugin(plugin)) {
        plugin.library.reset();  // it may be half alive: its library must stay open
    }
    return checked;
}

std::string where(const std::string& path, const std::string& id) {
    return id.empty() ? path : "plugin " + id + " of " + path;
}

void refuse(Plugin& plugin, const std::string& why) {
    plugin.instance = nullptr;
    plugin.tables = {};
    plugin.info.extensions.clear();
    plugin.info.state = PluginState::left_out;
    plugin.info.reason = where(plugin.info.path, plugin.info.id) + " is left out: " + why;
}

}  // namespace

Result<void> check_trusted(const std::string& path) {
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0) {
        return fail(
            ErrorCode::io,
            "it cannot be read: " + std::error_code(errno, std::system_category()).message() +
                "; check that it is there and readable",
            "plugins");
    }
    if ((status.st_mode & S_IWOTH) != 0) {
        return fail(
            ErrorCode::unsupported,
            "every user of this machine may write to it; run chmod o-w on it if you trust it",
            "plugins");
    }
    return {};
}

Result<std::shared_ptr<Library>> Library::open(const std::string& path) {
    HEARTH_CHECK(check_file(path));
    // A name without a slash would be searched for in the system's folders.
    const std::string absolute = std::filesystem::absolute(path).string();
    void* const handle = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        const char* const why = dlerror();
        return broken("it cannot be loaded: " + std::string(why == nullptr ? "no reason" : why));
    }
    Result<const hearth_plugin_factory*> factory = read_entry(handle);
    if (!factory) {
        dlclose(handle);
        return fail(std::move(factory).error());
    }
    return std::shared_ptr<Library>(new Library(handle, *factory));
}

void Library::close() {
    if (handle_ != nullptr) dlclose(std::exchange(handle_, nullptr));
}

std::vector<std::shared_ptr<Plugin>> start_library(const std::string& path,
                                                   const StartOptions& options) {
    options.on_step("");
    auto library = Library::open(path);
    if (!library) return {make_refused(path, "", library.error().text, options.ledger)};
    const hearth_plugin_factory& factory = (*library)->factory();
    auto count = call("count", [&] { return factory.count(); });
    if (count && (*count == 0 || *count > kPluginsPerLibraryMax)) {
        count = broken("it lists " + std::to_string(*count) + " plugins, where 1 to " +
                       std::to_string(kPluginsPerLibraryMax) + " may be");
    }
    if (!count) {
        (*library)->close();
        return {make_refused(path, "", count.error().text, options.ledger)};
    }

    std::map<std::string, std::string> known_ids = options.known_ids;
    std::vector<std::shared_ptr<Plugin>> plugins;
    bool is_needed = false;
    for (std::uint32_t i = 0; i < *count; ++i) {
        const auto plugin = std::make_shared<Plugin>();
        plugins.push_back(plugin);
        plugin->info.path = path;
        plugin->library = *library;
        plugin->ledger = options.ledger;
        make_host(*plugin);
        Result<void> done = describe(factory, i, plugin->info);
        if (done) {
            const auto [known, is_new] = known_ids.emplace(plugin->info.id, path);
            if (!is_new) {
                done = fail(ErrorCode::unsupported,
                            "another plugin has the same id, in " + known->second +
                                "; remove one of the two",
                            "plugins");
            }
        }
        if (done) {
            for (const PluginHostOptions::Setting& setting : options.settings) {
                if (setting.plugin_id == plugin->info.id) {
                    plugin->settings[setting.name] = setting.value;
                }
            }
            options.on_step(plugin->info.id);
            done = start(*plugin, factory);
        }
        if (!done) refuse(*plugin, done.error().text);
        is_needed = is_needed || plugin->instance != nullptr || plugin->library == nullptr;
    }
    if (!is_needed) (*library)->close();
    return plugins;
}

Result<void> destroy_plugin(Plugin& plugin) {
    const hearth_plugin* const instance = std::exchange(plugin.instance, nullptr);
    HEARTH_TRY([[maybe_unused]] const bool done, call("destroy", [&] {
                   instance->destroy(instance);
                   return true;
               }));
    return {};
}

std::shared_ptr<Plugin> make_refused(const std::string& path,
                                     const std::string& id,
                                     const std::string& why,
                                     const std::shared_ptr<Ledger>& ledger) {
    auto plugin = std::make_shared<Plugin>();
    plugin->info.path = path;
    plugin->info.id = id;
    plugin->ledger = ledger;
    refuse(*plugin, why);
    return plugin;
}

}  // namespace hearth::plugin_host

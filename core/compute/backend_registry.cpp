#include "core/compute/backend_registry.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "core/base/version.h"

namespace hearth::compute {
namespace {

/// Opens one library. Its entry where it may serve here, else one sentence.
Result<const AcceleratorEntry*> open_accelerator(const std::string& path) {
    const auto refuse = [&path](ErrorCode code, const std::string& why) {
        return fail(code, "accelerator " + path + " is left out: " + why, "backend registry");
    };
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* why = dlerror();
        return refuse(ErrorCode::io, why != nullptr ? why : "it cannot be opened");
    }
    const std::unique_ptr<void, int (*)(void*)> closes(library, &dlclose);
    const void* symbol = dlsym(library, "hearth_backend_entry");
    if (symbol == nullptr) {
        return refuse(ErrorCode::unsupported, "it has no hearth_backend_entry");
    }
    const auto* entry = static_cast<const AcceleratorEntry*>(symbol);
    // The build id comes first in the struct: of another build nothing else is read.
    if (entry->build_id == nullptr || entry->build_id != build_id()) {
        return refuse(ErrorCode::unsupported,
                      "it is of build " +
                          std::string(entry->build_id != nullptr ? entry->build_id : "unknown") +
                          ", this is " + std::string(build_id()));
    }
    std::string reason;
    const std::unique_ptr<Backend> probe(entry->make(BackendOptions{}, reason));
    if (probe == nullptr) return refuse(ErrorCode::unavailable, reason);
    // From here on the library stays open: its code may run until the process ends.
    dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE);
    return entry;
}

}  // namespace

void BackendRegistry::add(std::string name, int score, Factory factory) {
    const auto place = std::find_if(
        entries_.begin(), entries_.end(), [score](const Entry& e) { return e.score < score; });
    entries_.insert(place, Entry{std::move(name), score, std::move(factory)});
}

std::vector<std::string> BackendRegistry::load_accelerators(const std::string& folder) {
    std::vector<std::string> paths;
    std::error_code error;
    for (auto file = std::filesystem::directory_iterator(folder, error);
         !error && file != std::filesystem::directory_iterator();
         file.increment(error)) {
        if (file->path().extension() == ".so") paths.push_back(file->path().string());
    }
    std::sort(paths.begin(), paths.end());

    std::vector<std::string> left_out;
    for (const std::string& path : paths) {
        auto entry = open_accelerator(path);
        if (!entry) {
            left_out.push_back(entry.error().text);
            continue;
        }
        add((*entry)->name,
            (*entry)->score,
            [accelerator =
                 *entry](const BackendOptions& options) -> Result<std::unique_ptr<Backend>> {
                std::string reason;
                std::unique_ptr<Backend> backend(accelerator->make(options, reason));
                if (backend == nullptr) {
                    return fail(ErrorCode::unavailable,
                                std::string(accelerator->name) + ": " + reason,
                                "backend registry");
                }
                return backend;
            });
    }
    return left_out;
}

Result<std::unique_ptr<Backend>> BackendRegistry::make(std::string_view name,
                                                       const BackendOptions& options) const {
    std::string failures;
    for (const Entry& entry : entries_) {
        if (!name.empty() && entry.name != name) continue;
        auto backend = entry.factory(options);
        if (backend || !name.empty()) return backend;
        failures += "; " + entry.name + ": " + backend.error().text;
    }
    std::string known;
    for (const Entry& entry : entries_) {
        known += (known.empty() ? "" : ", ") + entry.name;
    }
    if (!name.empty()) {
        return fail(ErrorCode::not_found,
                    "no backend is called \"" + std::string(name) + "\"; known here: " + known,
                    "backend registry");
    }
    return fail(ErrorCode::unavailable, "no backend can serve" + failures, "backend registry");
}

std::vector<std::string> BackendRegistry::names() const {
    std::vector<std::string> names;
    names.reserve(entries_.size());
    for (const Entry& entry : entries_) {
        names.push_back(entry.name);
    }
    return names;
}

}  // namespace hearth::compute

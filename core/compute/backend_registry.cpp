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

struct Accelerator {
    const AcceleratorEntry* entry;
    std::string device;
};

constexpr std::string_view kLibraryPrefix = "libhearth_";
constexpr std::string_view kLibrarySuffix = ".so";

/// The backend that a library of this name should hold.
std::string name_of(const std::string& path) {
    const std::string stem = std::filesystem::path(path).stem().string();
    return stem.starts_with(kLibraryPrefix) ? stem.substr(kLibraryPrefix.size()) : stem;
}

/// Opens one library. Its entry where it may serve here, else one sentence; `name` becomes its own
/// where it tells one.
Result<Accelerator> open_accelerator(const std::string& path, std::string& name) {
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
    std::string text;
    name = entry->name;
    if (!entry->find_device(text)) return refuse(ErrorCode::unavailable, text);
    // From here on the library stays open: its code may run until the process ends.
    dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE);
    return Accelerator{entry, std::move(text)};
}

/// Makes the backend of an open library.
Result<std::unique_ptr<Backend>> make_accelerator(const AcceleratorEntry& entry,
                                                  const BackendOptions& options) {
    std::string reason;
    std::unique_ptr<Backend> backend(entry.make(options, reason));
    if (backend != nullptr) return backend;
    return fail(
        ErrorCode::unavailable, std::string(entry.name) + ": " + reason, "backend registry");
}

}  // namespace

void BackendRegistry::add(std::string name, int score, Factory factory, std::string device) {
    const auto place = std::find_if(
        entries_.begin(), entries_.end(), [score](const Entry& e) { return e.score < score; });
    entries_.insert(place, Entry{std::move(name), score, std::move(factory), std::move(device)});
}

std::vector<std::string> BackendRegistry::load_accelerators(const std::string& folder) {
    folder_ = folder;
    std::vector<std::string> paths;
    std::error_code error;
    for (auto file = std::filesystem::directory_iterator(folder, error);
         !error && file != std::filesystem::directory_iterator();
         file.increment(error)) {
        if (file->path().extension() == kLibrarySuffix) paths.push_back(file->path().string());
    }
    std::sort(paths.begin(), paths.end());

    std::vector<std::string> left_out;
    for (const std::string& path : paths) {
        std::string name = name_of(path);
        auto accelerator = open_accelerator(path, name);
        if (!accelerator) {
            left_out.push_back(accelerator.error().text);
            left_out_.push_back({std::move(name), std::move(accelerator).error()});
            continue;
        }
        const AcceleratorEntry* entry = accelerator->entry;
        add(
            entry->name,
            entry->score,
            [entry](const BackendOptions& options) { return make_accelerator(*entry, options); },
            std::move(accelerator->device));
    }
    return left_out;
}

Result<std::unique_ptr<Backend>> BackendRegistry::make(std::string_view name,
                                                       const BackendOptions& options) const {
    std::string failures;
    for (const Entry& entry : entries_) {
        if (name.empty() ? entry.score == kNamedOnly : entry.name != name) continue;
        auto backend = entry.factory(options);
        if (backend || !name.empty()) return backend;
        failures += "; " + entry.name + ": " + backend.error().text;
    }
    if (!name.empty()) return refuse(name);
    return fail(ErrorCode::unavailable, "no backend can serve" + failures, "backend registry");
}

Failure BackendRegistry::refuse(std::string_view name) const {
    const auto left_out = std::ranges::find(left_out_, name, &LeftOut::name);
    if (left_out != left_out_.end()) return fail(left_out->error);
    std::string known;
    for (const Entry& entry : entries_) {
        known += (known.empty() ? "" : ", ") + entry.name;
    }
    std::string text = "no backend is called \"" + std::string(name) + "\"; known here: " + known;
    if (!folder_.empty()) {
        text += "; its library would be " + folder_ + "/" + std::string(kLibraryPrefix) +
                std::string(name) + std::string(kLibrarySuffix) + ", which is not there";
    }
    return fail(ErrorCode::not_found, std::move(text), "backend registry");
}

std::vector<std::string> BackendRegistry::names() const {
    std::vector<std::string> names;
    names.reserve(entries_.size());
    for (const Entry& entry : entries_) {
        names.push_back(entry.name);
    }
    return names;
}

std::vector<std::string> BackendRegistry::candidates() const {
    std::vector<std::string> names;
    for (const Entry& entry : entries_) {
        if (entry.score != kNamedOnly) names.push_back(entry.name);
    }
    return names;
}

std::string BackendRegistry::device_of(std::string_view name) const {
    const auto entry = std::ranges::find(entries_, name, &Entry::name);
    return entry == entries_.end() ? std::string() : entry->device;
}

}  // namespace hearth::compute

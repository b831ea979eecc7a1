// BackendRegistry: the backends that this process knows by name. `main` registers the linked ones;
// accelerators are shared libraries that the registry opens through one C symbol which also carries
// the build id.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/compute/backend.h"

namespace hearth::compute {

struct BackendOptions {
    std::int32_t thread_count = 0;  ///< for backends that run on the CPU; 0: one per core
    bool is_exact = false;  ///< activations beside quantised weights stay floats, for comparisons
};

class BackendRegistry {
  public:
    using Factory = std::function<Result<std::unique_ptr<Backend>>(const BackendOptions&)>;

    /// The score of a backend that serves only where it is named.
    static constexpr int kNamedOnly = 0;

    /// The highest `score` is "the best present".
    /// `device`: in words, of an accelerator.
    void add(std::string name, int score, Factory factory, std::string device = "");

    /// Opens each shared library in `folder` and asks it for its device, without setting it up. A
    /// library of another build, or one whose device is absent, is left out; each such case is one
    /// sentence in the result, and what `make` answers for its name. A missing folder is no error.
    std::vector<std::string> load_accelerators(const std::string& folder);

    /// `name` empty: the best candidate, the next best where a factory fails.
    /// Errors: not_found for an unknown name, listing the known ones and where its library would
    /// lie; for that of an accelerator which was left out, why it was.
    [[nodiscard]] Result<std::unique_ptr<Backend>> make(std::string_view name,
                                                        const BackendOptions& options) const;

    /// Best first.
    [[nodiscard]] std::vector<std::string> names() const;
    /// Those that may serve where none is named, best first.
    [[nodiscard]] std::vector<std::string> candidates() const;
    /// The device of an accelerator in words; empty for the other backends.
    [[nodiscard]] std::string device_of(std::string_view name) const;

  private:
    struct Entry {
        std::string name;
        int score;
        Factory factory;
        std::string device = "";
    };
    struct LeftOut {
        std::string name;  ///< of the backend, else of the file without what all have
        Error error;
    };
    /// Why there is no backend of this name.
    [[nodiscard]] Failure refuse(std::string_view name) const;

    std::vector<Entry> entries_;  ///< best first
    std::vector<LeftOut> left_out_;
    std::string folder_;  ///< of accelerators; empty: none was looked at
};

/// What an accelerator exports as `extern "C" const hearth::compute::AcceleratorEntry
/// hearth_backend_entry`.
struct AcceleratorEntry {
    const char* build_id;
    const char* name;
    int score;
    /// Whether a device is there that could serve: it in words, or the reason why not, in `text`.
    /// Quick; sets nothing up.
    bool (*find_device)(std::string& text);
    /// Null and a sentence in `reason` when the device is absent.
    Backend* (*make)(const BackendOptions& options, std::string& reason);
};

}  // namespace hearth::compute

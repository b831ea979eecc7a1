#include "core/cli/backends.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"

namespace hearth::cli {
namespace {

// What is "the best present": accelerators carry higher scores.
constexpr int kCpuScore = 10;

}  // namespace

Backends find_backends(const std::string& program_folder) {
    Backends backends;
    backends.registry.add(
        "reference",
        compute::BackendRegistry::kNamedOnly,
        [](const compute::BackendOptions& /*none*/) {
            return Result<std::unique_ptr<compute::Backend>>(reference::make_reference_backend());
        });
    backends.registry.add("cpu", kCpuScore, &cpu::make_cpu_backend);
    backends.left_out =
        backends.registry.load_accelerators(program_folder + "/../lib/hearth/backends");
    return backends;
}

}  // namespace hearth::cli

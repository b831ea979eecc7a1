// The backends of a program: the linked ones and the accelerators that lie beside it.
#pragma once

#include <string>
#include <vector>

#include "core/compute/backend_registry.h"

namespace hearth::cli {

struct Backends {
    compute::BackendRegistry registry;
    std::vector<std::string> left_out;  ///< one sentence for each accelerator that cannot serve
};

Backends find_backends(const std::string& program_folder);

}  // namespace hearth::cli

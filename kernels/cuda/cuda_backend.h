// The door of kernels/cuda: a backend for one NVIDIA GPU. The product is a shared library that
// BackendRegistry opens; tests of the parts include their headers.
#pragma once

#include <memory>
#include <optional>

#include "core/base/result.h"
#include "core/compute/backend.h"

namespace hearth::cuda {

struct CudaOptions {
    std::optional<int> device;  ///< index; else find_device chooses
    bool is_exact = false;      ///< activations stay floats: slower, for comparisons
    bool has_graphs = true;     ///< small steps run as captured graphs
    bool has_overlap =
        false;  ///< kernels start before their predecessors have ended, where they can
};

/// Errors: unavailable, in one sentence: no driver, no device, too old a device, a build without
/// code for it.
Result<std::unique_ptr<compute::Backend>> make_cuda_backend(const CudaOptions& options);

/// HEARTH_CUDA_DEVICE, HEARTH_CUDA_EXACT, HEARTH_CUDA_GRAPHS and HEARTH_CUDA_OVERLAP of the
/// environment.
Result<CudaOptions> cuda_options_of_environment();

}  // namespace hearth::cuda

// The door of kernels/cpu: a backend that runs Plans on the CPU with vector code and threads. The
// instruction set is chosen at run time (isa.h); HEARTH_CPU_ISA forces one.
#pragma once

#include <memory>

#include "core/base/result.h"
#include "core/compute/backend.h"
#include "core/compute/backend_registry.h"

namespace hearth::cpu {

/// Borrows the weights' bytes; rounds activations to int8 for quantised weights; keeps the cache in
/// F16. Its Programs must not outlive it.
///
/// Errors: invalid_argument or unsupported where HEARTH_CPU_ISA cannot be followed, and
/// invalid_argument for a thread count out of range.
Result<std::unique_ptr<compute::Backend>> make_cpu_backend(const compute::BackendOptions& options);

}  // namespace hearth::cpu

// What a call of the CUDA runtime answers, as a Result.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"

namespace hearth::cuda {

/// Whether every later call of this process answers the same: a kernel faulted, or the device did.
bool is_device_lost(cudaError_t error);

/// Errors: out_of_memory where the device has none, device_lost, else internal; the text has the
/// call, the name of the code and the place.
Result<void> check(cudaError_t error, const char* call, const char* file, int line);

}  // namespace hearth::cuda

/// Returns the error of a CUDA call from the enclosing function.
#define HEARTH_CUDA(expression) \
    HEARTH_CHECK(::hearth::cuda::check((expression), #expression, __FILE__, __LINE__))

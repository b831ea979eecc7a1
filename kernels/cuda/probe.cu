#include <cuda_runtime.h>

#include "kernels/cuda/device.h"

namespace hearth::cuda {
namespace {

/// Never launched.
__global__ void probe_kernel(int* out) {
    *out = 1;
}

}  // namespace

int code_capability() {
    cudaFuncAttributes attributes{};
    const bool has_code = cudaFuncGetAttributes(&attributes, probe_kernel) == cudaSuccess;
    static_cast<void>(cudaGetLastError());
    return has_code ? attributes.ptxVersion : 0;
}

}  // namespace hearth::cuda

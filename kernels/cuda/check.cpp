#include "kernels/cuda/check.h"

#include <string>

namespace hearth::cuda {

Result<void> check(cudaError_t error, const char* call, const char* file, int line) {
    if (error == cudaSuccess) return {};
    // A sticky error stays; a mere refusal must not be met again by the next call.
    static_cast<void>(cudaGetLastError());
    const std::string path = file;
    const auto code =
        error == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::internal;
    return fail(code,
                std::string(call) + " failed: " + cudaGetErrorName(error) + " (" +
                    cudaGetErrorString(error) + ") at " + path.substr(path.rfind('/') + 1) + ":" +
                    std::to_string(line),
                "cuda");
}

}  // namespace hearth::cuda

#include "kernels/cuda/check.h"

#include <string>
#include <utility>

namespace hearth::cuda {

bool is_device_lost(cudaError_t error) {
    switch (error) {
        case cudaErrorECCUncorrectable:
        case cudaErrorNvlinkUncorrectable:
        case cudaErrorContained:
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchTimeout:
        case cudaErrorAssert:
        case cudaErrorHardwareStackError:
        case cudaErrorIllegalInstruction:
        case cudaErrorMisalignedAddress:
        case cudaErrorInvalidAddressSpace:
        case cudaErrorInvalidPc:
        case cudaErrorLaunchFailure:
        case cudaErrorTensorMemoryLeak:
        case cudaErrorMpsClientTerminated:
        case cudaErrorExternalDevice:
            return true;
        default:
            return false;
    }
}

Result<void> check(cudaError_t error, const char* call, const char* file, int line) {
    if (error == cudaSuccess) return {};
    // A sticky error stays; a mere refusal must not be met again by the next call.
    static_cast<void>(cudaGetLastError());
    const std::string path = file;
    std::string text = std::string(call) + " failed: " + cudaGetErrorName(error) + " (" +
                       cudaGetErrorString(error) + ") at " + path.substr(path.rfind('/') + 1) +
                       ":" + std::to_string(line);
    if (is_device_lost(error)) {
        text = "the GPU is lost to this process, which has to be started again to use it: " + text;
        return fail(ErrorCode::device_lost, std::move(text), "cuda");
    }
    const auto code =
        error == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::internal;
    return fail(code, std::move(text), "cuda");
}

}  // namespace hearth::cuda

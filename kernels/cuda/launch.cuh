// One way to launch a kernel, with the check of its result.
#pragma once

#include <cstddef>
#include <utility>

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/queue.h"

namespace hearth::cuda {

struct LaunchShape {
    dim3 grid;
    dim3 block;
    std::size_t shared_bytes = 0;
};

/// Shared memory that any kernel gets; for more it is asked first.
inline constexpr std::size_t kSharedBytesFree = 48 * 1024;

template <typename... Expected, typename... Actual>
Result<void> launch(const char* name,
                    void (*kernel)(Expected...),
                    const LaunchShape& shape,
                    const Queue& queue,
                    Actual&&... arguments) {
    if (shape.shared_bytes > kSharedBytesFree) {
        HEARTH_CUDA(cudaFuncSetAttribute(kernel,
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(shape.shared_bytes)));
        // Else the driver may leave too little of L1 for a second block.
        HEARTH_CUDA(cudaFuncSetAttribute(kernel,
                                         cudaFuncAttributePreferredSharedMemoryCarveout,
                                         cudaSharedmemCarveoutMaxShared));
    }
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = queue.stream;
    // The next kernel's blocks may start while this one's last ones run; see
    // wait_for_predecessor().
    cudaLaunchAttribute overlap{};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &overlap;
    config.numAttrs = queue.overlaps ? 1 : 0;
    return check(cudaLaunchKernelEx(&config, kernel, std::forward<Actual>(arguments)...),
                 name,
                 __FILE__,
                 __LINE__);
}

inline Result<int> attribute_of_device(cudaDeviceAttr name) {
    int device = 0;
    int value = 0;
    HEARTH_CUDA(cudaGetDevice(&device));
    HEARTH_CUDA(cudaDeviceGetAttribute(&value, name, device));
    return value;
}

inline unsigned blocks_for(std::int64_t count, std::int64_t each) {
    return static_cast<unsigned>((count + each - 1) / each);
}

}  // namespace hearth::cuda

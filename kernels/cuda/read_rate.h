// How fast the device reads its memory, when it does nothing else.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace hearth::cuda {

/// Bytes a second over `bytes` of memory, the best of a few sweeps; 0 where the memory is short.
double measure_read_rate(std::int64_t bytes, cudaStream_t stream);

}  // namespace hearth::cuda

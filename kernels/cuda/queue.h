// Where kernels are launched: a stream, and how they follow each other in it.
#pragma once

#include <cuda_runtime.h>

namespace hearth::cuda {

struct Queue {
    // NOLINTNEXTLINE(google-explicit-constructor): a stream is a queue without more
    Queue(cudaStream_t in, bool with_overlap = false) : stream(in), overlaps(with_overlap) {}

    cudaStream_t stream;
    /// A kernel may start before the one in front of it has ended (programmatic dependent launch;
    /// from compute capability 9.0 on); see wait_for_predecessor().
    bool overlaps;
};

}  // namespace hearth::cuda

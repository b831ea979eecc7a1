// Where kernels are launched: a stream, and how they follow each other in it.
#pragma once

#include <cuda_runtime.h>

namespace hearth::cuda {

struct Queue {
    // NOLINTNEXTLINE(google-explicit-constructor): a stream is a queue without more
    Queue(cudaStream_t in, bool with_overlap = false, bool with_bf16 = true)
        : stream(in),
          overlaps(with_overlap),
          has_bf16(with_bf16) {}

    cudaStream_t stream;
    /// A kernel may start before the one in front of it has ended (programmatic dependent launch;
    /// from compute capability 9.0 on); see wait_for_predecessor().
    bool overlaps;
    /// The device's tensor cores multiply BF16 (from compute capability 8.0 on).
    bool has_bf16;
};

}  // namespace hearth::cuda

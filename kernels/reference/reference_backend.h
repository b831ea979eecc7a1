// The door of kernels/reference: a backend of plain loops that interprets a Plan operation by
// operation. Slow, and right on every machine: the truth that the other backends are tested
// against. Public headers: reference_backend.h, dequantize.h, quantize.h.
#pragma once

#include <memory>

#include "core/compute/backend.h"

namespace hearth::reference {

struct ReferenceOptions {
    /// Rounds where the CUDA backend does: what is multiplied by quantised weights to bytes
    /// (round_activations(); not by k_up and v_up of latent attention), the cache's rows to
    /// halves, those in Q8_0 once more. What is left between the two is the order of sums.
    bool rounds_activations = false;
    /// Also by k_up and v_up, and in attention between the two to eight bits where k_up is
    /// quantised, as the CPU backend does. It rounds otherwise for the K types alone.
    bool rounds_latents = false;
};

/// Borrows the weights' bytes; keeps the cache in F32; uses the calling thread only.
std::unique_ptr<compute::Backend> make_reference_backend(const ReferenceOptions& options = {});

}  // namespace hearth::reference

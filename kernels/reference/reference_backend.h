// The door of kernels/reference: a backend of plain loops that interprets a Plan operation by
// operation. Slow, and right on every machine: the truth that the other backends are tested
// against. Public headers: reference_backend.h, dequantize.h, quantize.h.
#pragma once

#include <memory>

#include "core/compute/backend.h"

namespace hearth::reference {

/// Borrows the weights' bytes; keeps the cache in F32; uses the calling thread only.
std::unique_ptr<compute::Backend> make_reference_backend();

}  // namespace hearth::reference

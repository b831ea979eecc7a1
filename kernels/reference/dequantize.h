// What a stored weight is belongs to core/compute, where models need it too; the reference kernels
// know it under this name.
#pragma once

#include "core/compute/dequantize.h"

namespace hearth::reference {

using compute::dequantize;

}  // namespace hearth::reference

// The door of core/compute: what a device can do. A model records a Plan; a Backend compiles it
// into a Program; the engine runs the Program step by step. Public headers: dtype.h, blocks.h,
// half.h, dequantize.h, tensor.h, plan.h, operands.h, sampling.h, backend.h, backend_registry.h,
// step_check.h, host_memory.h.
#pragma once

#include "core/compute/backend.h"
#include "core/compute/dtype.h"
#include "core/compute/plan.h"
#include "core/compute/sampling.h"
#include "core/compute/tensor.h"

// A model in another type of weights.
#pragma once

#include <memory>

#include "core/compute/dtype.h"
#include "core/model/model.h"

namespace hearth::test {

/// `model` with each tensor that is not F32 turned into `dtype` (f32, f16 or bf16, to the nearest);
/// what a file keeps in F32 (norms, routers) stays. In memory; needs nothing of `model` later.
/// Throws std::runtime_error where it cannot be made.
std::shared_ptr<const model::Model> converted_model(const model::Model& model,
                                                    compute::Dtype dtype);

}  // namespace hearth::test

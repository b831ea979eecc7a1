// Activations in the form that a weight type's dot product takes: which form and how large.
#pragma once

#include <cstdint>

#include "core/base/assert.h"
#include "core/compute/dtype.h"
#include "kernels/cpu/kernels.h"

namespace hearth::cpu {

inline WeightType weight_type(compute::Dtype dtype) {
    switch (dtype) {
        case compute::Dtype::f32:
            return WeightType::f32;
        case compute::Dtype::f16:
            return WeightType::f16;
        case compute::Dtype::bf16:
            return WeightType::bf16;
        case compute::Dtype::q8_0:
            return WeightType::q8_0;
        case compute::Dtype::q4_0:
            return WeightType::q4_0;
        case compute::Dtype::q5_0:
            return WeightType::q5_0;
        case compute::Dtype::q5_1:
            return WeightType::q5_1;
        case compute::Dtype::mxfp4:
            return WeightType::mxfp4;
        case compute::Dtype::q4_k:
            return WeightType::q4_k;
        case compute::Dtype::q5_k:
            return WeightType::q5_k;
        case compute::Dtype::q6_k:
            return WeightType::q6_k;
        case compute::Dtype::i32:
            break;
    }
    assert_failed("a weight is a float or quantised", __FILE__, __LINE__);
}

inline ActivationFormat activation_format(compute::Dtype dtype) {
    switch (weight_type(dtype)) {
        case WeightType::f32:
        case WeightType::f16:
        case WeightType::bf16:
            return ActivationFormat::f32;
        case WeightType::q8_0:
        case WeightType::q4_0:
        case WeightType::q5_0:
        case WeightType::q5_1:
        case WeightType::mxfp4:
            return ActivationFormat::q8;
        case WeightType::q4_k:
        case WeightType::q5_k:
        case WeightType::q6_k:
            break;
    }
    return ActivationFormat::q8_k;
}

/// Bytes from one row to the next.
inline std::int64_t activation_stride(ActivationFormat format, std::int64_t dim) {
    if (format == ActivationFormat::f32) return dim * static_cast<std::int64_t>(sizeof(float));
    const std::int64_t groups = (dim + kGroupElements - 1) / kGroupElements;
    return groups * static_cast<std::int64_t>(sizeof(Q8Group));
}

}  // namespace hearth::cpu

// Where the rows of an expert are: behind those of the experts before it, or where the table of the
// store of experts says.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matrix.h"

namespace hearth::cuda {

/// An expert's rows: those of `matrix` from `begin` on.
struct ExpertRows {
    Matrix matrix;
    std::int64_t begin;
};
__device__ __forceinline__ ExpertRows rows_of(const Matrix& m, int expert, int rows) {
    if (m.experts.shifts == nullptr) return {m, std::int64_t{expert} * rows};
    const std::int64_t shift = m.experts.shifts[expert];
    Matrix at = m;
    at.quants += shift;
    at.high += shift;
    at.scales += shift;
    at.supers += shift;
    return {at, 0};
}

/// Tells the store of experts, once for each tile or pair.
__device__ __forceinline__ void note_use(const Matrix& m, int expert) {
    if (m.experts.used != nullptr && blockIdx.x == 0 && threadIdx.x == 0)
        m.experts.used[expert] = 1;
}

}  // namespace hearth::cuda

// Tensors as planes in one piece of memory, repacked on the host's cores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/compute/tensor.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/planes.h"

namespace hearth::cuda {

/// Of all leading axes together.
std::int64_t row_count(const compute::Tensor& tensor);

/// Memory at `base` that holds `rows` rows of the tensor as a matrix of its own.
Matrix matrix_at(const compute::Tensor& tensor, std::int64_t rows, const std::byte* base);
std::int64_t plane_bytes(const compute::Tensor& tensor, std::int64_t rows);

/// Host memory laid out as the planes of some rows.
PlaneRows plane_rows(std::byte* base,
                     const PlaneLayout& layout,
                     const RowBytes& row,
                     std::int64_t first,
                     std::int64_t count);

/// Some rows of a tensor.
struct TensorRows {
    const compute::Tensor& tensor;
    std::int64_t first = 0;
    std::int64_t count = 0;
};
/// Repacks [begin, end) of `rows` to their place in a matrix of these rows at `base`.
void repack_rows(const TensorRows& rows, std::int64_t begin, std::int64_t end, std::byte* base);

/// body(begin, end) for parts of [0, count) on as many threads as `bytes` of work are worth, and on
/// fewer where the system has no more. `body` throws nothing.
void in_parts(std::int64_t count,
              std::int64_t bytes,
              const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace hearth::cuda

// From a file's blocks to the planes of matrix.h. Plain host code, tested without a device against
// what the blocks dequantise to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/compute/dtype.h"
#include "kernels/cuda/matrix.h"

namespace hearth::cuda {

/// `dtype` is a float or quantised.
Format to_format(compute::Dtype dtype);

/// Bytes of each plane for one row of `columns` weights.
struct RowBytes {
    std::int64_t quants = 0, high = 0, scales = 0, supers = 0;
};
RowBytes row_bytes(Format format, std::int64_t columns);

/// Where the planes of a matrix lie within one allocation.
struct PlaneLayout {
    std::int64_t quants = 0, high = 0, scales = 0, supers = 0;  ///< offsets, each aligned
    std::int64_t bytes = 0;                                     ///< in all
};
PlaneLayout plane_layout(Format format, std::int64_t rows, std::int64_t columns);

/// Some rows of the four planes; a plane that the format lacks is empty.
struct PlaneRows {
    std::span<std::byte> quants, high, scales, supers;
};

/// `blocks` holds whole rows as the file has them; the planes get the same rows.
void repack(Format format, std::span<const std::byte> blocks, const PlaneRows& out);

}  // namespace hearth::cuda

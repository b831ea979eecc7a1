// A tile of dot products: some rows of a weight times up to kTokenTile rounded activations, left in
// scratch, where Project, Experts and attention take them from.
#pragma once

#include "core/compute/tensor.h"
#include "kernels/cpu/activation.h"
#include "kernels/cpu/op.h"

namespace hearth::cpu {

/// Rows of a weight with its kernel chosen.
struct WeightRows {
    explicit WeightRows(const compute::Tensor& tensor)
        : first(tensor.bytes.data()),
          row_bytes(tensor.row_size_bytes()),
          dim(tensor.shape.dim(-1)),
          type(weight_type(tensor.dtype)),
          format(activation_format(tensor.dtype)) {}

    /// What `dot` lays rows out anew in, for many tokens.
    [[nodiscard]] std::int64_t panel_bytes() const {
        if (format == ActivationFormat::f32) return 0;
        return (dim + kGroupElements - 1) / kGroupElements * kPanelBytes;
    }

    /// out[t * out_stride + r] = row (begin + r) . activations[t]. `panels`: panel_bytes() of
    /// scratch. `next`: see DotCall.
    void dot(const Kernels& kernels,
             RowRange rows,
             std::span<const void* const> activations,
             float* out,
             std::int64_t out_stride,
             void* panels,
             const void* next = nullptr) const {
        kernels.dot[static_cast<std::size_t>(type)]({row(rows.begin),
                                                     row_bytes,
                                                     rows.count,
                                                     activations.data(),
                                                     static_cast<std::int64_t>(activations.size()),
                                                     dim,
                                                     out,
                                                     out_stride,
                                                     panels,
                                                     next});
    }

    [[nodiscard]] const std::byte* row(std::int64_t index) const {
        return first + index * row_bytes;
    }

    const std::byte* first;
    std::int64_t row_bytes;
    std::int64_t dim;
    WeightType type;
    ActivationFormat format;
};

}  // namespace hearth::cpu

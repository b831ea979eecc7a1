// Tensor: a name, a type, a shape and borrowed bytes. Axes are written outermost first: (rows,
// columns), with the last axis contiguous in memory. (GGUF lists the same axes the other way round;
// core/formats turns them.)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/base/assert.h"
#include "core/compute/dtype.h"

namespace hearth::compute {

/// Up to four axes, outermost first.
struct Shape {
    static constexpr int kAxesMax = 4;

    std::array<std::int64_t, kAxesMax> dims{};
    int count = 0;

    Shape() = default;
    Shape(std::initializer_list<std::int64_t> axes) {
        HEARTH_ASSERT(axes.size() <= kAxesMax);
        for (const std::int64_t dim : axes) {
            dims[static_cast<std::size_t>(count++)] = dim;
        }
    }

    /// The length of axis `axis`; negative counts from the end (-1 is the contiguous one).
    [[nodiscard]] std::int64_t dim(int axis) const {
        const int index = axis < 0 ? count + axis : axis;
        HEARTH_ASSERT(index >= 0 && index < count);
        return dims[static_cast<std::size_t>(index)];
    }
    /// Elements in all: the product of the axes.
    [[nodiscard]] std::int64_t elements() const {
        std::int64_t product = 1;
        for (int i = 0; i < count; ++i) {
            product *= dims[static_cast<std::size_t>(i)];
        }
        return product;
    }
    friend bool operator==(const Shape&, const Shape&) = default;
};

/// A weight as a file or a model holds it. Owner of the bytes: whoever made the Tensor; they
/// outlive it.
struct Tensor {
    std::string name;
    Dtype dtype = Dtype::f32;
    Shape shape;
    std::span<const std::byte> bytes;

    /// Bytes of one run along the contiguous axis.
    [[nodiscard]] std::int64_t row_size_bytes() const { return row_bytes(dtype, shape.dim(-1)); }
    [[nodiscard]] const std::byte* row(std::int64_t index) const {
        return bytes.data() + index * row_size_bytes();
    }
};

}  // namespace hearth::compute

#include "kernels/cuda/plane_pieces.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

namespace hearth::cuda {
namespace {

using compute::Tensor;

/// A thread is worth its start from here on.
constexpr std::int64_t kBytesPerThread = std::int64_t{1} << 20;
constexpr std::int64_t kThreadsMax = 16;

}  // namespace

std::int64_t row_count(const Tensor& tensor) {
    return tensor.shape.elements() / std::max<std::int64_t>(tensor.shape.dim(-1), 1);
}

Matrix matrix_at(const Tensor& tensor, std::int64_t rows, const std::byte* base) {
    const Format format = to_format(tensor.dtype);
    const std::int64_t columns = tensor.shape.dim(-1);
    const PlaneLayout layout = plane_layout(format, rows, columns);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(base);
    return {.quants = bytes + layout.quants,
            .high = bytes + layout.high,
            .scales = bytes + layout.scales,
            .supers = bytes + layout.supers,
            .columns = static_cast<std::int32_t>(columns),
            .format = format};
}

std::int64_t plane_bytes(const Tensor& tensor, std::int64_t rows) {
    return plane_layout(to_format(tensor.dtype), rows, tensor.shape.dim(-1)).bytes;
}

PlaneRows plane_rows(std::byte* base,
                     const PlaneLayout& layout,
                     const RowBytes& row,
                     std::int64_t first,
                     std::int64_t count) {
    const auto part = [&](std::int64_t offset, std::int64_t row_size) {
        return std::span<std::byte>(base + offset + first * row_size,
                                    static_cast<std::size_t>(count * row_size));
    };
    return {part(layout.quants, row.quants),
            part(layout.high, row.high),
            part(layout.scales, row.scales),
            part(layout.supers, row.supers)};
}

void repack_rows(const TensorRows& rows, std::int64_t begin, std::int64_t end, std::byte* base) {
    const Tensor& tensor = rows.tensor;
    const Format format = to_format(tensor.dtype);
    const std::int64_t columns = tensor.shape.dim(-1);
    repack(format,
           {tensor.row(rows.first + begin),
            static_cast<std::size_t>((end - begin) * tensor.row_size_bytes())},
           plane_rows(base,
                      plane_layout(format, rows.count, columns),
                      row_bytes(format, columns),
                      begin,
                      end - begin));
}

void in_parts(std::int64_t count,
              std::int64_t bytes,
              const std::function<void(std::int64_t, std::int64_t)>& body) {
    const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
    const std::int64_t threads = std::clamp<std::int64_t>(
        bytes / kBytesPerThread, 1, std::clamp<std::int64_t>(cores, 1, kThreadsMax));
    std::vector<std::jthread> workers;
    workers.reserve(static_cast<std::size_t>(threads));
    for (std::int64_t i = 1; i < threads; ++i) {
        const std::int64_t begin = count * i / threads;
        const std::int64_t end = count * (i + 1) / threads;
        try {
            workers.emplace_back([&body, begin, end] { body(begin, end); });
        } catch (const std::exception&) {  // of the system or of memory: no thread
            body(begin, end);
        }
    }
    body(0, count / threads);
}

}  // namespace hearth::cuda

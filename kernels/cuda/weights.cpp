#include "kernels/cuda/weights.h"

#include <algorithm>
#include <thread>

#include "kernels/cuda/check.h"
#include "kernels/cuda/planes.h"

namespace hearth::cuda {
namespace {

using compute::Tensor;

/// Of the host's room through which weights pass.
constexpr std::int64_t kPieceBytes = std::int64_t{64} << 20;
/// A thread is worth its start from here on.
constexpr std::int64_t kBytesPerThread = std::int64_t{1} << 20;
constexpr std::int64_t kThreadsMax = 16;

std::int64_t row_count(const Tensor& tensor) {
    return tensor.shape.elements() / std::max<std::int64_t>(tensor.shape.dim(-1), 1);
}

/// Host memory laid out as the planes of some rows.
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

/// Rows [first, first + count) of a tensor, repacked to `base` by several threads.
void repack_piece(const Tensor& tensor, std::int64_t first, std::int64_t count, std::byte* base) {
    const Format format = to_format(tensor.dtype);
    const std::int64_t columns = tensor.shape.dim(-1);
    const PlaneLayout layout = plane_layout(format, count, columns);
    const RowBytes row = row_bytes(format, columns);
    const auto repack_rows = [&](std::int64_t begin, std::int64_t end) {
        repack(format,
               {tensor.row(first + begin),
                static_cast<std::size_t>((end - begin) * tensor.row_size_bytes())},
               plane_rows(base, layout, row, begin, end - begin));
    };
    const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
    const std::int64_t threads = std::clamp<std::int64_t>(
        layout.bytes / kBytesPerThread, 1, std::clamp<std::int64_t>(cores, 1, kThreadsMax));
    std::vector<std::thread> workers;
    for (std::int64_t i = 1; i < threads; ++i) {
        workers.emplace_back(repack_rows, count * i / threads, count * (i + 1) / threads);
    }
    repack_rows(0, count / threads);
    for (std::thread& worker : workers) {
        worker.join();
    }
}

/// Copies the planes of rows [first, first + count) to their place in `target`.
Result<void> copy_piece(const Tensor& tensor,
                        std::int64_t first,
                        std::int64_t count,
                        std::byte* piece,
                        std::byte* target) {
    const Format format = to_format(tensor.dtype);
    const std::int64_t columns = tensor.shape.dim(-1);
    const RowBytes row = row_bytes(format, columns);
    const PlaneRows from = plane_rows(piece, plane_layout(format, count, columns), row, 0, count);
    const PlaneRows to =
        plane_rows(target, plane_layout(format, row_count(tensor), columns), row, first, count);
    for (const auto plane :
         {&PlaneRows::quants, &PlaneRows::high, &PlaneRows::scales, &PlaneRows::supers}) {
        const std::span<std::byte> bytes = from.*plane;
        if (bytes.empty()) continue;
        HEARTH_CUDA(
            cudaMemcpy((to.*plane).data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
    }
    return {};
}

Result<void> upload(const Tensor& tensor, std::byte* piece, std::byte* target) {
    const std::int64_t rows = row_count(tensor);
    const std::int64_t rows_max =
        std::max<std::int64_t>(kPieceBytes / std::max<std::int64_t>(tensor.row_size_bytes(), 1), 1);
    for (std::int64_t first = 0; first < rows; first += rows_max) {
        const std::int64_t count = std::min(rows_max, rows - first);
        repack_piece(tensor, first, count, piece);
        HEARTH_CHECK(copy_piece(tensor, first, count, piece, target));
    }
    return {};
}

Matrix matrix_at(const Tensor& tensor, const std::byte* base) {
    const Format format = to_format(tensor.dtype);
    const std::int64_t columns = tensor.shape.dim(-1);
    const PlaneLayout layout = plane_layout(format, row_count(tensor), columns);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(base);
    return {.quants = bytes + layout.quants,
            .high = bytes + layout.high,
            .scales = bytes + layout.scales,
            .supers = bytes + layout.supers,
            .columns = static_cast<std::int32_t>(columns),
            .format = format};
}

/// Bytes of the largest piece that upload() makes of any of the tensors.
std::int64_t piece_bytes(std::span<const Tensor> tensors) {
    // Aligning four planes adds less than this.
    constexpr std::int64_t kSlack = 4 * kPlaneAlignment;
    std::int64_t bytes = 0;
    for (const Tensor& tensor : tensors) {
        const auto whole = static_cast<std::int64_t>(tensor.bytes.size());
        bytes = std::max({bytes, std::min(whole, kPieceBytes), tensor.row_size_bytes()});
    }
    return bytes + kSlack;
}

}  // namespace

Result<std::unique_ptr<CudaWeights>> CudaWeights::make(std::span<const Tensor> tensors) {
    auto weights = std::make_unique<CudaWeights>();
    weights->tensors_.assign(tensors.begin(), tensors.end());
    std::int64_t bytes = 0;
    std::vector<std::int64_t> offsets;
    for (const Tensor& tensor : tensors) {
        offsets.push_back(bytes);
        bytes +=
            plane_layout(to_format(tensor.dtype), row_count(tensor), tensor.shape.dim(-1)).bytes;
    }
    HEARTH_TRY(weights->memory_, DeviceBuffer::make(bytes, "the model's weights"));
    HEARTH_TRY(const PinnedBuffer piece,
               PinnedBuffer::make(piece_bytes(tensors), "the way of weights to the device"));
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        std::byte* target = weights->memory_.data() + offsets[i];
        HEARTH_CHECK(upload(tensors[i], piece.data(), target));
        weights->matrices_.push_back(matrix_at(tensors[i], target));
    }
    return weights;
}

}  // namespace hearth::cuda

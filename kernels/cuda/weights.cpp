#include "kernels/cuda/weights.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/plane_pieces.h"

namespace hearth::cuda {
namespace {

using compute::Tensor;

/// Of the host's room through which weights pass.
constexpr std::int64_t kPieceBytes = std::int64_t{64} << 20;
/// Rows [first, first + count) of a tensor, repacked to `base` by several threads.
void repack_piece(const Tensor& tensor, std::int64_t first, std::int64_t count, std::byte* base) {
    in_parts(count, plane_bytes(tensor, count), [&](std::int64_t begin, std::int64_t end) {
        repack_rows({tensor, first, count}, begin, end, base);
    });
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

Result<std::unique_ptr<CudaWeights>> CudaWeights::make(
    std::span<const Tensor> tensors, std::span<const compute::HostExperts> on_host) {
    auto weights = std::make_unique<CudaWeights>();
    weights->tensors_.assign(tensors.begin(), tensors.end());
    weights->matrices_.resize(tensors.size());
    if (!on_host.empty()) {
        HEARTH_TRY(weights->experts_, ExpertStore::make(tensors, on_host));
    }
    std::int64_t bytes = 0;
    std::vector<std::pair<std::size_t, std::int64_t>> uploads;  // tensor and offset
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const auto experts = weights->experts_ == nullptr
                                 ? std::nullopt
                                 : weights->experts_->matrix(static_cast<compute::WeightId>(i));
        if (experts) {
            weights->matrices_[i] = *experts;
            continue;
        }
        uploads.emplace_back(i, bytes);
        bytes += plane_bytes(tensors[i], row_count(tensors[i]));
    }
    HEARTH_TRY(weights->memory_, DeviceBuffer::make(bytes, "the model's weights"));
    HEARTH_TRY(const PinnedBuffer piece,
               PinnedBuffer::make(piece_bytes(tensors), "the way of weights to the device"));
    for (const auto& [i, offset] : uploads) {
        std::byte* target = weights->memory_.data() + offset;
        HEARTH_CHECK(upload(tensors[i], piece.data(), target));
        weights->matrices_[i] = matrix_at(tensors[i], row_count(tensors[i]), target);
    }
    return weights;
}

}  // namespace hearth::cuda

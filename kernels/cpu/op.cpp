#include "kernels/cpu/op.h"

#include <algorithm>

namespace hearth::cpu {

void ParallelOp::prepare(const Step&) {}

std::int64_t row_chunk_size(std::int64_t rows, const Step& step) {
    constexpr std::int64_t kUnitsPerThread = 8;
    constexpr std::int64_t kStep = kPanelRows;
    const std::int64_t units = step.thread_count * kUnitsPerThread;
    const std::int64_t fair = (rows + units - 1) / units;
    return std::clamp((fair + kStep - 1) / kStep * kStep, kStep, kChunkRowsMax);
}

std::int64_t row_chunk_count(std::int64_t rows, const Step& step) {
    const std::int64_t size = row_chunk_size(rows, step);
    return (rows + size - 1) / size;
}

RowRange row_chunk(std::int64_t rows, std::int64_t unit, const Step& step) {
    const std::int64_t size = row_chunk_size(rows, step);
    const std::int64_t begin = unit * size;
    return {begin, std::min(size, rows - begin)};
}

}  // namespace hearth::cpu

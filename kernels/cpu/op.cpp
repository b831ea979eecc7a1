#include "kernels/cpu/op.h"

#include <algorithm>

namespace hearth::cpu {

void ParallelOp::prepare(const Step&) {}

std::int64_t row_chunk_size(std::int64_t rows, const Step& step, std::int64_t matrices) {
    constexpr std::int64_t kUnitsPerThread = 8;
    constexpr std::int64_t kStep = kPanelRows;
    const std::int64_t units = (step.thread_count * kUnitsPerThread + matrices - 1) / matrices;
    const std::int64_t fair = (rows + units - 1) / units;
    return std::clamp((fair + kStep - 1) / kStep * kStep, kStep, kChunkRowsMax);
}

std::int64_t row_chunk_count(std::int64_t rows, const Step& step, std::int64_t matrices) {
    const std::int64_t size = row_chunk_size(rows, step, matrices);
    return (rows + size - 1) / size;
}

RowRange row_chunk(std::int64_t rows, std::int64_t unit, const Step& step, std::int64_t matrices) {
    const std::int64_t size = row_chunk_size(rows, step, matrices);
    const std::int64_t begin = unit * size;
    return {begin, std::min(size, rows - begin)};
}

}  // namespace hearth::cpu

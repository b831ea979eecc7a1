#include "kernels/cuda/norm_readers.h"

#include <algorithm>
#include <variant>

#include "core/compute/operands.h"
#include "kernels/cuda/matrix.h"

namespace hearth::cuda {
namespace {

using compute::Slice;

bool is_whole_row(const compute::RmsNorm& op) {
    constexpr std::int64_t kAligned = 4;  // columns
    return op.group_dim == op.x.dim && op.x.dim % kChunkWeights == 0 && op.x.dim <= kNormInputMax &&
           op.x.offset % kAligned == 0 && (is_same(op.x, op.out) || !overlap(op.x, op.out));
}

bool touches(const std::vector<Slice>& slices, const Slice& slice) {
    return std::ranges::any_of(slices, [&](const Slice& each) { return overlap(each, slice); });
}

/// Whether the operation reads all of the normed row, if any, and leaves what the norm reads to the
/// other blocks of its kernel. The expert block may write there: its first kernel has ended by
/// then.
bool reads_soundly(const compute::Operation& operation, const compute::RmsNorm& norm) {
    const auto reads = reads_of(operation);
    const bool takes_all = std::ranges::all_of(reads, [&](const Slice& each) {
        return !overlap(each, norm.out) || is_same(each, norm.out);
    });
    return takes_all && (std::holds_alternative<compute::Experts>(operation) ||
                         !touches(writes_of(operation), norm.x));
}

}  // namespace

bool readers_can_norm(const compute::Plan& plan, std::size_t norm, const NormReader& reader) {
    const auto& op = std::get<compute::RmsNorm>(plan.operations[norm]);
    if (!is_whole_row(op)) return false;
    bool is_there = true;  // what the norm reads
    for (std::size_t i = norm + 1; i < plan.operations.size();) {
        const compute::Operation& operation = plan.operations[i];
        std::size_t count = 1;
        if (touches(reads_of(operation), op.out)) {
            count = reader(i);
            if (count == 0 || !is_there || !reads_soundly(operation, op)) return false;
        }
        for (const std::size_t end = i + count; i < end; ++i) {
            for (const Slice& each : writes_of(plan.operations[i])) {
                if (covers(each, op.out)) return true;
                if (overlap(each, op.out)) return false;
                is_there = is_there && !overlap(each, op.x);
            }
        }
    }
    return !overlap(op.out, plan.rows_out);
}

}  // namespace hearth::cuda

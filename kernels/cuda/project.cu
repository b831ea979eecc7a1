#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/project_part.cuh"
#include "kernels/cuda/row.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpLanes;
static_assert(kWarps == kNormWarps);
constexpr int kFloatTokens = 8;
/// Products of so many rows keep the device busy with several rows a warp, which then loads and
/// sums the activations less often.
constexpr int kManyRows = 16384;
constexpr int kRowsOfMany = 4;

/// One token; `lanes` lanes for kRows rows. Reads the weights once, 40 bytes of activations per
/// chunk from L1, or norms the token's row first; bound by memory.
template <int kRows>
__global__ void __launch_bounds__(kThreads, kRows == 1 ? 4 : 3)
    project_one_kernel(ProjectArgs args, int lanes) {
    wait_for_predecessor();
    if (token_count(args, 1) < 1) return;
    const int rows_per_warp = kWarpLanes / lanes * kRows;
    const BlockOfPart at = find_part(args, kWarps * rows_per_warp);
    const ProjectPart& part = args.parts[at.part];
    const int row =
        (at.block * kWarps + warp_of_block()) * rows_per_warp + warp_lane() / lanes * kRows;
    Q8Rows x = args.x;
    if (kRows == 1 && args.norm.x != nullptr) {
        x = norm_to_q8(args.norm, block_memory());
    } else {
        const std::int64_t from = x_row(args, 0);
        x.quants += from * x.columns;
        x.scales += from * (x.columns / kChunkWeights);
    }
    float sums[kRows] = {};
    with_quantised(part.weight.format, [&](auto tag) {
        add_row_dots<decltype(tag)::value, kRows>(part.weight,
                                                  smaller(row, part.rows - 1),
                                                  part.rows - 1,
                                                  x.quants,
                                                  x.scales,
                                                  warp_lane() % lanes,
                                                  lanes,
                                                  sums);
    });
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const float dot = lane_sum(sums[r], lanes);
        if (warp_lane() % lanes == r && row + r < part.rows) store(part, 0, row + r, row + r, dot);
    }
}

/// `lanes` lanes per row, kTokens tokens. Reads the weights once per kTokens tokens, the
/// activations from L1; bound by memory for floats, by decoding for quantised weights.
template <int kTokens>
__global__ void __launch_bounds__(kThreads)
    project_float_kernel(ProjectArgs args, int tokens, int lanes) {
    wait_for_predecessor();
    const int first = static_cast<int>(blockIdx.y) * kTokens;
    const int count = token_count(args, tokens) - first;
    if (count <= 0) return;
    const int rows_per_warp = kWarpLanes / lanes;
    const BlockOfPart at = find_part(args, kWarps * rows_per_warp);
    const ProjectPart& part = args.parts[at.part];
    const int row = (at.block * kWarps + warp_of_block()) * rows_per_warp + warp_lane() / lanes;
    const int sound_row = smaller(row, part.rows - 1);
    const int head = args.head_rows > 0 ? sound_row / args.head_rows : 0;
    const float* x[kTokens];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
        x[t] = args.x_float.data +
               x_row(args, first + smaller(t, count - 1)) * args.x_float.stride +
               std::int64_t{head} * args.head_x;
    }
    float sums[kTokens] = {};
    with_format(part.weight.format, [&](auto tag) {
        add_float_dots<decltype(tag)::value, kTokens>(
            part.weight, sound_row, x, warp_lane() % lanes, lanes, sums);
    });
    const std::int64_t column =
        args.head_rows > 0 ? std::int64_t{head} * args.head_out + sound_row % args.head_rows
                           : sound_row;
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
        const float dot = lane_sum(sums[t], lanes);
        if (warp_lane() % lanes == 0 && row < part.rows && t < count) {
            store(part, first + t, row, column, dot);
        }
    }
}

template <int kRows>
Result<void> project_one(const ProjectArgs& args, int lanes, Queue queue) {
    const int rows_per_block = kThreads / lanes * kRows;
    return launch("project_one",
                  project_one_kernel<kRows>,
                  {.grid = dim3(block_count(args, rows_per_block)),
                   .block = dim3(kThreads),
                   .shared_bytes = norm_q8_bytes(args.norm)},
                  queue,
                  args,
                  lanes);
}

template <int kTokens>
Result<void> project_floats(const ProjectArgs& args, int tokens, Queue queue) {
    const Matrix& weight = args.parts[0].weight;
    const int weights = is_quantised(weight.format) ? kChunkWeights : 8;
    const int lanes = lanes_for((weight.columns + weights - 1) / weights);
    const int rows_per_block = kWarps * kWarpLanes / lanes;
    return launch("project_float",
                  project_float_kernel<kTokens>,
                  {.grid = dim3(block_count(args, rows_per_block), blocks_for(tokens, kTokens)),
                   .block = dim3(kThreads)},
                  queue,
                  args,
                  tokens,
                  lanes);
}

}  // namespace

Result<void> project_q8(const ProjectArgs& args, int tokens, Queue queue) {
    if (tokens > 1) return project_tile(args, tokens, queue);
    const int lanes = lanes_for(args.parts[0].weight.columns / kChunkWeights);
    // The bits are the same either way.
    const bool has_many = block_count(args, 1) >= kManyRows && lanes == kWarpLanes;
    if (has_many && args.norm.x == nullptr) return project_one<kRowsOfMany>(args, lanes, queue);
    return project_one<1>(args, lanes, queue);
}

Result<void> project_float(const ProjectArgs& args, int tokens, Queue queue) {
    if (is_half_product(args, queue)) return project_half(args, tokens, queue);
    if (tokens == 1) return project_floats<1>(args, tokens, queue);
    return project_floats<kFloatTokens>(args, tokens, queue);
}

}  // namespace hearth::cuda

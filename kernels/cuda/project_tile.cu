// Rounded products of several tokens, on the tensor cores.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/project_part.cuh"
#include "kernels/cuda/tile.cuh"
#include "kernels/cuda/wide_tile.cuh"

namespace hearth::cuda {
namespace {

constexpr std::size_t kWideMore = kWideTokens * sizeof(int);  ///< numbers of rows of x

/// Names the rows of x of up to kTokens tokens, the last one repeated.
template <int kTokens>
__device__ __forceinline__ void load_rows(const ProjectArgs& args,
                                          int first,
                                          int count,
                                          int* x_rows) {
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kTokens) {
        x_rows[thread] = static_cast<int>(x_row(args, first + smaller(thread, count - 1)));
    }
}

/// 16 rows by 8 tokens; see tile.cuh. Reads the weights once per tile of tokens.
__global__ void __launch_bounds__(kTileThreads) project_tile_kernel(ProjectArgs args, int tokens) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    int* x_rows = reinterpret_cast<int*>(shared + kTileSums);
    const int first = static_cast<int>(blockIdx.y) * kTileTokens;
    const int count = token_count(args, tokens) - first;
    if (count <= 0) return;
    const BlockOfPart at = find_part(args, kTileRows);
    const ProjectPart& part = args.parts[at.part];
    const int row = at.block * kTileRows;
    load_rows<kTileTokens>(args, first, count, x_rows);
    __syncthreads();
    TileSums sums = {};
    with_quantised(part.weight.format, [&](auto tag) {
        add_tile<decltype(tag)::value>(part.weight, row, part.rows - 1, args.x, x_rows, sums);
    });
    const float dot = sum_tile(sums, shared);
    const int thread = static_cast<int>(threadIdx.x);
    const int token = thread % kTileTokens;
    const int column = row + thread / kTileTokens;
    if (thread < kTileOutputs && token < count && column < part.rows) {
        store(part, first + token, column, column, dot);
    }
}

/// 32 rows by 32 tokens; see wide_tile.cuh. Reads the weights once per tile of tokens, the
/// activations once per tile of rows.
__global__ void __launch_bounds__(kWideThreads, 2)
    project_wide_kernel(ProjectArgs args, int tokens, WideLayout layout) {
    wait_for_predecessor();
    auto* shared = static_cast<unsigned char*>(block_memory());
    int* x_rows = reinterpret_cast<int*>(shared + layout.bytes);
    const int first = static_cast<int>(blockIdx.y) * kWideTokens;
    const int count = smaller(token_count(args, tokens) - first, kWideTokens);
    if (count <= 0) return;
    const BlockOfPart at = find_part(args, kWideRows);
    const ProjectPart& part = args.parts[at.part];
    const int row = at.block * kWideRows;
    const ExpertRows rows{part.weight, 0};
    prefetch_rows(rows, row, part.rows);
    load_rows<kWideTokens>(args, first, count, x_rows);
    WideTile tile{.layout = layout,
                  .x = args.x,
                  .x_rows = x_rows,
                  .tokens = count,
                  .memory = shared,
                  .has_tokens = false};
    WideResults dots;
    multiply_wide(rows, row, part.rows, tile, dots);
    const int column = row + warp_lane();
#pragma unroll
    for (int group = 0; group < kWideGroups; ++group) {
        const int token = group * kTileTokens + warp_of_block();
        if (token < count && column < part.rows) {
            store(part, first + token, column, column, dots.of[group]);
        }
    }
}

}  // namespace

Result<void> project_tile(const ProjectArgs& args, int tokens, Queue queue) {
    HEARTH_TRY(const auto layout, wide_layout(args.parts[0].weight.columns, tokens, kWideMore));
    if (!layout) {
        return launch("project_tile",
                      project_tile_kernel,
                      {.grid = dim3(block_count(args, kTileRows), blocks_for(tokens, kTileTokens)),
                       .block = dim3(kTileThreads),
                       .shared_bytes = kTileSums * sizeof(float) + kTileTokens * sizeof(int)},
                      queue,
                      args,
                      tokens);
    }
    return launch("project_wide",
                  project_wide_kernel,
                  {.grid = dim3(block_count(args, kWideRows), blocks_for(tokens, kWideTokens)),
                   .block = dim3(kWideThreads),
                   .shared_bytes = layout->bytes + kWideMore},
                  queue,
                  args,
                  tokens,
                  *layout);
}

}  // namespace hearth::cuda

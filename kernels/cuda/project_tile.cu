// Rounded products of several tokens, on the tensor cores.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/project_part.cuh"
#include "kernels/cuda/tile.cuh"

namespace hearth::cuda {
namespace {

/// 16 rows by 8 * kGroups tokens; see tile.cuh. Reads the weights once per tile of tokens.
template <int kGroups>
__global__ void __launch_bounds__(kTileThreads) project_tile_kernel(ProjectArgs args, int tokens) {
    wait_for_predecessor();
    constexpr int kTokens = kGroups * kTileGroupTokens;
    auto* shared = static_cast<float*>(block_memory());
    int* x_rows = reinterpret_cast<int*>(shared + kTileSums);
    const int first = static_cast<int>(blockIdx.y) * kTokens;
    const int count = token_count(args, tokens) - first;
    if (count <= 0) return;
    const BlockOfPart at = find_part(args, kTileRows);
    const ProjectPart& part = args.parts[at.part];
    const int row = at.block * kTileRows;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kTokens) {
        x_rows[thread] = static_cast<int>(x_row(args, first + smaller(thread, count - 1)));
    }
    __syncthreads();
    TileSums<kGroups> sums = {};
    with_quantised(part.weight.format, [&](auto tag) {
        add_tile<decltype(tag)::value, kGroups>(
            part.weight, row, part.rows - 1, args.x, x_rows, sums);
    });
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
        const float dot = sum_tile(sums, group, shared);
        const int token = group * kTileGroupTokens + thread % kTileGroupTokens;
        const int column = row + thread / kTileGroupTokens;
        if (thread < kTileOutputs && token < count && column < part.rows) {
            store(part, first + token, column, column, dot);
        }
    }
}

template <int kGroups>
Result<void> launch_tile(const ProjectArgs& args, int tokens, Queue queue) {
    constexpr int kTokens = kGroups * kTileGroupTokens;
    return launch("project_tile",
                  project_tile_kernel<kGroups>,
                  {.grid = dim3(block_count(args, kTileRows), blocks_for(tokens, kTokens)),
                   .block = dim3(kTileThreads),
                   .shared_bytes = kTileSums * sizeof(float) + kTokens * sizeof(int)},
                  queue,
                  args,
                  tokens);
}

}  // namespace

Result<void> project_tile(const ProjectArgs& args, int tokens, Queue queue) {
    if (tokens > kTileGroupTokens) return launch_tile<4>(args, tokens, queue);
    return launch_tile<1>(args, tokens, queue);
}

}  // namespace hearth::cuda

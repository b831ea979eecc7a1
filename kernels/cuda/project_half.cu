#include "kernels/cuda/half_tile.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"
#include "kernels/cuda/project_part.cuh"

namespace hearth::cuda {
namespace {

__device__ __forceinline__ const float* x_of(const ProjectArgs& args, int token) {
    return args.x_float.data + x_row(args, token) * args.x_float.stride;
}

/// 16 rows by up to 8 tokens, the columns shared out to the block's warps. Reads the weights once,
/// the activations from L1; bound by memory.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) project_few_kernel(ProjectArgs args, int tokens) {
    wait_for_predecessor();
    const int count = token_count(args, tokens);
    if (count <= 0) return;
    const BlockOfPart at = find_part(args, kHalfRows);
    const ProjectPart& part = args.parts[at.part];
    const int row = at.block * kHalfRows;
    const float* x = x_of(args, smaller(warp_lane() / 4, count - 1));
    float sums[4] = {};
    add_half_strand<kFormat>(part.weight, row, part.rows - 1, x, sums);
    const float dot = sum_strands(sums, static_cast<float*>(block_memory()));
    const int mine = row + static_cast<int>(threadIdx.x) % kHalfRows;
    const int token = static_cast<int>(threadIdx.x) / kHalfRows;
    if (token < smaller(count, kHalfGroupTokens) && mine < part.rows) {
        store(part, token, mine, mine, dot);
    }
}

/// 128 rows by 32 tokens, 16 rows a warp. Reads the weights once per tile of tokens; bound by the
/// tensor cores.
template <Format kFormat>
__global__ void __launch_bounds__(kHalfThreads) project_many_kernel(ProjectArgs args, int tokens) {
    wait_for_predecessor();
    const int first = static_cast<int>(blockIdx.y) * kHalfTileTokens;
    const int count = token_count(args, tokens) - first;
    if (count <= 0) return;
    const BlockOfPart at = find_part(args, kHalfTileRows);
    const ProjectPart& part = args.parts[at.part];
    const int row = at.block * kHalfTileRows + warp_of_block() * kHalfRows;
    using Tile = HalfTile<kFormat>;
    Tile tile;
    const float* x = x_of(args, first + smaller(Tile::staged_token(), count - 1));
    tile.multiply(part.weight, row, part.rows - 1, x, block_memory());
    visit_half_tile(row, part.rows, count, [&](int out, int token, int group, int i) {
        store(part, first + token, out, out, tile.totals[group][i]);
    });
}

template <Format kFormat>
Result<void> launch_half(const ProjectArgs& args, int tokens, Queue queue) {
    if (tokens <= kHalfGroupTokens) {
        return launch("project_few",
                      project_few_kernel<kFormat>,
                      {.grid = dim3(block_count(args, kHalfRows)),
                       .block = dim3(kHalfThreads),
                       .shared_bytes = kHalfSums * sizeof(float)},
                      queue,
                      args,
                      tokens);
    }
    return launch(
        "project_many",
        project_many_kernel<kFormat>,
        {.grid = dim3(block_count(args, kHalfTileRows), blocks_for(tokens, kHalfTileTokens)),
         .block = dim3(kHalfThreads),
         .shared_bytes = HalfTile<kFormat>::kSharedBytes},
        queue,
        args,
        tokens);
}

}  // namespace

bool is_half_product(const ProjectArgs& args, const Queue& queue) {
    // Heads keep the order of merge_values, which computes them in attention.
    return args.head_rows == 0 && fits_half_tile(args.parts[0].weight, queue.has_bf16);
}

Result<void> project_half(const ProjectArgs& args, int tokens, Queue queue) {
    return args.parts[0].weight.format == Format::f16
               ? launch_half<Format::f16>(args, tokens, queue)
               : launch_half<Format::bf16>(args, tokens, queue);
}

}  // namespace hearth::cuda

// What the kernels of project.h share: which part a block works on, and how a result is stored.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/project.h"

namespace hearth::cuda {

/// The part that a block works on, and the block's number within it.
struct BlockOfPart {
    int part = 0;
    int block = 0;
};
__device__ __forceinline__ BlockOfPart find_part(const ProjectArgs& args, int rows_per_block) {
    BlockOfPart found{0, static_cast<int>(blockIdx.x)};
    while (found.part + 1 < args.part_count) {
        const int blocks = (args.parts[found.part].rows + rows_per_block - 1) / rows_per_block;
        if (found.block < blocks) break;
        found.block -= blocks;
        ++found.part;
    }
    return found;
}

inline unsigned block_count(const ProjectArgs& args, int rows_per_block) {
    unsigned blocks = 0;
    for (int i = 0; i < args.part_count; ++i) {
        blocks += blocks_for(args.parts[i].rows, rows_per_block);
    }
    return blocks;
}

__device__ __forceinline__ int token_count(const ProjectArgs& args, int tokens) {
    return args.count == nullptr ? tokens : *args.count;
}
__device__ __forceinline__ std::int64_t x_row(const ProjectArgs& args, int token) {
    return args.row_map == nullptr ? token : args.row_map[token];
}

__device__ __forceinline__ void store(
    const ProjectPart& part, std::int64_t token, int row, std::int64_t column, float dot) {
    float value = part.scale * dot;
    if (part.bias != nullptr) value += part.bias[row];
    if (part.residual.data != nullptr) {
        value += part.residual.data[token * part.residual.stride + column];
    }
    part.out.data[token * part.out.stride + column] = value;
}

}  // namespace hearth::cuda

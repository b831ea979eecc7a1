// Matrix products with the weights of one or several matrices that share their input: one warp
// works on a row or, of very many rows, on four (mat-vec), or a block on a tile of rows and tokens
// with the tensor cores: 16 by 8 for up to 8 tokens, 32 by 32 for more. All add the chunks of a row
// in one order: chunk c goes to
// strand c % 32, strands are summed pairwise. So a token's result has the same bits alone and in
// company. F16 and BF16 weights have two kernels of their own, with the order of half_tile.cuh.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"

namespace hearth::cuda {

/// out = scale * (x * transpose(weight)) [+ bias] [+ residual]
struct ProjectPart {
    Matrix weight;
    std::int32_t rows = 0;
    const float* bias = nullptr;  ///< (rows)
    FloatRows residual = {};      ///< data null: none
    FloatRows out;
    float scale = 1.0F;
};

inline constexpr int kProjectPartsMax = 4;

struct ProjectArgs {
    ProjectPart parts[kProjectPartsMax];
    int part_count = 0;
    Q8Rows x;                               ///< for project_q8
    NormInput norm = {};                    ///< of one token's project_q8: instead of x
    FloatRows x_float;                      ///< for project_float
    const std::int32_t* row_map = nullptr;  ///< token i reads row row_map[i] of x; null: row i
    const std::int32_t* count =
        nullptr;  ///< how many tokens there are, in device memory; null: all
    /// Of project_float: row r belongs to head r / head_rows and reads from column head * head_x
    /// on, writes to column head * head_out + r % head_rows. 0: one head.
    std::int32_t head_rows = 0;
    std::int32_t head_x = 0;
    std::int32_t head_out = 0;
};

/// Weights are quantised, activations rounded.
Result<void> project_q8(const ProjectArgs& args, int tokens, Queue queue);
/// Its part for more than one token.
Result<void> project_tile(const ProjectArgs& args, int tokens, Queue queue);

/// Any weights, activations as floats. Parts share a format.
Result<void> project_float(const ProjectArgs& args, int tokens, Queue queue);

/// F16 and BF16 weights by the tensor cores, where is_half_product(): project_float does it by
/// itself.
Result<void> project_half(const ProjectArgs& args, int tokens, Queue queue);
/// Depends on the weights and the device, never on the step.
bool is_half_product(const ProjectArgs& args, const Queue& queue);

}  // namespace hearth::cuda

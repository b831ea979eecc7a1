// The expert block in two kernels: gate, up and SwiGLU, then down, weights and sum. One token: a
// block serves 32 rows of a slot and rounds its result on the spot, then a block serves 4 output
// rows of all slots. Several tokens: pairs sorted by expert, tiles of the tensor cores, so that an
// expert's weights are read once for all its tokens. Slots are summed in order, so the bits agree.
// F16 and BF16 weights have the same two by tiles of their own (half_tile.cuh). The float kernels
// serve any types, a pair at a time.
#pragma once

#include <cuda_runtime.h>

#include "core/base/result.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/route.h"

namespace hearth::cuda {

/// An expert that serves every token, computed with the chosen ones where there is one token. Its
/// result is added last, with weight 1.
struct SharedExpert {
    Matrix gate, up;  ///< (ffn_dim, columns)
    Matrix down;      ///< (rows, ffn_dim)
    Q8Rows hidden;    ///< (1, ffn_dim)
    int ffn_dim = 0;  ///< 0: none
};

struct ExpertsUpArgs {
    Matrix gate, up;  ///< (experts, ffn_dim, columns)
    IntRows experts;
    Q8Rows x;             ///< of the rounded kernels
    NormInput norm = {};  ///< of the one-token kernel: instead of x
    FloatRows x_float;    ///< of the float kernel
    int ffn_dim = 0;
    int experts_per_token = 0;
    FloatRows hidden;  ///< (pairs, ffn_dim) out, where data is not null; of the 8-pair tiles only
                       ///< where nothing is rounded
    Q8Rows rounded = {};  ///< (pairs, ffn_dim) out of the kernels with rounded x, where quants is
                          ///< not null
    SharedExpert shared = {};  ///< of the one-token kernel
    PairTiles tiles;           ///< of the tile kernels; tiles null: one token
    int tiles_max = 0;
    int tile_pairs = 0;
};
Result<void> experts_up_one(const ExpertsUpArgs& args, Queue queue);
Result<void> experts_up_tile(const ExpertsUpArgs& args, Queue queue);
/// Gate and up are of one type that fits_half_tile().
Result<void> experts_up_half(const ExpertsUpArgs& args, Queue queue);
Result<void> experts_up_float(const ExpertsUpArgs& args, int tokens, Queue queue);

struct ExpertsDownArgs {
    Matrix down;  ///< (experts, rows, ffn_dim)
    IntRows experts;
    FloatRows weights;
    Q8Rows hidden;           ///< (pairs, ffn_dim)
    FloatRows hidden_float;  ///< (pairs, ffn_dim)
    int rows = 0;
    int experts_per_token = 0;
    FloatRows residual = {};  ///< data null: none
    FloatRows out;
    SharedExpert shared = {};  ///< of the one-token kernel
    FloatRows products;        ///< (pairs, rows) room of the tile kernels
    PairTiles tiles;           ///< null: one token
    int tiles_max = 0;
    int tile_pairs = 0;
};
Result<void> experts_down_one(const ExpertsDownArgs& args, Queue queue);
/// Two kernels: products, then their sum.
Result<void> experts_down_tile(const ExpertsDownArgs& args, int tokens, Queue queue);
/// Down fits_half_tile().
Result<void> experts_down_half(const ExpertsDownArgs& args, int tokens, Queue queue);
Result<void> experts_down_float(const ExpertsDownArgs& args, int tokens, Queue queue);
/// out = [residual +] each slot's products, weighed and in order.
Result<void> sum_pairs(const ExpertsDownArgs& args, int tokens, Queue queue);

/// Pairs of a tile: more where the experts have enough of them to fill it.
constexpr int tile_pairs_for(int pairs, int expert_count) {
    constexpr int kFew = 8;
    constexpr int kMany = 32;
    return pairs <= kFew * expert_count ? kFew : kMany;
}

}  // namespace hearth::cuda

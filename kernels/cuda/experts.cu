#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/expert_rows.cuh"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = 8;
static_assert(kWarps == kNormWarps);
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kRowsOfWarp = kChunkWeights / kWarps;  ///< a block makes one block of 32 results
constexpr int kRowsTogether = 2;                     ///< that a warp reads at once
constexpr int kRowsDown = 4;                         ///< of a block of experts_down_one

__device__ __forceinline__ int expert_of(const IntRows& experts, int pair, int per_token) {
    return experts.data[pair / per_token * experts.stride + pair % per_token];
}

/// Dot products of `count` rows of an expert with one row of rounded activations, by a warp. There
/// is one place in a kernel that calls it, and it loops: what each type needs is code enough, and
/// code that runs a second time is there already.
///   dots   `count` floats, shared
struct ExpertDots {
    Matrix rows;  ///< the first is the first of them
    int row_last;
    const std::int8_t* x;
    const Q8Scale* scales;
    float* dots;

    __device__ __forceinline__ void store(int count) const {
        with_quantised(rows.format, [&](auto tag) {
#pragma unroll 1
            for (int i = 0; i < count; i += kRowsTogether) {
                float sums[kRowsTogether] = {};
                add_row_dots<decltype(tag)::value, kRowsTogether>(
                    rows, i, row_last, x, scales, warp_lane(), kWarpLanes, sums);
#pragma unroll
                for (int r = 0; r < kRowsTogether; ++r) {
                    const float dot = lane_sum(sums[r]);
                    if (warp_lane() == 0) dots[i + r] = dot;
                }
            }
        });
    }
};

/// One token: a block per (32 rows, slot), a warp per 4 rows of gate and of up, two at a time. Asks
/// for all its weights before it norms the token's activations, or reads these from L1; bound by
/// memory.
__global__ void __launch_bounds__(kThreads, 3) experts_up_one_kernel(ExpertsUpArgs args) {
    wait_for_predecessor();
    auto* dots = static_cast<float*>(block_memory());  // of gate, then of up
    const int slot = static_cast<int>(blockIdx.y);
    const bool is_shared = slot == args.experts_per_token;
    const int ffn_dim = is_shared ? args.shared.ffn_dim : args.ffn_dim;
    const int expert = is_shared ? 0 : expert_of(args.experts, slot, args.experts_per_token);
    const int first = static_cast<int>(blockIdx.x) * kChunkWeights;
    if (expert < 0 || first >= ffn_dim) return;
    const auto rows_of_part = [&](bool is_up, int row) {
        const Matrix& gate = is_shared ? args.shared.gate : args.gate;
        const Matrix& up = is_shared ? args.shared.up : args.up;
        const ExpertRows rows = rows_of(is_up ? up : gate, expert, ffn_dim);
        return rows_from(rows.matrix, rows.begin + row);
    };
    if (warp_of_block() < 2) {
        prefetch_rows(rows_of_part(warp_of_block() == 1, first),
                      smaller(kChunkWeights, ffn_dim - first));
    }
    if (!is_shared) note_use(args.gate, expert);
    const Q8Rows x =
        args.norm.x == nullptr ? args.x : norm_to_q8(args.norm, dots + 2 * kChunkWeights);
    const int of_block = warp_of_block() * kRowsOfWarp;
    const int row = smaller(first + of_block, ffn_dim - 1);
#pragma unroll 1
    for (int part = 0; part < 2; ++part) {
        ExpertDots{rows_of_part(part == 1, row),
                   ffn_dim - 1 - row,
                   x.quants,
                   x.scales,
                   dots + part * kChunkWeights + of_block}
            .store(kRowsOfWarp);
    }
    __syncthreads();
    if (warp_of_block() != 0) return;
    const int column = first + warp_lane();
    const float value = silu(dots[warp_lane()]) * dots[kChunkWeights + warp_lane()];
    if (is_shared) return store_q8(args.shared.hidden, 0, first / kChunkWeights, value);
    if (args.hidden.data != nullptr && column < args.ffn_dim) {
        args.hidden.data[slot * args.hidden.stride + column] = value;
    }
    if (args.rounded.quants != nullptr) store_q8(args.rounded, slot, first / kChunkWeights, value);
}

/// One row of gate and up per warp, one pair. Reads the weights once per pair; bound by decoding.
__global__ void __launch_bounds__(kThreads) experts_up_float_kernel(ExpertsUpArgs args) {
    wait_for_predecessor();
    const int pair = static_cast<int>(blockIdx.y);
    const int row = static_cast<int>(blockIdx.x) * kWarps + warp_of_block();
    const int expert = expert_of(args.experts, pair, args.experts_per_token);
    if (expert < 0 || row >= args.ffn_dim) return;
    note_use(args.gate, expert);
    const ExpertRows gates = rows_of(args.gate, expert, args.ffn_dim);
    const ExpertRows ups = rows_of(args.up, expert, args.ffn_dim);
    const float* x[1] = {args.x_float.data + pair / args.experts_per_token * args.x_float.stride};
    float gate[1] = {0.0F};
    float up[1] = {0.0F};
    with_format(args.gate.format, [&](auto tag) {
        add_float_dots<decltype(tag)::value, 1>(
            gates.matrix, gates.begin + row, x, warp_lane(), kWarpLanes, gate);
    });
    with_format(args.up.format, [&](auto tag) {
        add_float_dots<decltype(tag)::value, 1>(
            ups.matrix, ups.begin + row, x, warp_lane(), kWarpLanes, up);
    });
    const float value = silu(lane_sum(gate[0])) * lane_sum(up[0]);
    if (warp_lane() == 0) args.hidden.data[pair * args.hidden.stride + row] = value;
}

__device__ __forceinline__ float residual_of(const ExpertsDownArgs& args,
                                             std::int64_t token,
                                             int row) {
    return args.residual.data == nullptr ? 0.0F
                                         : args.residual.data[token * args.residual.stride + row];
}

/// One token: a block per 4 output rows, a warp per slot, so that all slots' rows are under way at
/// once; then a thread per row sums the slots in order. Reads the chosen experts' rows once; bound
/// by memory.
///   shared   for each slot its weight and 4 dot products
__global__ void __launch_bounds__(kThreads, 4) experts_down_one_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    const int routed = args.experts_per_token;
    const int slots = routed + (args.shared.ffn_dim > 0 ? 1 : 0);
    auto* dots = static_cast<float*>(block_memory());
    float* weights = dots + slots * kRowsDown;
    const int first = static_cast<int>(blockIdx.x) * kRowsDown;
    const int row = first + static_cast<int>(threadIdx.x);
    const bool is_sum = threadIdx.x < kRowsDown && row < args.rows;
    float total = is_sum ? residual_of(args, 0, row) : 0.0F;
#pragma unroll 1
    for (int slot = warp_of_block(); slot < slots; slot += kWarps) {
        const bool is_shared = slot == routed;
        const int expert = is_shared ? 0 : args.experts.data[slot];
        float* mine = dots + slot * kRowsDown;
        if (warp_lane() == 0) {
            weights[slot] = is_shared ? 1.0F : expert < 0 ? 0.0F : args.weights.data[slot];
        }
        if (expert < 0) {  // adds nothing
            if (warp_lane() < kRowsDown) mine[warp_lane()] = 0.0F;
            continue;
        }
        const ExpertRows all = rows_of(is_shared ? args.shared.down : args.down, expert, args.rows);
        const Matrix down = rows_from(all.matrix, all.begin + first);
        prefetch_rows(down, smaller(kRowsDown, args.rows - first));
        const Q8Rows& x = is_shared ? args.shared.hidden : args.hidden;
        const std::int64_t x_row = is_shared ? 0 : slot;
        ExpertDots{down,
                   args.rows - 1 - first,
                   x.quants + x_row * x.columns,
                   x.scales + x_row * (x.columns / kChunkWeights),
                   mine}
            .store(kRowsDown);
    }
    __syncthreads();
    if (!is_sum) return;
#pragma unroll 1
    for (int slot = 0; slot < slots; ++slot) {
        total = __fmaf_rn(weights[slot], dots[slot * kRowsDown + threadIdx.x], total);
    }
    args.out.data[row] = total;
}

/// Reads and writes each product once; bound by memory.
__global__ void sum_pairs_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= args.rows) return;
    float total = residual_of(args, token, row);
    for (int slot = 0; slot < args.experts_per_token; ++slot) {
        if (args.experts.data[token * args.experts.stride + slot] < 0) continue;
        const std::int64_t pair = token * args.experts_per_token + slot;
        total = __fmaf_rn(args.weights.data[token * args.weights.stride + slot],
                          args.products.data[pair * args.products.stride + row],
                          total);
    }
    args.out.data[token * args.out.stride + row] = total;
}

/// A warp per output row and token. Reads the chosen experts' rows once per token; bound by
/// decoding.
__global__ void __launch_bounds__(kThreads) experts_down_float_kernel(ExpertsDownArgs args) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const int row = static_cast<int>(blockIdx.x) * kWarps + warp_of_block();
    if (row >= args.rows) return;
    float total = residual_of(args, token, row);
    for (int slot = 0; slot < args.experts_per_token; ++slot) {
        const int expert = args.experts.data[token * args.experts.stride + slot];
        if (expert < 0) continue;
        const std::int64_t pair = token * args.experts_per_token + slot;
        const float* x[1] = {args.hidden_float.data + pair * args.hidden_float.stride};
        float sum[1] = {0.0F};
        const ExpertRows down = rows_of(args.down, expert, args.rows);
        with_format(args.down.format, [&](auto tag) {
            add_float_dots<decltype(tag)::value, 1>(
                down.matrix, down.begin + row, x, warp_lane(), kWarpLanes, sum);
        });
        total = __fmaf_rn(
            args.weights.data[token * args.weights.stride + slot], lane_sum(sum[0]), total);
    }
    if (warp_lane() == 0) args.out.data[token * args.out.stride + row] = total;
}

LaunchShape warp_shape(int rows, int columns) {
    return {.grid = dim3(blocks_for(rows, kWarps), static_cast<unsigned>(columns)),
            .block = dim3(kThreads)};
}

}  // namespace

Result<void> experts_up_one(const ExpertsUpArgs& args, Queue queue) {
    const bool has_shared = args.shared.ffn_dim > 0;
    const int widest = args.shared.ffn_dim > args.ffn_dim ? args.shared.ffn_dim : args.ffn_dim;
    return launch(
        "experts_up_one",
        experts_up_one_kernel,
        {.grid = dim3(blocks_for(widest, kChunkWeights),
                      static_cast<unsigned>(args.experts_per_token + (has_shared ? 1 : 0))),
         .block = dim3(kThreads),
         .shared_bytes = 2 * kChunkWeights * sizeof(float) + norm_q8_bytes(args.norm)},
        queue,
        args);
}

Result<void> experts_up_float(const ExpertsUpArgs& args, int tokens, Queue queue) {
    return launch("experts_up_float",
                  experts_up_float_kernel,
                  warp_shape(args.ffn_dim, tokens * args.experts_per_token),
                  queue,
                  args);
}

Result<void> experts_down_one(const ExpertsDownArgs& args, Queue queue) {
    const int slots = args.experts_per_token + (args.shared.ffn_dim > 0 ? 1 : 0);
    return launch(
        "experts_down_one",
        experts_down_one_kernel,
        {.grid = dim3(blocks_for(args.rows, kRowsDown)),
         .block = dim3(kThreads),
         .shared_bytes = static_cast<std::size_t>(slots) * (kRowsDown + 1) * sizeof(float)},
        queue,
        args);
}

Result<void> sum_pairs(const ExpertsDownArgs& args, int tokens, Queue queue) {
    constexpr int kThreads = 256;
    return launch("sum_pairs",
                  sum_pairs_kernel,
                  {.grid = dim3(blocks_for(args.rows, kThreads), static_cast<unsigned>(tokens)),
                   .block = dim3(kThreads)},
                  queue,
                  args);
}

Result<void> experts_down_float(const ExpertsDownArgs& args, int tokens, Queue queue) {
    return launch("experts_down_float",
                  experts_down_float_kernel,
                  warp_shape(args.rows, tokens),
                  queue,
                  args);
}

}  // namespace hearth::cuda

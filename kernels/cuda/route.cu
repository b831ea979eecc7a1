#include <cmath>

#include "core/compute/plan.h"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route.h"
#include "kernels/cuda/row.cuh"

namespace hearth::cuda {
namespace {

constexpr int kGroupThreads = 256;

/// The best of some experts as a lane or a warp knows it; index -1: none yet.
struct Best {
    float score = -INFINITY;
    int index = -1;
};

/// Larger scores first, then lower indices. What is no number counts as the least.
__device__ __forceinline__ bool is_better(const Best& a, const Best& b) {
    if (a.index < 0 || b.index < 0) return a.index >= 0;
    return a.score > b.score || (a.score == b.score && a.index < b.index);
}

/// The best of [first, first + count) that is not taken, over the warp.
__device__ __forceinline__ Best warp_best(const float* scores,
                                          const int* taken,
                                          int first,
                                          int count) {
    Best best;
    for (int i = first + warp_lane(); i < first + count; i += kWarpLanes) {
        if (taken[i] != 0) continue;
        const Best candidate{scores[i] == scores[i] ? scores[i] : -INFINITY, i};
        if (is_better(candidate, best)) best = candidate;
    }
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        const Best other{__shfl_xor_sync(kAllLanes, best.score, step),
                         __shfl_xor_sync(kAllLanes, best.index, step)};
        if (is_better(other, best)) best = other;
    }
    return best;
}

/// Logits become softmax or sigmoid scores, in place.
__device__ __forceinline__ void gate(const RouteArgs& args, float* scores) {
    const int count = args.expert_count;
    if (!args.is_softmax) {
        for (int i = warp_lane(); i < count; i += kWarpLanes) {
            scores[i] = 1.0F / (1.0F + expf(-scores[i]));
        }
        return;
    }
    float maximum = -INFINITY;
    for (int i = warp_lane(); i < count; i += kWarpLanes) {
        maximum = scores[i] > maximum ? scores[i] : maximum;
    }
    maximum = lane_max(maximum);
    float sum = 0.0F;
    for (int i = warp_lane(); i < count; i += kWarpLanes) {
        scores[i] = expf(scores[i] - maximum);
        sum += scores[i];
    }
    sum = lane_sum(sum);
    for (int i = warp_lane(); i < count; i += kWarpLanes) {
        scores[i] /= sum;
    }
}

/// Marks the experts of all groups but the best ones as taken.
__device__ __forceinline__ void drop_groups(const RouteArgs& args,
                                            const float* biased,
                                            int* taken,
                                            float* group_scores) {
    const int size = args.expert_count / args.group_count;
    for (int group = 0; group < args.group_count; ++group) {
        const Best first = warp_best(biased, taken, group * size, size);
        float score = first.score;
        if (size > 1) {
            __syncwarp();
            if (warp_lane() == 0) taken[first.index] = 1;
            __syncwarp();
            score += warp_best(biased, taken, group * size, size).score;
            __syncwarp();
            if (warp_lane() == 0) taken[first.index] = 0;
        }
        if (warp_lane() == 0) group_scores[group] = score;
    }
    __syncwarp();
    for (int round = 0; round < args.group_count - args.groups_used; ++round) {
        // The worst of the remaining groups goes; of equals the last.
        int worst = -1;
        for (int group = 0; group < args.group_count; ++group) {
            if (taken[group * size] != 0) continue;
            if (worst < 0 || !(group_scores[group] > group_scores[worst])) worst = group;
        }
        __syncwarp();
        for (int i = warp_lane(); i < size; i += kWarpLanes) {
            taken[worst * size + i] = 1;
        }
        __syncwarp();
    }
}

/// A warp chooses for one token.   shared   3 * expert_count + group_count words
__device__ __forceinline__ void route_token(const RouteArgs& args,
                                            std::int64_t token,
                                            float* shared) {
    const int count = args.expert_count;
    float* scores = shared;
    float* biased = scores + count;
    int* taken = reinterpret_cast<int*>(biased + count);
    auto* group_scores = reinterpret_cast<float*>(taken + count);
    std::int32_t* experts = args.experts.data + token * args.experts.stride;
    float* weights = args.weights.data + token * args.weights.stride;
    for (int i = warp_lane(); i < count; i += kWarpLanes) {
        // From L2: other blocks may have written them just now.
        scores[i] = __ldcg(args.logits.data + token * args.logits.stride + i);
    }
    gate(args, scores);  // each lane its own places
    for (int i = warp_lane(); i < count; i += kWarpLanes) {
        biased[i] = scores[i] + (args.bias != nullptr ? args.bias[i] : 0.0F);
        taken[i] = 0;
    }
    __syncwarp();
    if (args.groups_used < args.group_count) drop_groups(args, biased, taken, group_scores);
    float sum = 0.0F;
    for (int slot = 0; slot < args.experts_per_token; ++slot) {
        const Best best = warp_best(biased, taken, 0, count);
        __syncwarp();
        if (warp_lane() == 0) {
            taken[best.index] = 1;
            experts[slot] = best.index;
        }
        sum += scores[best.index];
        __syncwarp();
    }
    const float floor = compute::RouteTopK::kWeightSumMin;
    const float divisor = !args.normalises ? 1.0F : sum > floor ? sum : floor;
    for (int slot = warp_lane(); slot < args.experts_per_token; slot += kWarpLanes) {
        weights[slot] = scores[experts[slot]] / divisor * args.scale;
    }
}

/// A warp leaves a row that fills the bucket without experts.
__device__ __forceinline__ void leave_out(const RouteArgs& args, std::int64_t token) {
    for (int i = warp_lane(); i < args.experts_per_token; i += kWarpLanes) {
        args.experts.data[token * args.experts.stride + i] = -1;
        args.weights.data[token * args.weights.stride + i] = 0.0F;
    }
}

/// A warp per token. Reads expert_count floats, writes the choice; bound by latency.
__global__ void __launch_bounds__(kWarpLanes) route_kernel(RouteArgs args, StepTables step) {
    wait_for_predecessor();
    const auto token = static_cast<std::int64_t>(blockIdx.x);
    if (step.positions[token] < 0) return leave_out(args, token);
    route_token(args, token, static_cast<float*>(block_memory()));
}

constexpr int kRouterWarps = 8;
static_assert(kRouterWarps == kNormWarps);

/// A warp per expert, then the token's last block chooses. Reads the router's weights once per
/// token; bound by latency.
__global__ void __launch_bounds__(kRouterWarps* kWarpLanes)
    router_kernel(RouterArgs args, StepTables step) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    int* is_last = reinterpret_cast<int*>(shared);
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const RouteArgs& route = args.route;
    if (step.positions[token] < 0) {
        if (blockIdx.x == 0 && warp_of_block() == 0) leave_out(route, token);
        return;
    }
    const int expert = static_cast<int>(blockIdx.x) * kRouterWarps + warp_of_block();
    const float* x[1] = {args.norm.x == nullptr ? args.x.data + token * args.x.stride
                                                : norm_to_floats(args.norm, shared)};
    if (expert < route.expert_count) {
        float sum[1] = {0.0F};
        with_format(args.weight.format, [&](auto tag) {
            add_float_dots<decltype(tag)::value, 1>(
                args.weight, expert, x, warp_lane(), kWarpLanes, sum);
        });
        const float dot = lane_sum(sum[0]);
        if (warp_lane() == 0) route.logits.data[token * route.logits.stride + expert] = dot;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        const int done = atomicAdd(args.done + token, 1);
        *is_last = done == static_cast<int>(gridDim.x) - 1 ? 1 : 0;
    }
    __syncthreads();
    const bool chooses = *is_last != 0 && warp_of_block() == 0;
    // The flag's place is used again.
    __syncthreads();
    if (!chooses) return;
    __threadfence();
    if (warp_lane() == 0) args.done[token] = 0;
    route_token(route, token, shared);
}

/// One block: counts, begins and places. Reads the choices twice; bound by latency.
__global__ void __launch_bounds__(kGroupThreads)
    group_pairs_kernel(GroupPairsArgs args, int tokens) {
    wait_for_predecessor();
    auto* counts = static_cast<int*>(block_memory());
    int* begins = counts + args.expert_count;
    const int thread = static_cast<int>(threadIdx.x);
    const int pairs = tokens * args.experts_per_token;
    const auto expert_of = [&](int pair) {
        const int slot = pair % args.experts_per_token;
        return args.experts.data[pair / args.experts_per_token * args.experts.stride + slot];
    };
    for (int e = thread; e < args.expert_count; e += kGroupThreads) {
        counts[e] = 0;
    }
    __syncthreads();
    for (int pair = thread; pair < pairs; pair += kGroupThreads) {
        const int expert = expert_of(pair);
        if (expert >= 0) atomicAdd(counts + expert, 1);
    }
    __syncthreads();
    if (thread == 0) {
        int first = 0;
        int tiles = 0;
        for (int e = 0; e < args.expert_count; ++e) {
            begins[e] = first;
            for (int done = 0; done < counts[e]; done += args.tile_pairs) {
                args.out.tiles[tiles++] = {
                    e, first + done, smaller(args.tile_pairs, counts[e] - done)};
            }
            first += counts[e];
        }
        *args.out.tile_count = tiles;
    }
    __syncthreads();
    for (int pair = thread; pair < pairs; pair += kGroupThreads) {
        const int expert = expert_of(pair);
        // In any order: a pair's result does not depend on its neighbours.
        if (expert >= 0) args.out.pairs[atomicAdd(begins + expert, 1)] = pair;
    }
}

std::size_t route_shared_bytes(const RouteArgs& args) {
    return sizeof(float) * static_cast<std::size_t>(3 * args.expert_count + args.group_count);
}

}  // namespace

Result<void> route_top_k(const RouteArgs& args, const StepTables& step, int tokens, Queue queue) {
    return launch("route_top_k",
                  route_kernel,
                  {dim3(static_cast<unsigned>(tokens)), dim3(kWarpLanes), route_shared_bytes(args)},
                  queue,
                  args,
                  step);
}

Result<void> route_from_weights(const RouterArgs& args,
                                const StepTables& step,
                                int tokens,
                                Queue queue) {
    // The normed row makes room for the choice.
    const std::size_t normed = norm_floats_bytes(args.norm);
    const std::size_t route = route_shared_bytes(args.route);
    return launch(
        "router",
        router_kernel,
        {dim3(blocks_for(args.route.expert_count, kRouterWarps), static_cast<unsigned>(tokens)),
         dim3(kRouterWarps * kWarpLanes),
         normed > route ? normed : route},
        queue,
        args,
        step);
}

Result<void> group_pairs(const GroupPairsArgs& args, int tokens, Queue queue) {
    const std::size_t words = 2 * static_cast<std::size_t>(args.expert_count);
    return launch("group_pairs",
                  group_pairs_kernel,
                  {dim3(1), dim3(kGroupThreads), words * sizeof(int)},
                  queue,
                  args,
                  tokens);
}

}  // namespace hearth::cuda

#include <cmath>

#include "core/compute/plan.h"
#include "kernels/cuda/dot.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route.h"
#include "kernels/cuda/row.cuh"

namespace hearth::cuda {
namespace {

constexpr int kGroupThreads = 256;

/// A score as a number whose order is that of the scores: what is no number counts as the least,
/// both zeros are one.
__device__ __forceinline__ unsigned key_of(float score) {
    const unsigned bits = __float_as_uint((score == score ? score : -INFINITY) + 0.0F);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ __forceinline__ float score_of(unsigned key) {
    return __uint_as_float((key >> 31) != 0 ? key & 0x7FFFFFFFU : ~key);
}
/// Less than every key_of: of an expert that is taken or not there.
constexpr unsigned kNoKey = 0;

/// Experts lane, lane + 32, ... of a lane.
template <int kPerLane>
struct LaneExperts {
    float scores[kPerLane];
    unsigned keys[kPerLane];  ///< of the scores with their bias

    static __device__ __forceinline__ int index(int j) { return warp_lane() + j * kWarpLanes; }
};

struct Best {
    unsigned key;
    int index;
};

/// The best of experts [first, first + count) over the warp, of equals the first.
template <int kPerLane>
__device__ __forceinline__ Best warp_best(const LaneExperts<kPerLane>& experts,
                                          int first,
                                          int count) {
    Best best{kNoKey, first};
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
        const int i = experts.index(j);
        const bool is_inside = i >= first && i < first + count;
        if (is_inside && experts.keys[j] > best.key) best = {experts.keys[j], i};
    }
    const unsigned key = lane_max(best.key);
    const auto rank = static_cast<unsigned>(kExpertsMax - best.index);
    return {key, kExpertsMax - static_cast<int>(lane_max(best.key == key ? rank : 0U))};
}

/// Logits become softmax or sigmoid scores. Those that are not there are -inf and add nothing.
template <int kPerLane>
__device__ __forceinline__ void gate(bool is_softmax, float (&scores)[kPerLane]) {
    if (!is_softmax) {
#pragma unroll
        for (float& score : scores) {
            score = 1.0F / (1.0F + expf(-score));
        }
        return;
    }
    float maximum = -INFINITY;
#pragma unroll
    for (const float score : scores) {
        maximum = score > maximum ? score : maximum;
    }
    maximum = lane_max(maximum);
    float sum = 0.0F;
#pragma unroll
    for (float& score : scores) {
        score = expf(score - maximum);
        sum += score;
    }
    sum = lane_sum(sum);
#pragma unroll
    for (float& score : scores) {
        score /= sum;
    }
}

template <int kPerLane>
__device__ __forceinline__ LaneExperts<kPerLane> load_experts(const RouteArgs& args,
                                                              std::int64_t token) {
    LaneExperts<kPerLane> experts;
    float bias[kPerLane];
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
        const int i = experts.index(j);
        const bool is_there = i < args.expert_count;
        // From L2: other blocks may have written them just now.
        experts.scores[j] =
            is_there ? __ldcg(args.logits.data + token * args.logits.stride + i) : -INFINITY;
        bias[j] = is_there && args.bias != nullptr ? args.bias[i] : 0.0F;
    }
    gate(args.is_softmax, experts.scores);
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
        const bool is_there = experts.index(j) < args.expert_count;
        experts.keys[j] = is_there ? key_of(experts.scores[j] + bias[j]) : kNoKey;
    }
    return experts;
}

/// Takes the experts of all groups but the best ones away: a group counts as its two best experts.
///   keys   2 * group_count words, shared
template <int kPerLane>
__device__ __forceinline__ void drop_groups(const RouteArgs& args,
                                            LaneExperts<kPerLane>& experts,
                                            unsigned* keys) {
    const int size = args.expert_count / args.group_count;
#pragma unroll 1
    for (int group = 0; group < args.group_count; ++group) {
        const Best first = warp_best(experts, group * size, size);
        float score = score_of(first.key);
        if (size > 1) {
            LaneExperts<kPerLane> rest = experts;
#pragma unroll
            for (int j = 0; j < kPerLane; ++j) {
                if (rest.index(j) == first.index) rest.keys[j] = kNoKey;
            }
            score += score_of(warp_best(rest, group * size, size).key);
        }
        if (warp_lane() == 0) keys[group] = key_of(score);
    }
    __syncwarp();
    unsigned* is_used = keys + args.group_count;
#pragma unroll 1
    for (int group = warp_lane(); group < args.group_count; group += kWarpLanes) {
        int better = 0;
        for (int other = 0; other < args.group_count; ++other) {
            const bool is_first = keys[other] == keys[group] && other < group;
            better += keys[other] > keys[group] || is_first ? 1 : 0;
        }
        is_used[group] = better < args.groups_used ? 1U : 0U;
    }
    __syncwarp();
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
        const bool is_there = experts.index(j) < args.expert_count;
        if (is_there && is_used[experts.index(j) / size] == 0) experts.keys[j] = kNoKey;
    }
}

// Loops that a kernel runs through once are not unrolled: fetching the code would take longer.

/// A warp chooses for one token among at most 32 * kPerLane experts, which stay in its registers.
///   shared   route_shared_bytes
template <int kPerLane>
__device__ __forceinline__ void route_among(const RouteArgs& args,
                                            std::int64_t token,
                                            float* shared) {
    auto experts = load_experts<kPerLane>(args, token);
    float* chosen = shared;
    auto* group_keys = reinterpret_cast<unsigned*>(chosen + args.experts_per_token);
    if (args.groups_used < args.group_count) drop_groups(args, experts, group_keys);
    float sum = 0.0F;
#pragma unroll 1
    for (int slot = 0; slot < args.experts_per_token; ++slot) {
        const int best = warp_best(experts, 0, args.expert_count).index;
        float mine = 0.0F;
#pragma unroll
        for (int j = 0; j < kPerLane; ++j) {
            if (experts.index(j) != best) continue;
            mine = experts.scores[j];
            experts.keys[j] = kNoKey;
        }
        const float score = __shfl_sync(kAllLanes, mine, best % kWarpLanes);
        sum += score;
        if (warp_lane() != 0) continue;
        chosen[slot] = score;
        args.experts.data[token * args.experts.stride + slot] = best;
    }
    __syncwarp();
    const float floor = compute::RouteTopK::kWeightSumMin;
    const float divisor = !args.normalises ? 1.0F : sum > floor ? sum : floor;
#pragma unroll 1
    for (int slot = warp_lane(); slot < args.experts_per_token; slot += kWarpLanes) {
        args.weights.data[token * args.weights.stride + slot] = chosen[slot] / divisor * args.scale;
    }
}

__device__ __forceinline__ void route_token(const RouteArgs& args,
                                            std::int64_t token,
                                            float* shared) {
    constexpr int kFew = 2;
    constexpr int kMany = 8;
    constexpr int kAll = kExpertsMax / kWarpLanes;
    if (args.expert_count <= kFew * kWarpLanes) return route_among<kFew>(args, token, shared);
    if (args.expert_count <= kMany * kWarpLanes) return route_among<kMany>(args, token, shared);
    route_among<kAll>(args, token, shared);
}

/// A warp leaves a row that fills the bucket without experts.
__device__ __forceinline__ void leave_out(const RouteArgs& args, std::int64_t token) {
#pragma unroll 1
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

constexpr int kRouterExperts = 2;  ///< of a block: few, so that many blocks share the work

/// Asks for the rows of the block's experts, which take longer to come than the norm takes.
__device__ __forceinline__ void prefetch_router(const Matrix& m, int first, int experts) {
    if (is_quantised(m.format) || threadIdx.x != 0) return;
    const int row = m.columns * (m.format == Format::f32 ? 4 : 2);
    const std::int64_t begin = std::int64_t{first} * row / 16 * 16;
    const std::int64_t end = std::int64_t{smaller(first + kRouterExperts, experts)} * row / 16 * 16;
    if (end > begin) prefetch(m.quants + begin, static_cast<unsigned>(end - begin));
}

/// A warp per expert and, where the block norms, six that help with it; then the token's last block
/// chooses. Reads the router's weights once per token; bound by latency.
__global__ void __launch_bounds__(kNormThreads) router_kernel(RouterArgs args, StepTables step) {
    wait_for_predecessor();
    auto* shared = static_cast<float*>(block_memory());
    const auto token = static_cast<std::int64_t>(blockIdx.y);
    const RouteArgs& route = args.route;
    const int first = static_cast<int>(blockIdx.x) * kRouterExperts;
    prefetch_router(args.weight, first, route.expert_count);
    if (step.positions[token] < 0) {
        if (blockIdx.x == 0 && warp_of_block() == 0) leave_out(route, token);
        return;
    }
    const int expert = first + warp_of_block();
    const float* x[1] = {args.norm.x == nullptr ? args.x.data + token * args.x.stride
                                                : norm_to_floats(args.norm, shared)};
    if (warp_of_block() < kRouterExperts && expert < route.expert_count) {
        float sum[1] = {0.0F};
        with_format(args.weight.format, [&](auto tag) {
            add_float_dots<decltype(tag)::value, 1>(
                args.weight, expert, x, warp_lane(), kWarpLanes, sum);
        });
        const float dot = lane_sum(sum[0]);
        if (warp_lane() == 0) route.logits.data[token * route.logits.stride + expert] = dot;
    }
    __syncthreads();
    if (warp_of_block() != 0) return;
    int done = 0;
    if (warp_lane() == 0) {
        // In front of the count lies what the whole block has written, behind it what others have.
        __threadfence();
        done = atomicAdd(args.done + token, 1);
        __threadfence();
    }
    __syncwarp();
    if (__shfl_sync(kAllLanes, done, 0) != static_cast<int>(gridDim.x) - 1) return;
    if (warp_lane() == 0) args.done[token] = 0;
    route_token(route, token, shared);
}

/// One block: counts, begins and places; a thread per expert sums what is in front of its own.
/// Reads the choices twice; bound by latency.
__global__ void __launch_bounds__(kGroupThreads)
    group_pairs_kernel(GroupPairsArgs args, int tokens) {
    wait_for_predecessor();
    auto* counts = static_cast<int*>(block_memory());
    int* begins = counts + args.expert_count;
    int* tile_counts = begins + args.expert_count;
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
    for (int e = thread; e < args.expert_count; e += kGroupThreads) {
        tile_counts[e] = (counts[e] + args.tile_pairs - 1) / args.tile_pairs;
    }
    __syncthreads();
    for (int e = thread; e < args.expert_count; e += kGroupThreads) {
        int first = 0;
        int tile = 0;
        for (int before = 0; before < e; ++before) {
            first += counts[before];
            tile += tile_counts[before];
        }
        begins[e] = first;
        for (int done = 0; done < counts[e]; done += args.tile_pairs) {
            args.out.tiles[tile++] = {e, first + done, smaller(args.tile_pairs, counts[e] - done)};
        }
        if (e == args.expert_count - 1) *args.out.tile_count = tile;
    }
    __syncthreads();
    for (int pair = thread; pair < pairs; pair += kGroupThreads) {
        const int expert = expert_of(pair);
        // In any order: a pair's result does not depend on its neighbours.
        if (expert >= 0) args.out.pairs[atomicAdd(begins + expert, 1)] = pair;
    }
}

std::size_t route_shared_bytes(const RouteArgs& args) {
    return sizeof(float) * static_cast<std::size_t>(args.experts_per_token + 2 * args.group_count);
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
    const int threads = args.norm.x == nullptr ? kRouterExperts * kWarpLanes : kNormThreads;
    return launch(
        "router",
        router_kernel,
        {dim3(blocks_for(args.route.expert_count, kRouterExperts), static_cast<unsigned>(tokens)),
         dim3(static_cast<unsigned>(threads)),
         normed > route ? normed : route},
        queue,
        args,
        step);
}

Result<void> group_pairs(const GroupPairsArgs& args, int tokens, Queue queue) {
    const std::size_t words = 3 * static_cast<std::size_t>(args.expert_count);
    return launch("group_pairs",
                  group_pairs_kernel,
                  {dim3(1), dim3(kGroupThreads), words * sizeof(int)},
                  queue,
                  args,
                  tokens);
}

}  // namespace hearth::cuda

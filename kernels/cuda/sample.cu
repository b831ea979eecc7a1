#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sample.h"

namespace hearth::cuda {
namespace {

using Mass = unsigned long long;  ///< weights as whole numbers: their sums have no order

constexpr int kSliceThreads = 256;
constexpr int kPerThread = kSliceTokens / kSliceThreads;
constexpr int kPickThreads = 512;
constexpr int kBins = 256;
constexpr float kMassOfOne = 1099511627776.0F;  ///< 2^40: a sum over 2^22 tokens fits
constexpr float kExponentMin = -87.0F;          ///< as the host's: below, a weight is nothing

__device__ __forceinline__ float weight_of(float logit, float best) {
    const float exponent = logit - best;
    return expf(exponent > kExponentMin ? exponent : kExponentMin);
}

__device__ __forceinline__ bool is_left_out(const PickArgs& args, std::int64_t row) {
    return args.count != nullptr && row >= *args.count;
}

/// A thread per token and row. Bound by memory, where a row has a mask.
__global__ void __launch_bounds__(kSliceThreads) forbid_kernel(PickArgs args) {
    wait_for_predecessor();
    const auto row = static_cast<std::int64_t>(blockIdx.y);
    if (is_left_out(args, row)) return;
    const std::uint32_t* allowed = args.orders[row].allowed;
    const auto token = static_cast<int>(blockIdx.x * kSliceThreads + threadIdx.x);
    if (allowed == nullptr || token >= args.vocab_size) return;
    if (!compute::is_allowed(allowed, token)) {
        args.logits[row * args.vocab_size + token] = compute::kForbiddenLogit;
    }
}

/// The better of two (logit, token): the larger logit, ties to the lower token.
__device__ __forceinline__ void take_better(float& best, int& token, float other, int other_token) {
    if (other > best || (other == best && other_token < token)) {
        best = other;
        token = other_token;
    }
}

/// The best of a warp's lanes, in all of them.
__device__ __forceinline__ void take_best_of_warp(float& best, int& token) {
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(kAllLanes, best, step);
        const int other_token = __shfl_xor_sync(kAllLanes, token, step);
        take_better(best, token, other, other_token);
    }
}

/// The best of a block's threads, in all of them.
///   bests, tokens   (warps) shared
__device__ __forceinline__ void take_best_of_block(float& best,
                                                   int& token,
                                                   float* bests,
                                                   int* tokens) {
    take_best_of_warp(best, token);
    __syncthreads();  // somebody may still read what is there
    if (warp_lane() == 0) {
        bests[warp_of_block()] = best;
        tokens[warp_of_block()] = token;
    }
    __syncthreads();
    for (int warp = 0; warp < kSliceThreads / kWarpLanes; ++warp) {
        take_better(best, token, bests[warp], tokens[warp]);
    }
}

/// A block per (slice of the vocabulary, row). Reads its logits once; bound by memory.
__global__ void __launch_bounds__(kSliceThreads) pick_slices_kernel(PickArgs args) {
    wait_for_predecessor();
    auto* sums = static_cast<float*>(block_memory());
    auto* bests = sums + kSliceThreads / kWarpLanes;
    auto* tokens = reinterpret_cast<int*>(bests + kSliceThreads / kWarpLanes);
    const auto row = static_cast<std::int64_t>(blockIdx.y);
    if (is_left_out(args, row)) return;
    const int begin = static_cast<int>(blockIdx.x) * kSliceTokens;
    const int thread = static_cast<int>(threadIdx.x);
    const float* logits = args.logits + row * args.vocab_size;
    float values[kPerThread];
    float best = -INFINITY;
    int token = args.vocab_size;
    float zero = 0.0F;  // a number that is not finite, times 0, is not 0
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        const int at = begin + i * kSliceThreads + thread;
        values[i] = at < args.vocab_size ? logits[at] : -INFINITY;
        if (at >= args.vocab_size) continue;
        zero += values[i] * 0.0F;
        take_better(best, token, values[i], at);
    }
    take_best_of_block(best, token, bests, tokens);
    float sum = 0.0F;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        const int at = begin + i * kSliceThreads + thread;
        if (at < args.vocab_size) sum += weight_of(values[i], best);
    }
    sum = block_sum(sum, sums);
    zero = block_sum(zero, sums);
    PickSlice slice{best, sum, token, zero == 0.0F ? 1 : 0};
    if (args.orders[row].wants_rivals) {
#pragma unroll
        for (int next = 0; next < compute::kRivalsMax; ++next) {
            const int taken = token;
            best = -INFINITY;
            token = args.vocab_size;
#pragma unroll
            for (int i = 0; i < kPerThread; ++i) {
                const int at = begin + i * kSliceThreads + thread;
                if (at == taken) values[i] = -INFINITY;
                take_better(best, token, values[i], at);
            }
            take_best_of_block(best, token, bests, tokens);
            slice.next_logits[next] = best;
            slice.next_tokens[next] = token;
        }
    }
    if (thread == 0) args.slices[row * gridDim.x + blockIdx.x] = slice;
}

/// The slices of a row together.
__device__ __forceinline__ PickSlice merge_slices(const PickArgs& args, std::int64_t row) {
    const int count = slices_of(args.vocab_size);
    const PickSlice* slices = args.slices + row * count;
    PickSlice all = slices[0];
    for (int i = 1; i < count; ++i) {
        take_better(all.best, all.token, slices[i].best, slices[i].token);
        all.is_finite &= slices[i].is_finite;
    }
    all.sum = 0.0F;
    for (int i = 0; i < count; ++i) {
        all.sum = __fmaf_rn(slices[i].sum, weight_of(slices[i].best, all.best), all.sum);
    }
    return all;
}

/// What may be picked: weights above the edge, and of those on it the tokens up to the last.
struct Kept {
    unsigned edge =
        0;  ///< bits of a weight; those of numbers that are not negative sort as they do
    int last = 0x7FFFFFFF;
    float min_p = 0.0F;

    __device__ __forceinline__ bool has(float weight, int token) const {
        const unsigned bits = __float_as_uint(weight);
        return weight >= min_p && (bits > edge || (bits == edge && token <= last));
    }
};

/// What the threads of a block share while they filter a row.
struct Shared {
    Mass bins[kBins];
    Mass parts[kPickThreads];
    Mass found_before;
    unsigned found_bin;
    int found_token;
};

/// One row as one block sees it.
struct Row {
    const float* logits;
    int vocab_size;
    float best;
    int begin, end;  ///< the thread's own tokens, in order

    __device__ __forceinline__ float weight(int token) const {
        return weight_of(logits[token], best);
    }
};

__device__ __forceinline__ Mass mass_of(float weight) {
    return static_cast<Mass>(weight * kMassOfOne);
}

/// The sum of all threads' parts, and in `before` that of the threads before this one.
__device__ __forceinline__ Mass sum_before(Mass part, Shared& shared, Mass& before) {
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();
    shared.parts[thread] = part;
    __syncthreads();
    for (int step = 1; step < kPickThreads; step *= 2) {
        const Mass left = thread >= step ? shared.parts[thread - step] : 0;
        __syncthreads();
        shared.parts[thread] += left;
        __syncthreads();
    }
    before = shared.parts[thread] - part;
    return shared.parts[kPickThreads - 1];
}

/// Narrows `kept` to the smallest set of best tokens whose measures reach `target`, 8 bits of the
/// weight at a time: a histogram of what shares the bits found so far, walked from the top.
///   measure(weight)   what one token adds
template <typename Measure>
__device__ __forceinline__ void keep_best(
    const Row& row, Shared& shared, Mass target, const Measure& measure, Kept& kept) {
    const int thread = static_cast<int>(threadIdx.x);
    unsigned prefix = 0;
    unsigned known = 0;  ///< the bits of `prefix` that are found
    Mass rest = target;
    for (int shift = 24; shift >= 0; shift -= 8) {
        __syncthreads();
        for (int bin = thread; bin < kBins; bin += kPickThreads) {
            shared.bins[bin] = 0;
        }
        __syncthreads();
        for (int token = thread; token < row.vocab_size; token += kPickThreads) {
            const float weight = row.weight(token);
            const unsigned bits = __float_as_uint(weight);
            if ((bits & known) != prefix || !kept.has(weight, token)) continue;
            atomicAdd(&shared.bins[(bits >> shift) & (kBins - 1)], measure(weight));
        }
        __syncthreads();
        if (thread == 0) {
            Mass before = 0;
            unsigned bin = kBins - 1;
            while (bin > 0 && before + shared.bins[bin] < rest) {
                before += shared.bins[bin--];
            }
            shared.found_bin = bin;
            shared.found_before = before;
        }
        __syncthreads();
        rest -= shared.found_before;
        prefix |= shared.found_bin << shift;
        known |= static_cast<unsigned>(kBins - 1) << shift;
    }
    // Of the tokens that weigh the same, the first ones that are still needed.
    const Mass each = measure(__uint_as_float(prefix));
    const Mass needed = each == 0 ? 0 : (rest + each - 1) / each;
    Mass own = 0;
    for (int token = row.begin; token < row.end; ++token) {
        const float weight = row.weight(token);
        own += __float_as_uint(weight) == prefix && kept.has(weight, token) ? 1 : 0;
    }
    Mass before = 0;
    if (thread == 0) shared.found_token = kept.last;
    sum_before(own, shared, before);
    if (before < needed && needed <= before + own) {
        for (int token = row.begin; token < row.end; ++token) {
            const float weight = row.weight(token);
            if (__float_as_uint(weight) != prefix || !kept.has(weight, token)) continue;
            if (++before == needed) shared.found_token = token;
        }
    }
    __syncthreads();
    kept.edge = prefix;
    kept.last = shared.found_token;
}

/// The sum of the kept tokens' weights as they are measured.
__device__ __forceinline__ Mass kept_mass(const Row& row, Shared& shared, const Kept& kept) {
    Mass own = 0;
    for (int token = row.begin; token < row.end; ++token) {
        const float weight = row.weight(token);
        if (kept.has(weight, token)) own += mass_of(weight);
    }
    Mass before = 0;
    return sum_before(own, shared, before);
}

/// Where the random number falls among the kept tokens, reshaped by the temperature.
__device__ __forceinline__ int draw(const Row& row,
                                    Shared& shared,
                                    const Kept& kept,
                                    const compute::PickOrder& order,
                                    int fallback) {
    const auto reshaped = [&](int token) {
        const float exponent = (row.logits[token] - row.best) / order.settings.temperature;
        return mass_of(expf(exponent > kExponentMin ? exponent : kExponentMin));
    };
    Mass own = 0;
    for (int token = row.begin; token < row.end; ++token) {
        if (kept.has(row.weight(token), token)) own += reshaped(token);
    }
    Mass before = 0;
    __syncthreads();  // somebody may still read what the last filter found
    if (threadIdx.x == 0) shared.found_token = fallback;
    const Mass total = sum_before(own, shared, before);
    const auto target = static_cast<Mass>(compute::uniform_at(order.settings.seed, order.position) *
                                          static_cast<double>(total));
    if (before <= target && target < before + own) {
        for (int token = row.begin; token < row.end; ++token) {
            if (!kept.has(row.weight(token), token)) continue;
            const Mass mass = reshaped(token);
            if (target < before + mass) {
                shared.found_token = token;
                break;
            }
            before += mass;
        }
    }
    __syncthreads();
    return shared.found_token;
}

/// Writes the pick of row `number`, with the row's rivals where it wants them: one warp reads the
/// slices once for each. `all` is of the row.
__device__ __forceinline__ void give_pick(const PickArgs& args,
                                          std::int64_t number,
                                          const PickSlice& all,
                                          compute::Pick pick) {
    if (warp_of_block() != 0) return;
    const int count = slices_of(args.vocab_size);
    const PickSlice* slices = args.slices + number * count;
    const bool wants_rivals = args.orders[number].wants_rivals;
    const auto is_named = [&](int token, int rivals) {
        bool is_one = token == pick.token;
        for (int i = 0; i < rivals; ++i) {
            is_one = is_one || token == pick.rivals[static_cast<std::size_t>(i)].token;
        }
        return is_one;
    };
    for (int found = 0; wants_rivals && found < compute::kRivalsMax; ++found) {
        float best = -INFINITY;
        int token = args.vocab_size;
        const auto consider = [&](float logit, int other) {
            if (!is_named(other, found)) take_better(best, token, logit, other);
        };
        for (int slice = warp_lane(); slice < count; slice += kWarpLanes) {
            consider(slices[slice].best, slices[slice].token);
            for (int next = 0; next < compute::kRivalsMax; ++next) {
                consider(slices[slice].next_logits[next], slices[slice].next_tokens[next]);
            }
        }
        take_best_of_warp(best, token);
        const float probability =
            token < args.vocab_size ? weight_of(best, all.best) / all.sum : 0.0F;
        if (probability < compute::Pick::kRivalProbabilityMin) break;
        pick.rivals[static_cast<std::size_t>(found)] = {token, probability};
    }
    if (warp_lane() == 0) args.picks[number] = pick;
}

/// A block per row. Greedy: reads the slices, bound by latency. Else reads the logits once per
/// pass, four passes for each of top-k and top-p; bound by the second-level cache.
__global__ void __launch_bounds__(kPickThreads) pick_kernel(PickArgs args) {
    wait_for_predecessor();
    auto& shared = *static_cast<Shared*>(block_memory());
    const auto number = static_cast<std::int64_t>(blockIdx.x);
    if (is_left_out(args, number)) return;
    const PickSlice all = merge_slices(args, number);
    const compute::PickOrder order = args.orders[number];
    const compute::SamplingSettings& settings = order.settings;
    const int thread = static_cast<int>(threadIdx.x);
    if (all.is_finite == 0) {
        if (thread == 0) args.picks[number] = {compute::Pick::kNotFinite, 0.0F, {}};
        return;
    }
    if (!(settings.temperature > 0.0F)) {
        give_pick(args, number, all, {all.token, 1.0F / all.sum, {}});
        return;
    }
    const int each = (args.vocab_size + kPickThreads - 1) / kPickThreads;
    const Row row{.logits = args.logits + number * args.vocab_size,
                  .vocab_size = args.vocab_size,
                  .best = all.best,
                  .begin = smaller(thread * each, args.vocab_size),
                  .end = smaller((thread + 1) * each, args.vocab_size)};
    Kept kept;
    if (settings.top_k > 0 && settings.top_k < args.vocab_size) {
        const auto one = [](float) -> Mass { return 1; };
        keep_best(row, shared, static_cast<Mass>(settings.top_k), one, kept);
    }
    if (settings.top_p < 1.0F) {
        const Mass sum = kept_mass(row, shared, kept);
        const auto target =
            static_cast<Mass>(static_cast<double>(settings.top_p) * static_cast<double>(sum));
        keep_best(row, shared, target > 0 ? target : 1, mass_of, kept);
    }
    kept.min_p = settings.min_p;
    const int token = draw(row, shared, kept, order, all.token);
    give_pick(args, number, all, {token, row.weight(token) / all.sum, {}});
}

}  // namespace

Result<void> pick(const PickArgs& args, int rows, Queue queue) {
    constexpr int kWarps = kSliceThreads / kWarpLanes;
    if (args.has_masks) {
        HEARTH_CHECK(launch(
            "forbid",
            forbid_kernel,
            {.grid = dim3(blocks_for(args.vocab_size, kSliceThreads), static_cast<unsigned>(rows)),
             .block = dim3(kSliceThreads)},
            queue,
            args));
    }
    HEARTH_CHECK(launch("pick_slices",
                        pick_slices_kernel,
                        {.grid = dim3(static_cast<unsigned>(slices_of(args.vocab_size)),
                                      static_cast<unsigned>(rows)),
                         .block = dim3(kSliceThreads),
                         .shared_bytes = kWarps * (2 * sizeof(float) + sizeof(int))},
                        queue,
                        args));
    return launch("pick",
                  pick_kernel,
                  {.grid = dim3(static_cast<unsigned>(rows)),
                   .block = dim3(kPickThreads),
                   .shared_bytes = sizeof(Shared)},
                  queue,
                  args);
}

}  // namespace hearth::cuda

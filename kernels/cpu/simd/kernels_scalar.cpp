// The portable kernels: the same structure as the vector ones, readable first. Integer sums are
// exact, so that only the order of the float sums differs between instruction sets.
#include <cstring>

#include "kernels/cpu/simd/quantise_scalar.h"
#include "kernels/cpu/simd/unpack.h"
#include "kernels/cpu/simd/vec_scalar.h"
#include "kernels/cpu/simd/vector_attention.h"
#include "kernels/cpu/simd/vector_kernels.h"
#include "kernels/cpu/simd/vector_mix.h"
#include "kernels/cpu/simd/vector_rounded_mix.h"

namespace hearth::cpu {
namespace {

template <typename Block>
Block block_at(const DotCall& call, std::int64_t row, std::int64_t index) {
    Block block;
    std::memcpy(&block, row_of(call, row) + index * std::int64_t{sizeof block}, sizeof block);
    return block;
}

/// Block `index` of a row of activations.
float dot_block(const Unpacked32& weights, const void* activation, std::int64_t index) {
    constexpr std::int64_t kBlocks = kGroupElements / kQ8Elements;
    const Q8Group& group = static_cast<const Q8Group*>(activation)[index / kBlocks];
    const std::int64_t block = index % kBlocks;
    const std::int8_t* quants = group.quants + block * kQ8Elements;
    int sum = 0;
    for (int i = 0; i < kQ8Elements; ++i) {
        sum += weights.quants[i] * quants[i];
    }
    return group.scales[block] * (weights.d * static_cast<float>(sum) +
                                  weights.m * static_cast<float>(group.sums[block]));
}

float dot_block(const Unpacked256& weights, const void* activation, std::int64_t index) {
    const Q8kGroup& group = static_cast<const Q8kGroup*>(activation)[index];
    int sum = 0;
    int min_sum = 0;
    for (int run = 0; run < kQ8kElements / kQ8kSumElements; ++run) {
        int run_sum = 0;
        for (int i = run * kQ8kSumElements; i < (run + 1) * kQ8kSumElements; ++i) {
            run_sum += weights.quants[i] * group.quants[i];
        }
        sum += weights.scales[run] * run_sum;
        min_sum += weights.mins[run] * group.sums[run];
    }
    return group.scale *
           (weights.d * static_cast<float>(sum) - weights.dmin * static_cast<float>(min_sum));
}

/// Each block is unpacked once for all tokens of a tile.
template <typename Block, typename Unpacked>
struct QuantisedTile {
    static constexpr std::int64_t kElements = sizeof(Unpacked::quants);

    template <int kCount>
    static void run(const DotCall& call, std::int64_t first) {
        for (std::int64_t r = 0; r < call.rows; ++r) {
            float results[kCount] = {};
            for (std::int64_t b = 0; b < call.dim / kElements; ++b) {
                Unpacked weights;
                unpack(block_at<Block>(call, r, b), weights);
                for (int t = 0; t < kCount; ++t) {
                    results[t] += dot_block(weights, call.activations[first + t], b);
                }
            }
            for (int t = 0; t < kCount; ++t) {
                call.out[(first + t) * call.out_stride + r] = results[t];
            }
        }
    }
};

template <typename Block>
void dot_32(const DotCall& call) {
    for_token_tiles<QuantisedTile<Block, Unpacked32>>(call);
}

template <typename Block>
void dot_256(const DotCall& call) {
    for_token_tiles<QuantisedTile<Block, Unpacked256>>(call);
}

}  // namespace

extern const Kernels kScalarKernels = {
    "scalar",
    64,
    {dot_float<F32Row>,
     dot_float<F16Row>,
     dot_float<Bf16Row>,
     dot_32<compute::BlockQ80>,
     dot_32<compute::BlockQ40>,
     dot_32<compute::BlockQ50>,
     dot_32<compute::BlockQ51>,
     dot_32<compute::BlockMxfp4>,
     dot_256<compute::BlockQ4K>,
     dot_256<compute::BlockQ5K>,
     dot_256<compute::BlockQ6K>},
    {nullptr, quantise_q8, quantise_q8_k},
    rms_norm,
    swiglu,
    combine,
    {store_f16, store_q8_0, store_f32},
    {attend<F16Columns>, attend<Q80Columns>, attend<FloatColumns>},
    {decode_rows<F16Columns>, decode_rows<Q80Columns>, decode_rows<FloatColumns>},
    mix,
    mix_rounded,
    round_queries,
    store_rounded,
};

}  // namespace hearth::cpu

// The portable kernels: the same structure as the vector ones, readable first. Integer sums are
// exact, so that only the order of the float sums differs between instruction sets.
#include <cstring>

#include "kernels/cpu/simd/unpack.h"
#include "kernels/cpu/simd/vec_scalar.h"
#include "kernels/cpu/simd/vector_kernels.h"

namespace hearth::cpu {
namespace {

template <typename Block>
Block block_at(const DotCall& call, std::int64_t row, std::int64_t index) {
    Block block;
    std::memcpy(&block, row_of(call, row) + index * std::int64_t{sizeof block}, sizeof block);
    return block;
}

struct Q8Parts {
    Q8Parts(const void* activation, std::int64_t dim)
        : quants(static_cast<const std::int8_t*>(activation)),
          scales(reinterpret_cast<const float*>(quants + dim)),
          sums(scales + dim / kQ8Elements) {}
    const std::int8_t* quants;
    const float* scales;
    const float* sums;
};

struct Q8kParts {
    Q8kParts(const void* activation, std::int64_t dim)
        : quants(static_cast<const std::int8_t*>(activation)),
          scales(reinterpret_cast<const float*>(quants + dim)),
          sums(reinterpret_cast<const std::int16_t*>(scales + dim / kQ8kElements)) {}
    const std::int8_t* quants;
    const float* scales;
    const std::int16_t* sums;
};

float dot_block(const Unpacked32& weights, const Q8Parts& x, std::int64_t index) {
    const std::int8_t* quants = x.quants + index * kQ8Elements;
    int sum = 0;
    for (int i = 0; i < kQ8Elements; ++i) {
        sum += weights.quants[i] * quants[i];
    }
    return weights.d * x.scales[index] * static_cast<float>(sum) + weights.m * x.sums[index];
}

float dot_block(const Unpacked256& weights, const Q8kParts& x, std::int64_t index) {
    const std::int8_t* quants = x.quants + index * kQ8kElements;
    const std::int16_t* sums = x.sums + index * (kQ8kElements / kQ8kSumElements);
    int sum = 0;
    int min_sum = 0;
    for (int run = 0; run < kQ8kElements / kQ8kSumElements; ++run) {
        int run_sum = 0;
        for (int i = run * kQ8kSumElements; i < (run + 1) * kQ8kSumElements; ++i) {
            run_sum += weights.quants[i] * quants[i];
        }
        sum += weights.scales[run] * run_sum;
        min_sum += weights.mins[run] * sums[run];
    }
    return x.scales[index] *
           (weights.d * static_cast<float>(sum) - weights.dmin * static_cast<float>(min_sum));
}

/// Each block is unpacked once for all tokens of a tile.
template <typename Block, typename Unpacked, typename Parts>
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
                    const Parts x(call.activations[first + t], call.dim);
                    results[t] += dot_block(weights, x, b);
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
    for_token_tiles<QuantisedTile<Block, Unpacked32, Q8Parts>>(call);
}

template <typename Block>
void dot_256(const DotCall& call) {
    for_token_tiles<QuantisedTile<Block, Unpacked256, Q8kParts>>(call);
}

}  // namespace

extern const Kernels kScalarKernels = {
    "scalar",
    {dot_float<F32Row>,
     dot_float<F16Row>,
     dot_float<Bf16Row>,
     dot_32<compute::BlockQ80>,
     dot_32<compute::BlockQ40>,
     dot_32<compute::BlockQ50>,
     dot_32<compute::BlockQ51>,
     dot_256<compute::BlockQ4K>,
     dot_256<compute::BlockQ5K>,
     dot_256<compute::BlockQ6K>},
    {nullptr, quantise_q8, quantise_q8_k},
    rms_norm,
    swiglu,
    add_scaled,
    to_half,
    attend,
};

}  // namespace hearth::cpu

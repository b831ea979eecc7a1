#include "kernels/reference/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/base/assert.h"
#include "core/compute/blocks.h"
#include "core/compute/half.h"

namespace hearth::reference {
namespace {

using compute::float_to_half;
using compute::half_to_float;

/// Truncates into [low, high]; what is not a number becomes low, so that no cast is undefined.
int clamp_to_int(float value, int low, int high) {
    if (!(value > static_cast<float>(low))) return low;
    if (value >= static_cast<float>(high)) return high;
    return static_cast<int>(value);
}

int round_to_int(float value, int low, int high) {
    return clamp_to_int(std::round(value), low, high);
}

float inverse(float value) {
    return value != 0.0F ? 1.0F / value : 0.0F;
}

/// The element of largest magnitude with its sign, the first of equals.
float signed_extreme(const float* x, int count) {
    float extreme = 0.0F;
    for (int i = 0; i < count; ++i) {
        if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
    }
    return extreme;
}

/// Calls `encode(x, block)` for each block.
template <typename Block, typename Encode>
void for_each_block(std::span<const float> values,
                    std::span<std::byte> bytes,
                    std::size_t block_elements,
                    Encode encode) {
    std::byte* to = bytes.data();
    for (std::size_t i = 0; i < values.size(); i += block_elements, to += sizeof(Block)) {
        Block block{};
        encode(values.data() + i, block);
        std::memcpy(to, &block, sizeof(Block));
    }
}

void encode_q4_0(const float* x, compute::BlockQ40& block) {
    const float d = signed_extreme(x, 32) / -8.0F;
    const float scale = inverse(d);
    block.d = float_to_half(d);
    for (int i = 0; i < 16; ++i) {
        const int low = clamp_to_int(x[i] * scale + 8.5F, 0, 15);
        const int high = clamp_to_int(x[i + 16] * scale + 8.5F, 0, 15);
        block.quants[i] = static_cast<std::uint8_t>(low | high << 4);
    }
}

/// Stores five bits of element `i` in a Q5_0 or Q5_1 block that was zero.
void store_five_bits(std::uint8_t* quants, std::uint8_t* high, int i, int q) {
    const int nibble = (q & 0xF) << (i < 16 ? 0 : 4);
    quants[i % 16] = static_cast<std::uint8_t>(quants[i % 16] | nibble);
    high[i / 8] = static_cast<std::uint8_t>(high[i / 8] | (q >> 4) << (i % 8));
}

void encode_q5_0(const float* x, compute::BlockQ50& block) {
    const float d = signed_extreme(x, 32) / -16.0F;
    const float scale = inverse(d);
    block.d = float_to_half(d);
    for (int i = 0; i < 32; ++i) {
        store_five_bits(block.quants, block.high, i, clamp_to_int(x[i] * scale + 16.5F, 0, 31));
    }
}

void encode_q5_1(const float* x, compute::BlockQ51& block) {
    const auto [min, max] = std::minmax_element(x, x + 32);
    const float d = (*max - *min) / 31.0F;
    const float scale = inverse(d);
    block.d = float_to_half(d);
    block.m = float_to_half(*min);
    for (int i = 0; i < 32; ++i) {
        const int q = clamp_to_int((x[i] - *min) * scale + 0.5F, 0, 31);
        store_five_bits(block.quants, block.high, i, q);
    }
}

void encode_q8_0(const float* x, compute::BlockQ80& block) {
    const float d = std::fabs(signed_extreme(x, 32)) / 127.0F;
    const float scale = inverse(d);
    block.d = float_to_half(d);
    for (int i = 0; i < 32; ++i) {
        block.quants[i] = static_cast<std::int8_t>(round_to_int(x[i] * scale, -127, 127));
    }
}

/// The E2M1 code nearest to `value`, ties to the even code.
int to_e2m1(float value) {
    // Half-way between neighbours; a tie goes up where the upper code is even.
    static constexpr float kBorders[7] = {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
    const float size = std::fabs(value);
    int code = 0;
    for (int i = 0; i < 7; ++i) {
        const bool is_above = i % 2 == 0 ? size > kBorders[i] : size >= kBorders[i];
        if (is_above) code = i + 1;
    }
    return std::signbit(value) && code != 0 ? code | 8 : code;
}

void encode_mxfp4(const float* x, compute::BlockMxfp4& block) {
    const float largest = std::fabs(signed_extreme(x, 32));
    if (!(largest > 0.0F)) return;
    constexpr int kBias = 127;
    constexpr int kLargestExponent = 2;  // of an E2M1 number
    const int exponent = std::isinf(largest) ? 2 * kBias : std::ilogb(largest) + kBias;
    block.exponent = static_cast<std::uint8_t>(std::clamp(exponent - kLargestExponent, 0, 254));
    const int scale = kBias - static_cast<int>(block.exponent);
    for (int i = 0; i < 16; ++i) {
        const int low = to_e2m1(std::ldexp(x[i], scale));
        const int high = to_e2m1(std::ldexp(x[i + 16], scale));
        block.quants[i] = static_cast<std::uint8_t>(low | high << 4);
    }
}

/// How much the error of each element counts: large weights more, none nothing.
template <int kCount>
std::array<float, kCount> importance(const float* x) {
    float square_sum = 0.0F;
    for (int i = 0; i < kCount; ++i) {
        square_sum += x[i] * x[i];
    }
    const float mean = std::sqrt(square_sum / static_cast<float>(kCount));
    std::array<float, kCount> weights{};
    for (int i = 0; i < kCount; ++i) {
        weights[static_cast<std::size_t>(i)] = mean + std::fabs(x[i]);
    }
    return weights;
}

/// x is about step * q - offset, both at least 0.
struct Affine {
    float step = 0.0F;
    float offset = 0.0F;
};

/// The (step, offset) of least weighted square error for the given quants.
Affine solve_affine(const float* x, const std::array<float, 32>& w, const std::array<int, 32>& q) {
    double sum_w = 0;
    double sum_q = 0;
    double sum_qq = 0;
    double sum_x = 0;
    double sum_xq = 0;
    for (std::size_t i = 0; i < 32; ++i) {
        const double wq = static_cast<double>(w[i]) * q[i];
        const double wx = static_cast<double>(w[i]) * x[i];
        sum_w += w[i];
        sum_q += wq;
        sum_qq += wq * q[i];
        sum_x += wx;
        sum_xq += wx * q[i];
    }
    const double determinant = sum_w * sum_qq - sum_q * sum_q;
    if (determinant > 0) {
        const double step = (sum_w * sum_xq - sum_q * sum_x) / determinant;
        const double offset = (sum_q * sum_xq - sum_qq * sum_x) / determinant;
        if (offset >= 0) return {static_cast<float>(step), static_cast<float>(offset)};
    }
    return {sum_qq > 0 ? static_cast<float>(sum_xq / sum_qq) : 0.0F, 0.0F};
}

/// Searches the quants of a run of 32 around the plain min-max grid: a slightly finer grid that
/// clips the ends, or a coarser one, often fits the bulk better.
Affine fit_affine(const float* x, int q_max) {
    const float low = std::min(0.0F, *std::min_element(x, x + 32));
    const float high = *std::max_element(x, x + 32);
    if (!(high > low)) return {0.0F, -low};
    const std::array<float, 32> w = importance<32>(x);
    Affine best{(high - low) / static_cast<float>(q_max), -low};
    float error_best = -1.0F;
    std::array<int, 32> q{};
    for (int trial = -10; trial <= 10; ++trial) {
        const float scale =
            (static_cast<float>(q_max) + 0.1F * static_cast<float>(trial)) / (high - low);
        for (std::size_t i = 0; i < 32; ++i) {
            q[i] = round_to_int(scale * (x[i] - low), 0, q_max);
        }
        const Affine fit = solve_affine(x, w, q);
        if (!(fit.step > 0.0F)) continue;
        float error = 0.0F;
        for (std::size_t i = 0; i < 32; ++i) {
            const float off = fit.step * static_cast<float>(q[i]) - fit.offset - x[i];
            error += w[i] * off * off;
        }
        if (error_best < 0.0F || error < error_best) {
            error_best = error;
            best = fit;
        }
    }
    return best;
}

/// Stores the 6-bit pair of run `j` where dequantize.cpp finds it; `scales` was zero.
void store_scale_and_min(std::uint8_t* scales, int j, int scale, int min) {
    const auto add = [scales](int at, int bits) {
        scales[at] = static_cast<std::uint8_t>(scales[at] | bits);
    };
    if (j < 4) {
        add(j, scale);
        add(j + 4, min);
        return;
    }
    add(j + 4, (scale & 0xF) | (min & 0xF) << 4);
    add(j - 4, (scale >> 4) << 6);
    add(j, (min >> 4) << 6);
}

/// The part that Q4_K and Q5_K share: fits eight runs, rounds their scales to six bits under a
/// common (d, dmin), and picks the quants that are nearest on the grid so stored.
template <typename Block>
std::array<std::uint8_t, 256> encode_runs(const float* x, int q_max, Block& block) {
    std::array<Affine, 8> fits;
    Affine largest;
    for (std::size_t j = 0; j < 8; ++j) {
        const Affine fit = fit_affine(x + 32 * j, q_max);
        fits[j] = fit;
        largest = {std::max(largest.step, fit.step), std::max(largest.offset, fit.offset)};
    }
    block.d = float_to_half(largest.step / 63.0F);
    block.dmin = float_to_half(largest.offset / 63.0F);
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    std::array<std::uint8_t, 256> quants{};
    for (int j = 0; j < 8; ++j) {
        const Affine& fit = fits[static_cast<std::size_t>(j)];
        const int scale = round_to_int(fit.step * inverse(d), 0, 63);
        const int min = round_to_int(fit.offset * inverse(dmin), 0, 63);
        store_scale_and_min(block.scales, j, scale, min);
        const float step_inverse = inverse(d * static_cast<float>(scale));
        const float offset = dmin * static_cast<float>(min);
        for (int i = 32 * j; i < 32 * (j + 1); ++i) {
            const int q = round_to_int((x[i] + offset) * step_inverse, 0, q_max);
            quants[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(q);
        }
    }
    return quants;
}

/// Run pairs share 32 bytes: the even run in the low nibbles.
void store_nibbles(const std::array<std::uint8_t, 256>& quants, std::uint8_t* nibbles) {
    for (std::size_t pair = 0; pair < 4; ++pair) {
        for (std::size_t i = 0; i < 32; ++i) {
            const int low = quants[64 * pair + i] & 0xF;
            const int high = quants[64 * pair + 32 + i] & 0xF;
            nibbles[32 * pair + i] = static_cast<std::uint8_t>(low | high << 4);
        }
    }
}

void encode_q4_k(const float* x, compute::BlockQ4K& block) {
    store_nibbles(encode_runs(x, 15, block), block.quants);
}

void encode_q5_k(const float* x, compute::BlockQ5K& block) {
    const std::array<std::uint8_t, 256> quants = encode_runs(x, 31, block);
    store_nibbles(quants, block.quants);
    for (std::size_t i = 0; i < 256; ++i) {
        const int bit = (quants[i] >> 4) << (i / 32);
        block.high[i % 32] = static_cast<std::uint8_t>(block.high[i % 32] | bit);
    }
}

/// The step of least weighted square error for x about step * q, q in [-32, 31], over 16 elements.
float fit_symmetric(const float* x) {
    const float extreme = signed_extreme(x, 16);
    if (extreme == 0.0F) return 0.0F;
    const std::array<float, 16> w = importance<16>(x);
    float best = extreme / -32.0F;
    float gain_best = 0.0F;
    for (int trial = -10; trial <= 10; ++trial) {
        const float scale = -(32.0F + 0.1F * static_cast<float>(trial)) / extreme;
        float sum_xq = 0.0F;
        float sum_qq = 0.0F;
        for (std::size_t i = 0; i < 16; ++i) {
            const auto q = static_cast<float>(round_to_int(scale * x[i], -32, 31));
            sum_xq += w[i] * x[i] * q;
            sum_qq += w[i] * q * q;
        }
        // With the best step the error is sum(w x x) - sum(w x q)^2 / sum(w q q).
        if (sum_qq > 0.0F && sum_xq * sum_xq > gain_best * sum_qq) {
            best = sum_xq / sum_qq;
            gain_best = sum_xq * sum_xq / sum_qq;
        }
    }
    return best;
}

void encode_q6_k(const float* x, compute::BlockQ6K& block) {
    std::array<float, 16> steps{};
    for (std::size_t j = 0; j < 16; ++j) {
        steps[j] = fit_symmetric(x + 16 * j);
    }
    block.d = float_to_half(signed_extreme(steps.data(), 16) / -128.0F);
    const float d = half_to_float(block.d);
    for (std::size_t j = 0; j < 16; ++j) {
        const int scale = round_to_int(steps[j] * inverse(d), -128, 127);
        block.scales[j] = static_cast<std::int8_t>(scale);
        const float step_inverse = inverse(d * static_cast<float>(scale));
        for (std::size_t i = 16 * j; i < 16 * (j + 1); ++i) {
            const int q = round_to_int(x[i] * step_inverse, -32, 31) + 32;
            // As decode_q6_k finds them: half, run of 32 in it, element of the run.
            const std::size_t half = i / 128;
            const std::size_t run = i % 128 / 32;
            std::uint8_t& low = block.low[64 * half + 32 * (run % 2) + i % 32];
            std::uint8_t& high = block.high[32 * half + i % 32];
            low = static_cast<std::uint8_t>(low | (q & 0xF) << (4 * (run / 2)));
            high = static_cast<std::uint8_t>(high | (q >> 4) << (2 * run));
        }
    }
}

}  // namespace

void quantize(compute::Dtype dtype, std::span<const float> values, std::span<std::byte> bytes) {
    using compute::Dtype;
    const auto needed = compute::row_bytes(dtype, static_cast<std::int64_t>(values.size()));
    HEARTH_ASSERT(bytes.size() == static_cast<std::size_t>(needed));
    const auto narrow = compute::kBlockElements;
    const auto wide = compute::kSuperBlockElements;
    switch (dtype) {
        case Dtype::f32:
            if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
            return;
        case Dtype::f16:
            return for_each_block<std::uint16_t>(
                values, bytes, 1, [](const float* x, std::uint16_t& bits) {
                    bits = float_to_half(*x);
                });
        case Dtype::bf16:
            return for_each_block<std::uint16_t>(
                values, bytes, 1, [](const float* x, std::uint16_t& bits) {
                    bits = compute::float_to_bf16(*x);
                });
        case Dtype::q4_0:
            return for_each_block<compute::BlockQ40>(values, bytes, narrow, encode_q4_0);
        case Dtype::q5_0:
            return for_each_block<compute::BlockQ50>(values, bytes, narrow, encode_q5_0);
        case Dtype::q5_1:
            return for_each_block<compute::BlockQ51>(values, bytes, narrow, encode_q5_1);
        case Dtype::q8_0:
            return for_each_block<compute::BlockQ80>(values, bytes, narrow, encode_q8_0);
        case Dtype::mxfp4:
            return for_each_block<compute::BlockMxfp4>(values, bytes, narrow, encode_mxfp4);
        case Dtype::q4_k:
            return for_each_block<compute::BlockQ4K>(values, bytes, wide, encode_q4_k);
        case Dtype::q5_k:
            return for_each_block<compute::BlockQ5K>(values, bytes, wide, encode_q5_k);
        case Dtype::q6_k:
            return for_each_block<compute::BlockQ6K>(values, bytes, wide, encode_q6_k);
        case Dtype::i32:
            break;
    }
    HEARTH_ASSERT(dtype != Dtype::i32);  // integers are no weights
}

void round_activations(std::span<const float> values, std::span<float> out) {
    constexpr auto kBlock = static_cast<std::size_t>(compute::kBlockElements);
    HEARTH_ASSERT(values.size() % kBlock == 0 && out.size() == values.size());
    for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
        const auto from = values.subspan(begin, kBlock);
        const auto to = out.subspan(begin, kBlock);
        float largest = 0.0F;
        bool is_finite = true;
        for (const float value : from) {
            largest = std::max(largest, std::fabs(value));
            is_finite = is_finite && std::isfinite(value);
        }
        if (!is_finite) {
            std::ranges::fill(to, std::numeric_limits<float>::quiet_NaN());
            continue;
        }
        const float d = largest / 127.0F;
        const float step_inverse = largest == 0.0F ? 0.0F : 127.0F / largest;
        std::ranges::transform(
            from, to.begin(), [&](float x) { return d * std::nearbyint(x * step_inverse); });
    }
}

}  // namespace hearth::reference

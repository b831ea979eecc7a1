#include "kernels/cpu/simd/unpack.h"

#include <cstring>

#include "core/compute/half.h"

namespace hearth::cpu {
namespace {

using compute::half_to_float;
using compute::kBlockElements;
using compute::kSuperBlockElements;

constexpr int kHalfBlock = kBlockElements / 2;

std::int8_t to_int8(int value) {
    return static_cast<std::int8_t>(value);
}

/// The nibble of element i of a block of 32.
int nibble(const std::uint8_t* quants, int i) {
    return i < kHalfBlock ? quants[i] & 0x0F : quants[i - kHalfBlock] >> 4;
}

int high_bit(const std::uint8_t* bits, int i) {
    return (bits[i / 8] >> (i % 8)) & 1;
}

/// Eight 6-bit scales and eight 6-bit minima in 12 bytes: the first four of each lie whole in the
/// low six bits of bytes 0-3 and 4-7; the last four have their low nibbles in bytes 8-11 and their
/// two high bits above the first four.
void unpack_scales(const std::uint8_t* packed, std::int8_t* scales, std::int8_t* mins) {
    for (int j = 0; j < 8; ++j) {
        int scale = packed[j] & 63;
        int min = packed[j + 4] & 63;
        if (j >= 4) {
            scale = (packed[j + 4] & 0x0F) | ((packed[j - 4] >> 6) << 4);
            min = (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4);
        }
        scales[2 * j] = scales[2 * j + 1] = to_int8(scale);
        mins[2 * j] = mins[2 * j + 1] = to_int8(min);
    }
}

}  // namespace

void unpack(const compute::BlockQ80& block, Unpacked32& out) {
    out.d = half_to_float(block.d);
    out.m = 0.0F;
    std::memcpy(out.quants, block.quants, sizeof out.quants);
}

void unpack(const compute::BlockQ40& block, Unpacked32& out) {
    out.d = half_to_float(block.d);
    out.m = 0.0F;
    for (int i = 0; i < kBlockElements; ++i) {
        out.quants[i] = to_int8(nibble(block.quants, i) - 8);
    }
}

void unpack(const compute::BlockQ50& block, Unpacked32& out) {
    out.d = half_to_float(block.d);
    out.m = 0.0F;
    for (int i = 0; i < kBlockElements; ++i) {
        out.quants[i] = to_int8((nibble(block.quants, i) | (high_bit(block.high, i) << 4)) - 16);
    }
}

void unpack(const compute::BlockQ51& block, Unpacked32& out) {
    out.d = half_to_float(block.d);
    out.m = half_to_float(block.m);
    for (int i = 0; i < kBlockElements; ++i) {
        out.quants[i] = to_int8(nibble(block.quants, i) | (high_bit(block.high, i) << 4));
    }
}

void unpack(const compute::BlockMxfp4& block, Unpacked32& out) {
    out.d = compute::half_scale_of_e8m0(block.exponent);
    out.m = 0.0F;
    for (int i = 0; i < kBlockElements; ++i) {
        out.quants[i] = compute::kMxfp4Doubled[nibble(block.quants, i)];
    }
}

void unpack(const compute::BlockQ4K& block, Unpacked256& out) {
    out.d = half_to_float(block.d);
    out.dmin = half_to_float(block.dmin);
    unpack_scales(block.scales, out.scales, out.mins);
    for (int i = 0; i < kSuperBlockElements; ++i) {
        const int byte = block.quants[i / 64 * 32 + i % 32];
        out.quants[i] = to_int8(i % 64 < 32 ? byte & 0x0F : byte >> 4);
    }
}

void unpack(const compute::BlockQ5K& block, Unpacked256& out) {
    out.d = half_to_float(block.d);
    out.dmin = half_to_float(block.dmin);
    unpack_scales(block.scales, out.scales, out.mins);
    for (int i = 0; i < kSuperBlockElements; ++i) {
        const int byte = block.quants[i / 64 * 32 + i % 32];
        const int low = i % 64 < 32 ? byte & 0x0F : byte >> 4;
        out.quants[i] = to_int8(low | (((block.high[i % 32] >> (i / 32)) & 1) << 4));
    }
}

void unpack(const compute::BlockQ6K& block, Unpacked256& out) {
    out.d = half_to_float(block.d);
    out.dmin = 0.0F;
    std::memcpy(out.scales, block.scales, sizeof out.scales);
    std::memset(out.mins, 0, sizeof out.mins);
    // Each half of 128 elements is four runs of 32: the runs 0 and 1 are the low nibbles of 64
    // bytes, 2 and 3 their high nibbles; run r has its two high bits at bit 2r of 32 bytes.
    for (int i = 0; i < kSuperBlockElements; ++i) {
        const int half = i / 128;
        const int run = i % 128 / 32;
        const int byte = block.low[half * 64 + i % 64];
        const int low = run < 2 ? byte & 0x0F : byte >> 4;
        const int high = (block.high[half * 32 + i % 32] >> (2 * run)) & 3;
        out.quants[i] = to_int8((low | (high << 4)) - 32);
    }
}

}  // namespace hearth::cpu

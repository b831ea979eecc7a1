#include "core/compute/dequantize.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/base/assert.h"
#include "core/compute/blocks.h"
#include "core/compute/half.h"

namespace hearth::compute {
namespace {

static_assert(std::endian::native == std::endian::little,
              "blocks are read as they lie in the file");

/// Calls `decode(block, out)` for each block; the copy makes unaligned bytes safe.
template <typename Block, typename Decode>
void for_each_block(std::span<const std::byte> bytes,
                    std::span<float> values,
                    std::size_t block_elements,
                    Decode decode) {
    Block block;
    const std::byte* from = bytes.data();
    for (std::size_t i = 0; i < values.size(); i += block_elements, from += sizeof(Block)) {
        std::memcpy(&block, from, sizeof(Block));
        decode(block, values.data() + i);
    }
}

void decode_q4_0(const BlockQ40& block, float* out) {
    const float d = half_to_float(block.d);
    for (int i = 0; i < 16; ++i) {
        out[i] = d * static_cast<float>((block.quants[i] & 0xF) - 8);
        out[i + 16] = d * static_cast<float>((block.quants[i] >> 4) - 8);
    }
}

/// Element `i` of a Q5_0 or Q5_1 block: a nibble and its fifth bit.
int five_bits(const std::uint8_t* quants, const std::uint8_t* high, int i) {
    const int nibble = i < 16 ? quants[i] & 0xF : quants[i - 16] >> 4;
    return nibble | ((high[i / 8] >> (i % 8)) & 1) << 4;
}

void decode_q5_0(const BlockQ50& block, float* out) {
    const float d = half_to_float(block.d);
    for (int i = 0; i < 32; ++i) {
        out[i] = d * static_cast<float>(five_bits(block.quants, block.high, i) - 16);
    }
}

void decode_q5_1(const BlockQ51& block, float* out) {
    const float d = half_to_float(block.d);
    const float m = half_to_float(block.m);
    for (int i = 0; i < 32; ++i) {
        out[i] = d * static_cast<float>(five_bits(block.quants, block.high, i)) + m;
    }
}

void decode_q8_0(const BlockQ80& block, float* out) {
    const float d = half_to_float(block.d);
    for (int i = 0; i < 32; ++i) {
        out[i] = d * static_cast<float>(block.quants[i]);
    }
}

void decode_mxfp4(const BlockMxfp4& block, float* out) {
    const float d = half_scale_of_e8m0(block.exponent);
    for (int i = 0; i < 16; ++i) {
        out[i] = d * static_cast<float>(kMxfp4Doubled[block.quants[i] & 0xF]);
        out[i + 16] = d * static_cast<float>(kMxfp4Doubled[block.quants[i] >> 4]);
    }
}

struct ScaleAndMin {
    int scale;
    int min;
};

/// The 6-bit pair of run `j` (0..7). Runs 0-3 lie in the low six bits of bytes j and j+4; of runs
/// 4-7 the low nibbles lie in byte j+4 and the top two bits above those of run j-4.
ScaleAndMin scale_and_min(const std::uint8_t* scales, int j) {
    if (j < 4) return {scales[j] & 63, scales[j + 4] & 63};
    return {(scales[j + 4] & 0xF) | (scales[j - 4] >> 6) << 4,
            (scales[j + 4] >> 4) | (scales[j] >> 6) << 4};
}

/// Nibble of element `i` of run `j`: runs 2n and 2n+1 share 32 bytes.
int nibble_of_run(const std::uint8_t* quants, int j, int i) {
    return (quants[(j / 2) * 32 + i] >> (4 * (j % 2))) & 0xF;
}

void decode_q4_k(const BlockQ4K& block, float* out) {
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    for (int j = 0; j < 8; ++j) {
        const auto [scale, min] = scale_and_min(block.scales, j);
        const float step = d * static_cast<float>(scale);
        const float offset = dmin * static_cast<float>(min);
        for (int i = 0; i < 32; ++i) {
            const int q = nibble_of_run(block.quants, j, i);
            out[32 * j + i] = step * static_cast<float>(q) - offset;
        }
    }
}

void decode_q5_k(const BlockQ5K& block, float* out) {
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    for (int j = 0; j < 8; ++j) {
        const auto [scale, min] = scale_and_min(block.scales, j);
        const float step = d * static_cast<float>(scale);
        const float offset = dmin * static_cast<float>(min);
        for (int i = 0; i < 32; ++i) {
            const int q = nibble_of_run(block.quants, j, i) | ((block.high[i] >> j) & 1) << 4;
            out[32 * j + i] = step * static_cast<float>(q) - offset;
        }
    }
}

/// Each half of 128 elements has 64 bytes of nibbles and 32 bytes of bit pairs: run `r` of 32 takes
/// the low (r < 2) or high nibbles of byte run r % 2, and bit pair r.
void decode_q6_k(const BlockQ6K& block, float* out) {
    const float d = half_to_float(block.d);
    for (int half = 0; half < 2; ++half) {
        for (int r = 0; r < 4; ++r) {
            for (int i = 0; i < 32; ++i) {
                const int low = block.low[64 * half + 32 * (r % 2) + i] >> (4 * (r / 2)) & 0xF;
                const int high = block.high[32 * half + i] >> (2 * r) & 3;
                const int element = 128 * half + 32 * r + i;
                const int scale = element / 16;
                const float step = d * static_cast<float>(block.scales[scale]);
                out[element] = step * static_cast<float>((low | high << 4) - 32);
            }
        }
    }
}

}  // namespace

void dequantize(Dtype dtype, std::span<const std::byte> bytes, std::span<float> values) {
    const auto needed = row_bytes(dtype, static_cast<std::int64_t>(values.size()));
    HEARTH_ASSERT(bytes.size() == static_cast<std::size_t>(needed));
    const auto narrow = kBlockElements;
    const auto wide = kSuperBlockElements;
    switch (dtype) {
        case Dtype::f32:
            if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
            return;
        case Dtype::f16:
            return for_each_block<std::uint16_t>(
                bytes, values, 1, [](std::uint16_t bits, float* out) {
                    *out = half_to_float(bits);
                });
        case Dtype::bf16:
            return for_each_block<std::uint16_t>(
                bytes, values, 1, [](std::uint16_t bits, float* out) {
                    *out = bf16_to_float(bits);
                });
        case Dtype::q4_0:
            return for_each_block<BlockQ40>(bytes, values, narrow, decode_q4_0);
        case Dtype::q5_0:
            return for_each_block<BlockQ50>(bytes, values, narrow, decode_q5_0);
        case Dtype::q5_1:
            return for_each_block<BlockQ51>(bytes, values, narrow, decode_q5_1);
        case Dtype::q8_0:
            return for_each_block<BlockQ80>(bytes, values, narrow, decode_q8_0);
        case Dtype::mxfp4:
            return for_each_block<BlockMxfp4>(bytes, values, narrow, decode_mxfp4);
        case Dtype::q4_k:
            return for_each_block<BlockQ4K>(bytes, values, wide, decode_q4_k);
        case Dtype::q5_k:
            return for_each_block<BlockQ5K>(bytes, values, wide, decode_q5_k);
        case Dtype::q6_k:
            return for_each_block<BlockQ6K>(bytes, values, wide, decode_q6_k);
        case Dtype::i32:
            break;
    }
    HEARTH_ASSERT(dtype != Dtype::i32);  // integers are no weights
}

}  // namespace hearth::compute

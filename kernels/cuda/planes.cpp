#include "kernels/cuda/planes.h"

#include <cstring>

#include "core/base/assert.h"
#include "core/compute/blocks.h"

namespace hearth::cuda {
namespace {

using compute::BlockMxfp4;
using compute::BlockQ40;
using compute::BlockQ4K;
using compute::BlockQ50;
using compute::BlockQ51;
using compute::BlockQ5K;
using compute::BlockQ6K;
using compute::BlockQ80;

constexpr std::int64_t kHeaderBytes = 16;  ///< d, dmin and scales of Q4_K and Q5_K
constexpr int kChunksOfSuper = kSuperWeights / kChunkWeights;

/// The planes at one block of a row.
struct Cursor {
    std::uint8_t *quants, *high, *scales, *supers;
};

void put_word(std::uint8_t* plane, std::uint32_t word) {
    std::memcpy(plane, &word, sizeof(word));
}

/// `bit(e)` is bit 4 of weight e of a chunk.
template <typename Bit>
std::uint32_t fifth_bits(Bit bit) {
    std::uint32_t word = 0;
    for (unsigned e = 0; e < kChunkWeights; ++e) {
        word |= (bit(e) & 1U) << (8 * (e % 4) + e / 4);
    }
    return word;
}

void repack_block(const BlockQ80& block, Cursor at) {
    std::memcpy(at.quants, block.quants, sizeof(block.quants));
    std::memcpy(at.scales, &block.d, sizeof(block.d));
}

void repack_block(const BlockQ40& block, Cursor at) {
    std::memcpy(at.quants, block.quants, sizeof(block.quants));
    std::memcpy(at.scales, &block.d, sizeof(block.d));
}

void repack_block(const BlockMxfp4& block, Cursor at) {
    std::memcpy(at.quants, block.quants, sizeof(block.quants));
    *at.scales = block.exponent;
}

std::uint32_t fifth_bits_of(const std::uint8_t (&high)[4]) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, high, sizeof(bits));
    return fifth_bits([bits](unsigned e) { return bits >> e; });
}

void repack_block(const BlockQ50& block, Cursor at) {
    std::memcpy(at.quants, block.quants, sizeof(block.quants));
    std::memcpy(at.scales, &block.d, sizeof(block.d));
    put_word(at.high, fifth_bits_of(block.high));
}

void repack_block(const BlockQ51& block, Cursor at) {
    std::memcpy(at.quants, block.quants, sizeof(block.quants));
    std::memcpy(at.scales, &block.d, sizeof(block.d));
    std::memcpy(at.scales + sizeof(block.d), &block.m, sizeof(block.m));
    put_word(at.high, fifth_bits_of(block.high));
}

/// Sixteen bytes of one chunk from 32 bytes that hold it in their nibbles at `shift`.
void repack_nibbles(const std::uint8_t* bytes, int shift, std::uint8_t* plane) {
    for (int i = 0; i < kChunkWeights / 2; ++i) {
        const int low = (bytes[i] >> shift) & 15;
        const int high = (bytes[i + kChunkWeights / 2] >> shift) & 15;
        plane[i] = static_cast<std::uint8_t>(low | (high << 4));
    }
}

/// Runs of 32 bytes hold one chunk in their low nibbles and the next one in the high ones.
void repack_k_nibbles(const std::uint8_t (&quants)[kSuperWeights / 2], std::uint8_t* plane) {
    for (int chunk = 0; chunk < kChunksOfSuper; ++chunk) {
        repack_nibbles(
            quants + chunk / 2 * kChunkWeights, 4 * (chunk % 2), plane + chunk * kChunkWeights / 2);
    }
}

void repack_block(const BlockQ4K& block, Cursor at) {
    std::memcpy(at.supers, &block, kHeaderBytes);
    repack_k_nibbles(block.quants, at.quants);
}

void repack_block(const BlockQ5K& block, Cursor at) {
    std::memcpy(at.supers, &block, kHeaderBytes);
    repack_k_nibbles(block.quants, at.quants);
    for (int chunk = 0; chunk < kChunksOfSuper; ++chunk) {
        put_word(at.high + 4 * chunk, fifth_bits([&](unsigned e) {
                     return static_cast<unsigned>(block.high[e] >> chunk);
                 }));
    }
}

/// Chunk c lies in half c / 4 as run r = c % 4: its low bits in 32 bytes from 64 (c / 4) + 32 (r %
/// 2), low nibbles for r < 2; its high bits in 32 bytes from 32 (c / 4), at bit 2 r.
void repack_block(const BlockQ6K& block, Cursor at) {
    std::memcpy(at.supers, &block.d, sizeof(block.d));
    std::memcpy(at.scales, block.scales, sizeof(block.scales));
    for (int chunk = 0; chunk < kChunksOfSuper; ++chunk) {
        const int half = chunk / 4;
        const int run = chunk % 4;
        repack_nibbles(block.low + 64 * half + 32 * (run % 2),
                       4 * (run / 2),
                       at.quants + chunk * kChunkWeights / 2);
        std::uint32_t words[2] = {};
        for (unsigned e = 0; e < kChunkWeights; ++e) {
            const std::uint32_t field =
                (block.high[32 * half + static_cast<int>(e)] >> (2 * run)) & 3U;
            words[e / 16] |= field << (8 * (e % 4) + 2 * (e % 16 / 4));
        }
        put_word(at.high + 8 * chunk, words[0]);
        put_word(at.high + 8 * chunk + 4, words[1]);
    }
}

template <typename Block>
void repack_rows(Format format,
                 std::span<const std::byte> blocks,
                 const PlaneRows& planes,
                 std::int64_t weights_per_block) {
    const RowBytes step = row_bytes(format, weights_per_block);
    const auto bytes_of = [](std::span<std::byte> plane) {
        return reinterpret_cast<std::uint8_t*>(plane.data());
    };
    Cursor at{bytes_of(planes.quants),
              bytes_of(planes.high),
              bytes_of(planes.scales),
              bytes_of(planes.supers)};
    for (std::size_t offset = 0; offset < blocks.size(); offset += sizeof(Block)) {
        Block block;
        std::memcpy(&block, blocks.data() + offset, sizeof(block));
        repack_block(block, at);
        at.quants += step.quants;
        at.high += step.high;
        at.scales += step.scales;
        at.supers += step.supers;
    }
}

}  // namespace

Format to_format(compute::Dtype dtype) {
    switch (dtype) {
        case compute::Dtype::f32:
            return Format::f32;
        case compute::Dtype::f16:
            return Format::f16;
        case compute::Dtype::bf16:
            return Format::bf16;
        case compute::Dtype::q8_0:
            return Format::q8_0;
        case compute::Dtype::q4_0:
            return Format::q4_0;
        case compute::Dtype::q5_0:
            return Format::q5_0;
        case compute::Dtype::q5_1:
            return Format::q5_1;
        case compute::Dtype::q4_k:
            return Format::q4_k;
        case compute::Dtype::q5_k:
            return Format::q5_k;
        case compute::Dtype::q6_k:
            return Format::q6_k;
        case compute::Dtype::mxfp4:
            return Format::mxfp4;
        case compute::Dtype::i32:
            break;
    }
    assert_failed("a weight is a float or quantised", __FILE__, __LINE__);
}

RowBytes row_bytes(Format format, std::int64_t columns) {
    const std::int64_t chunks = columns / kChunkWeights;
    const std::int64_t supers = columns / kSuperWeights;
    switch (format) {
        case Format::f32:
            return {.quants = columns * 4};
        case Format::f16:
        case Format::bf16:
            return {.quants = columns * 2};
        case Format::q8_0:
            return {.quants = columns, .scales = chunks * 2};
        case Format::q4_0:
            return {.quants = columns / 2, .scales = chunks * 2};
        case Format::q5_0:
            return {.quants = columns / 2, .high = chunks * 4, .scales = chunks * 2};
        case Format::q5_1:
            return {.quants = columns / 2, .high = chunks * 4, .scales = chunks * 4};
        case Format::q4_k:
            return {.quants = columns / 2, .supers = supers * kHeaderBytes};
        case Format::q5_k:
            return {.quants = columns / 2, .high = chunks * 4, .supers = supers * kHeaderBytes};
        case Format::q6_k:
            return {.quants = columns / 2,
                    .high = chunks * 8,
                    .scales = chunks * 2,
                    .supers = supers * 2};
        case Format::mxfp4:
            return {.quants = columns / 2, .scales = chunks};
    }
    return {};
}

PlaneLayout plane_layout(Format format, std::int64_t rows, std::int64_t columns) {
    const RowBytes row = row_bytes(format, columns);
    PlaneLayout layout;
    const auto place = [&](std::int64_t row_size) {
        const std::int64_t offset = layout.bytes;
        const std::int64_t bytes = row_size * rows;
        layout.bytes += (bytes + kPlaneAlignment - 1) / kPlaneAlignment * kPlaneAlignment;
        return offset;
    };
    layout.quants = place(row.quants);
    layout.high = place(row.high);
    layout.scales = place(row.scales);
    layout.supers = place(row.supers);
    return layout;
}

void repack(Format format, std::span<const std::byte> blocks, const PlaneRows& out) {
    switch (format) {
        case Format::f32:
        case Format::f16:
        case Format::bf16:
            HEARTH_ASSERT(out.quants.size() == blocks.size());
            std::memcpy(out.quants.data(), blocks.data(), blocks.size());
            return;
        case Format::q8_0:
            return repack_rows<BlockQ80>(format, blocks, out, kChunkWeights);
        case Format::q4_0:
            return repack_rows<BlockQ40>(format, blocks, out, kChunkWeights);
        case Format::q5_0:
            return repack_rows<BlockQ50>(format, blocks, out, kChunkWeights);
        case Format::q5_1:
            return repack_rows<BlockQ51>(format, blocks, out, kChunkWeights);
        case Format::q4_k:
            return repack_rows<BlockQ4K>(format, blocks, out, kSuperWeights);
        case Format::q5_k:
            return repack_rows<BlockQ5K>(format, blocks, out, kSuperWeights);
        case Format::q6_k:
            return repack_rows<BlockQ6K>(format, blocks, out, kSuperWeights);
        case Format::mxfp4:
            return repack_rows<BlockMxfp4>(format, blocks, out, kChunkWeights);
    }
}

}  // namespace hearth::cuda

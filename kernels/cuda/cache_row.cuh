// Rows of the cache, in halves or in Q8_0: where a token's row is, how a value is stored in it, and
// eight of its columns as halves. Values in Q8_0 are rounded once more, to halves, where they are
// read: the tensor cores take these.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/mma_float.cuh"
#include "kernels/cuda/step.h"

namespace hearth::cuda {

/// A token's key or value row.
struct CacheRow {
    std::uint16_t* halves = nullptr;  ///< f16; null with `quants`: nothing is stored
    std::int8_t* quants = nullptr;    ///< q8_0
    std::uint16_t* scales = nullptr;
};

/// The rows of keys or of values within a block of the cache in Q8_0: bytes from its begin.
struct Q8CacheRows {
    std::int64_t quants, scales;
    int stride;  ///< of a row's quants
};
__device__ __forceinline__ Q8CacheRows q8_cache_rows(const CacheLayer& cache, bool is_key) {
    const int keys = padded_dim(cache.key_dim);
    const int values = padded_dim(cache.value_dim);
    const std::int64_t scales = std::int64_t{compute::kBlockTokens} * (keys + values);
    if (is_key) return {0, scales, keys};
    // As many bytes of scales as columns: 16 rows, two bytes for 32.
    return {std::int64_t{compute::kBlockTokens} * keys, scales + keys, values};
}

/// Nothing in filled rows.
__device__ __forceinline__ CacheRow cache_row(const CacheLayer& cache,
                                              const StepTables& step,
                                              std::int64_t token,
                                              bool is_key) {
    const int position = step.positions[token];
    if (position < 0) return {};
    const std::int32_t block =
        step.block_tables[step.table_begin[token] + position / compute::kBlockTokens];
    const std::int64_t slot = position % compute::kBlockTokens;
    std::uint16_t* memory =
        step.header->cache +
        (std::int64_t{cache.layer} * step.header->cache_blocks + block) * cache_block_halves(cache);
    CacheRow row;
    if (cache.format != Format::q8_0) {
        row.halves = is_key ? memory + slot * cache.key_dim
                            : memory + std::int64_t{compute::kBlockTokens} * cache.key_dim +
                                  slot * cache.value_dim;
        return row;
    }
    const Q8CacheRows rows = q8_cache_rows(cache, is_key);
    auto* bytes = reinterpret_cast<std::uint8_t*>(memory);
    row.quants = reinterpret_cast<std::int8_t*>(bytes + rows.quants + slot * rows.stride);
    row.scales = reinterpret_cast<std::uint16_t*>(bytes + rows.scales) +
                 slot * (rows.stride / kChunkWeights);
    return row;
}

/// Stores a column. In Q8_0 the lanes of a warp call it for 32 neighbouring columns from a multiple
/// of 32 on, with zeros behind the row's last one. A block that holds what is no finite number
/// becomes none as a whole.
__device__ __forceinline__ void store_value(const CacheRow& row, int column, float value) {
    if (row.halves != nullptr) row.halves[column] = float_to_half(value);
    if (row.quants == nullptr) return;
    const unsigned largest = lane_max(__float_as_uint(value) & 0x7FFFFFFFU);
    const float d = __uint_as_float(largest) / 127.0F;
    const float inverse = d != 0.0F ? 1.0F / d : 0.0F;
    const bool is_finite = largest < 0x7F800000U;
    const float quant = is_finite ? roundf(value * inverse) : 0.0F;
    row.quants[column] = static_cast<std::int8_t>(smaller(127.0F, larger(-127.0F, quant)));
    if (warp_lane() == 0) row.scales[column / kChunkWeights] = float_to_half(d);
}

/// Eight columns of a row in Q8_0 from `column`, a multiple of 8, on: as halves.
///   block   of the cache;   slot   the row's
__device__ __forceinline__ uint4 load_q8_halves(const std::uint16_t* block,
                                                const Q8CacheRows& rows,
                                                int slot,
                                                int column) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(block);
    const auto* quants =
        reinterpret_cast<const uint2*>(bytes + rows.quants + slot * rows.stride + column);
    const auto* scales = reinterpret_cast<const std::uint16_t*>(bytes + rows.scales);
    const uint2 words = *quants;
    const float d = half_to_float(scales[(slot * rows.stride + column) / kChunkWeights]);
    const auto pair = [d](unsigned word, int shift) {
        const auto low = static_cast<std::int8_t>(word >> shift);
        const auto high = static_cast<std::int8_t>(word >> (shift + 8));
        return pack_halves<Format::f16>(d * static_cast<float>(low), d * static_cast<float>(high));
    };
    return {pair(words.x, 0), pair(words.x, 16), pair(words.y, 0), pair(words.y, 16)};
}

}  // namespace hearth::cuda

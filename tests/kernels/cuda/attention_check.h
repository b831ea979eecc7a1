// What tests of attention share: a cache of random rows, on the device and for the reference.
#pragma once

#include <algorithm>

#include "core/compute/blocks.h"
#include "core/compute/half.h"
#include "kernels/reference/operations.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {

inline constexpr int kBlocks = 96;
inline constexpr int kLayers = 2;
inline constexpr int kLayer = 1;

/// What is exact as a half.
inline std::vector<float> random_halves(std::size_t count, std::mt19937& random) {
    std::vector<float> values = random_values(count, random);
    for (float& value : values) {
        value = compute::half_to_float(compute::float_to_half(value));
    }
    return values;
}

/// A row of the cache in Q8_0: its bytes as blocks of a file, and what kernels read of them,
/// halves.
struct Q8Row {
    explicit Q8Row(std::span<const float> values)
        : blocks((values.size() + kChunkWeights - 1) / kChunkWeights) {
        std::vector<float> padded(blocks.size() * kChunkWeights);
        std::ranges::copy(values, padded.begin());
        const auto bytes = std::as_writable_bytes(std::span(blocks));
        reference::quantize(compute::Dtype::q8_0, padded, bytes);
        compute::dequantize(compute::Dtype::q8_0, bytes, padded);
        read.assign(padded.begin(), padded.begin() + static_cast<std::ptrdiff_t>(values.size()));
        for (float& value : read) {
            value = compute::half_to_float(compute::float_to_half(value));
        }
    }
    std::vector<compute::BlockQ80> blocks;
    std::vector<float> read;
};

/// What the cache makes of rows of `dim` floats.
inline std::vector<float> as_cached(std::vector<float> values, std::int64_t dim, Format format) {
    const auto columns = static_cast<std::size_t>(dim);
    for (std::size_t begin = 0; format == Format::q8_0 && begin < values.size(); begin += columns) {
        const Q8Row row(std::span<const float>(values).subspan(begin, columns));
        std::ranges::copy(row.read, values.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    return values;
}

/// The same cache on the device and for the reference, full of random rows.
struct Caches {
    Caches(std::int64_t key_dim,
           std::int64_t value_dim,
           std::mt19937& random,
           Format cache_format = Format::f16)
        : layout{kLayers, key_dim, value_dim},
          format(cache_format),
          reference(require(reference::ReferenceKvStore::make(layout, kBlocks))) {
        const auto block = static_cast<std::size_t>(cache_block_halves(layer()));
        std::vector<std::uint16_t> halves(kLayers * kBlocks * block);
        for (int l = 0; l < kLayers; ++l) {
            for (int b = 0; b < kBlocks; ++b) {
                std::uint16_t* memory =
                    halves.data() + static_cast<std::size_t>(l * kBlocks + b) * block;
                for (std::int32_t slot = 0; slot < compute::kBlockTokens; ++slot) {
                    reference->store_key(l, {b, slot}, fill(memory, slot, true, random));
                    reference->store_value(l, {b, slot}, fill(memory, slot, false, random));
                }
            }
        }
        device = std::make_unique<DeviceArray<std::uint16_t>>(halves);
    }

    /// A random row in its place of a block: what is read of it.
    std::vector<float> fill(std::uint16_t* block,
                            std::int32_t slot,
                            bool is_key,
                            std::mt19937& random) const {
        const std::int64_t dim = is_key ? layout.key_dim : layout.value_dim;
        const auto values = random_halves(static_cast<std::size_t>(dim), random);
        if (format == Format::f16) {
            std::uint16_t* rows = block + (is_key ? 0 : compute::kBlockTokens * layout.key_dim);
            std::ranges::transform(values, rows + slot * dim, compute::float_to_half);
            return values;
        }
        const Q8Row row(values);
        const std::int64_t keys = padded_dim(static_cast<std::int32_t>(layout.key_dim));
        const std::int64_t all = keys + padded_dim(static_cast<std::int32_t>(layout.value_dim));
        const auto blocks = static_cast<std::int64_t>(row.blocks.size());
        auto* bytes = reinterpret_cast<std::uint8_t*>(block);
        std::uint8_t* quants =
            bytes + (is_key ? 0 : compute::kBlockTokens * keys) + slot * blocks * kChunkWeights;
        std::uint16_t* scales = block + compute::kBlockTokens * all / 2 +
                                (is_key ? 0 : compute::kBlockTokens * keys / kChunkWeights) +
                                slot * blocks;
        for (const compute::BlockQ80& each : row.blocks) {
            std::memcpy(quants, each.quants, kChunkWeights);
            quants += kChunkWeights;
            *scales++ = each.d;
        }
        return row.read;
    }

    [[nodiscard]] CacheLayer layer() const {
        return {kLayer,
                static_cast<std::int32_t>(layout.key_dim),
                static_cast<std::int32_t>(layout.value_dim),
                format};
    }

    compute::KvLayout layout;
    Format format;
    std::unique_ptr<reference::ReferenceKvStore> reference;
    std::unique_ptr<DeviceArray<std::uint16_t>> device;
};

inline reference::StepPlaces places_of(const TestStep& step) {
    return {step.positions(), step.sequence_of, step.sequences};
}

}  // namespace hearth::cuda::test

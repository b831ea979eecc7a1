// What tests of attention share: a cache of random rows, on the device and for the reference.
#pragma once

#include <algorithm>

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

/// The same cache on the device and for the reference, full of random rows.
struct Caches {
    Caches(std::int64_t key_dim, std::int64_t value_dim, std::mt19937& random)
        : layout{kLayers, key_dim, value_dim},
          reference(require(reference::ReferenceKvStore::make(layout, kBlocks))) {
        const auto block = static_cast<std::size_t>(compute::kBlockTokens * (key_dim + value_dim));
        std::vector<std::uint16_t> halves(kLayers * kBlocks * block);
        for (int layer = 0; layer < kLayers; ++layer) {
            for (int b = 0; b < kBlocks; ++b) {
                std::uint16_t* memory =
                    halves.data() + static_cast<std::size_t>(layer * kBlocks + b) * block;
                for (std::int32_t slot = 0; slot < compute::kBlockTokens; ++slot) {
                    std::uint16_t* key = memory + slot * key_dim;
                    reference->store_key(layer, {b, slot}, fill(key, key_dim, random));
                    std::uint16_t* value =
                        memory + compute::kBlockTokens * key_dim + slot * value_dim;
                    reference->store_value(layer, {b, slot}, fill(value, value_dim, random));
                }
            }
        }
        device = std::make_unique<DeviceArray<std::uint16_t>>(halves);
    }

    static std::vector<float> fill(std::uint16_t* halves, std::int64_t dim, std::mt19937& random) {
        auto values = random_halves(static_cast<std::size_t>(dim), random);
        std::ranges::transform(values, halves, compute::float_to_half);
        return values;
    }

    [[nodiscard]] CacheLayer layer() const {
        return {kLayer,
                static_cast<std::int32_t>(layout.key_dim),
                static_cast<std::int32_t>(layout.value_dim)};
    }

    compute::KvLayout layout;
    std::unique_ptr<reference::ReferenceKvStore> reference;
    std::unique_ptr<DeviceArray<std::uint16_t>> device;
};

inline reference::StepPlaces places_of(const TestStep& step) {
    return {step.positions(), step.sequence_of, step.sequences};
}

}  // namespace hearth::cuda::test

// The kernel tables that this machine can run: each test of a kernel goes through all of them.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cpu/isa.h"

namespace hearth::cpu::test {

inline std::vector<const Kernels*> runnable_kernels() {
    std::vector<const Kernels*> tables;
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::amx}) {
        if (is_supported(isa)) tables.push_back(&kernels_of(isa));
    }
    return tables;
}

/// What outputs hold before a kernel writes them: a value that no result has.
inline constexpr float kPoison = -7.7e33F;

/// Random values of a mixed size, a few of them large, as activations are.
inline std::vector<float> random_values(std::int64_t count, std::mt19937& random) {
    std::normal_distribution<float> normal(0.0F, 1.0F);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) {
        value = normal(random);
        if (random() % 61 == 0) value *= 8.0F;
    }
    return values;
}

}  // namespace hearth::cpu::test

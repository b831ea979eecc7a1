// One number that all random numbers of the CUDA tests come from. As a rule it is 0, and a test has
// the numbers it always has: what it found once it finds again. HEARTH_TEST_SEED sets another one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace hearth::test {

inline std::uint32_t test_seed() {
    static const std::uint32_t seed = [] {
        const char* text = std::getenv("HEARTH_TEST_SEED");
        const auto value =
            static_cast<std::uint32_t>(text == nullptr ? 0 : std::strtoul(text, nullptr, 10));
        if (value != 0) std::cerr << "HEARTH_TEST_SEED=" << value << std::endl;
        return value;
    }();
    return seed;
}

/// `own` itself where the seed is 0.
inline std::uint32_t seed_of(std::uint32_t own) {
    constexpr std::uint32_t kSpread = 2654435761U;  // Knuth's, so that neighbours are far apart
    return own ^ (test_seed() * kSpread);
}

}  // namespace hearth::test

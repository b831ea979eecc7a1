// Random numbers that are the same on every machine for the same seed (the standard library's
// distributions are not).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace hearth::training {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    /// 0 to bound - 1; bound is not 0.
    std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
    bool chance(double probability) {
        return static_cast<double>(next() >> 11U) * 0x1p-53 < probability;
    }

    template <typename T>
    const T& pick(const std::vector<T>& values) {
        return values[below(values.size())];
    }

    template <typename T>
    void shuffle(std::vector<T>& values) {
        for (std::size_t i = values.size(); i > 1; --i) {
            std::swap(values[i - 1], values[below(i)]);
        }
    }

  private:
    // SplitMix64: Steele, Lea, Flood, Fast splittable pseudorandom number generators, 2014.
    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15U;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
        mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
        return mixed ^ (mixed >> 31U);
    }

    std::uint64_t state_;
};

}  // namespace hearth::training

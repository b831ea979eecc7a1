// For which sizes of a step a graph is captured. Plain arithmetic; tested without a device.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace hearth::cuda {

/// A captured step: up to `tokens` tokens whose sequences have up to `splits` splits; 0: any
/// number.
struct Bucket {
    int tokens;
    int splits;
    friend bool operator==(const Bucket&, const Bucket&) = default;
};

inline constexpr std::array<int, 9> kTokenBuckets = {1, 2, 3, 4, 6, 8, 16, 32, 64};
inline constexpr std::array<int, 4> kSplitBuckets = {4, 16, 64, 256};

/// All buckets of a plan, smallest first. Those with splits have at most `split_rows_max` tokens
/// times splits; each number of tokens has one without.
std::vector<Bucket> make_buckets(int tokens_max, std::int64_t split_rows_max);

/// The place of the first bucket that serves; -1: none, too many tokens.
int find_bucket(const std::vector<Bucket>& buckets, int tokens, int splits);

}  // namespace hearth::cuda

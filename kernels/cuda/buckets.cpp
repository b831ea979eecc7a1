#include "kernels/cuda/buckets.h"

namespace hearth::cuda {

std::vector<Bucket> make_buckets(int tokens_max, std::int64_t split_rows_max) {
    std::vector<Bucket> buckets;
    for (const int tokens : kTokenBuckets) {
        if (tokens > tokens_max) break;
        for (const int splits : kSplitBuckets) {
            if (std::int64_t{tokens} * splits <= split_rows_max)
                buckets.push_back({tokens, splits});
        }
        buckets.push_back({tokens, 0});
    }
    return buckets;
}

int find_bucket(const std::vector<Bucket>& buckets, int tokens, int splits) {
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        const Bucket& bucket = buckets[i];
        const bool has_splits = bucket.splits == 0 || bucket.splits >= splits;
        if (bucket.tokens >= tokens && has_splits) return static_cast<int>(i);
    }
    return -1;
}

}  // namespace hearth::cuda

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

std::vector<ExpandedRun> find_expanded_runs(const compute::StepBatch& batch) {
    std::vector<ExpandedRun> runs;
    const std::size_t tokens = batch.tokens.size();
    for (std::size_t first = 0; first < tokens;) {
        const std::int32_t sequence = batch.sequence_of[first];
        const std::int32_t prompt =
            batch.sequences[static_cast<std::size_t>(sequence)].prompt_tokens;
        const std::int32_t groups_end = prompt - prompt % kExpandGroupTokens;
        std::size_t end = first;
        while (end < tokens && batch.sequence_of[end] == sequence &&
               batch.positions[end] < groups_end) {
            ++end;
        }
        if (end > first) {
            runs.push_back({.first = static_cast<int>(first),
                            .tokens = static_cast<int>(end - first),
                            .length = batch.positions[end - 1] + 1});
        }
        while (end < tokens && batch.sequence_of[end] == sequence) {
            ++end;
        }
        first = end;
    }
    return runs;
}

}  // namespace hearth::cuda

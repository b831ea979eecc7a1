#include "kernels/cuda/buckets.h"

#include <algorithm>

namespace hearth::cuda {

std::vector<int> split_buckets(int positions_max) {
    const int wanted =
        std::min(std::max(positions_max - 1, 0) / kSplitTokens + 1, kSplitBuckets.back());
    std::vector<int> buckets;
    for (const int splits : kSplitBuckets) {
        if (splits < wanted) buckets.push_back(splits);
    }
    buckets.push_back(wanted);
    return buckets;
}

std::vector<Bucket> make_buckets(int tokens_max, int positions_max) {
    std::vector<Bucket> buckets;
    for (const int tokens : kTokenBuckets) {
        if (tokens > tokens_max) break;
        for (const int splits : split_buckets(positions_max)) {
            buckets.push_back({tokens, splits});
        }
    }
    return buckets;
}

std::int64_t split_rows_max(int tokens_max, int positions_max, std::int64_t row_bytes) {
    if (row_bytes == 0) return 0;
    const std::int64_t splits = split_buckets(positions_max).back();
    const std::int64_t wanted = std::min(tokens_max, kTokenBuckets.back()) * splits;
    return std::max(splits, std::min(wanted, kSplitBytesMax / row_bytes));
}

int find_bucket(const std::vector<Bucket>& buckets, int tokens, int splits) {
    const auto found = std::ranges::find_if(buckets, [&](const Bucket& bucket) {
        return bucket.tokens >= tokens && bucket.splits >= splits;
    });
    return found == buckets.end() ? -1 : static_cast<int>(found - buckets.begin());
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

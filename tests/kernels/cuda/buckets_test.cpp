// For which sizes of a step graphs are captured, how much room their splits have, and that a deep
// token's graph gives the numbers of a step without one.
#include "kernels/cuda/buckets.h"

#include <numeric>
#include <vector>

#include <catch2/catch.hpp>

#include "core/model/placement.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/cuda/emulated/cuda_runtime.h"
#include "tests/support/tiny_model.h"

namespace hearth::cuda {
namespace {

TEST_CASE("a step finds the smallest bucket that holds it", "[cuda][buckets]") {
    const auto buckets = make_buckets(40, 1000);
    CHECK(buckets[0] == Bucket{1, 4});
    CHECK(buckets[1] == Bucket{1, 16});
    CHECK(buckets.back() == Bucket{32, 16});
    const auto found = [&](int tokens, int splits) {
        return buckets[static_cast<std::size_t>(find_bucket(buckets, tokens, splits))];
    };
    CHECK(found(1, 1) == Bucket{1, 4});
    CHECK(found(1, 5) == Bucket{1, 16});
    CHECK(found(5, 4) == Bucket{6, 4});
    CHECK(found(5, 16) == Bucket{6, 16});
    CHECK(found(20, 1) == Bucket{32, 4});
    CHECK(find_bucket(buckets, 33, 1) == -1);
    CHECK(find_bucket(buckets, 1, 17) == -1);
    CHECK(split_buckets(0) == std::vector{1});
    CHECK(split_buckets(64) == std::vector{1});
    CHECK(split_buckets(65) == std::vector{2});
    CHECK(split_buckets(1 << 30).back() == kSplitBuckets.back());
}

TEST_CASE("decode is captured at any depth of the longest contexts", "[cuda][buckets]") {
    const auto buckets = make_buckets(272, 163'840);
    for (const int tokens : kTokenBuckets) {
        const auto splits_at = [&, tokens](int depth) {
            const int found = find_bucket(buckets, tokens, (depth - 1) / kSplitTokens + 1);
            return found < 0 ? -1 : buckets[static_cast<std::size_t>(found)].splits;
        };
        INFO(tokens << " tokens");
        CHECK(splits_at(16'384) == 256);
        CHECK(splits_at(16'385) == 1024);
        CHECK(splits_at(65'536) == 1024);
        CHECK(splits_at(65'537) == 2560);
        CHECK(splits_at(163'840) == 2560);
        CHECK(splits_at(163'841) == -1);
    }
    CHECK(buckets.size() == 9 * 6);
}

TEST_CASE("the room of splits holds whole buckets of known models", "[cuda][buckets]") {
    // Floats that a token leaves for each split: a head's values, a maximum and a sum.
    constexpr std::int64_t kV2Lite = 4 * 16 * (512 + 2), kQwen3 = 4 * 32 * (128 + 2),
                           kV3 = 4 * 128 * (512 + 2);
    CHECK(split_rows_max(64, 163'840, kV2Lite) >= 4096);
    CHECK(split_rows_max(64, 262'144, kQwen3) >= 8192);
    // What one token needs, if that is more.
    CHECK(split_rows_max(64, 32'768, kV3) >= 512);
    CHECK(split_rows_max(64, 163'840, kV3) == 2560);
    // No more than there can be.
    CHECK(split_rows_max(64, 4096, 100) == 64 * 64);
    CHECK(split_rows_max(272, 4096, 100) == 64 * 64);
    CHECK(split_rows_max(3, 4096, 100) == 3 * 64);
    CHECK(split_rows_max(64, 4096, 0) == 0);
}

TEST_CASE("the planner counts graphs and splits as they are made", "[cuda][buckets][placement]") {
    const model::DeviceCosts costs = model::device_costs("cuda");
    CHECK(costs.graph_sizes == std::ssize(kTokenBuckets));
    CHECK(costs.split_token_max == kTokenBuckets.back());
    CHECK(costs.split_tokens == kSplitTokens);
    CHECK(costs.split_bytes == kSplitBytesMax);
    for (const int positions : {1, 256, 257, 1024, 8192, 16'385, 163'840, 262'144, 2'000'000}) {
        INFO(positions);
        const auto sizes = model::split_sizes(positions, costs.split_tokens);
        CHECK(sizes.most == split_buckets(positions).back());
        CHECK(sizes.count == std::ssize(split_buckets(positions)));
    }
}

/// Logits of one token behind `depth` others, whose rows in the cache are those of a few, copied.
std::vector<float> decode_at(const std::shared_ptr<const model::Model>& model,
                             std::int32_t depth,
                             bool has_graphs) {
    const auto backend = make_cuda_backend({.device = {}, .has_graphs = has_graphs});
    compute::Plan plan = model->plan(32);
    plan.positions_max = depth + 1;
    const auto weights = (*backend)->upload(model->weights());
    const auto program = (*backend)->compile(plan, **weights);
    REQUIRE(program);
    const auto kv = (*backend)->make_kv_store(plan.kv, depth / compute::kBlockTokens + 1);
    REQUIRE(kv);
    std::vector<std::int32_t> blocks(static_cast<std::size_t>((*kv)->block_count()));
    std::iota(blocks.begin(), blocks.end(), 0);
    const compute::SequenceView sequence{blocks};
    const auto run = [&](std::vector<std::int32_t> tokens, std::int32_t position) {
        std::vector<std::int32_t> positions(tokens.size());
        std::iota(positions.begin(), positions.end(), position);
        const std::vector<std::int32_t> sequence_of(tokens.size());
        const auto last = static_cast<std::int32_t>(tokens.size() - 1);
        const auto output = (*program)->run({.tokens = tokens,
                                             .positions = positions,
                                             .sequence_of = sequence_of,
                                             .sequences = {&sequence, 1},
                                             .logit_rows = {&last, 1}},
                                            **kv);
        REQUIRE(output);
        return std::vector<float>(output->logits.begin(), output->logits.end());
    };
    std::vector<std::int32_t> first(32);
    std::iota(first.begin(), first.end(), 7);
    run(first, 0);
    for (std::int32_t block = 2; block < (*kv)->block_count(); ++block) {
        (*kv)->copy_block(block % 2, block);
    }
    const auto before = simt::device.graph_launches;
    auto logits = run({5}, depth);
    CHECK(simt::device.graph_launches == before + (has_graphs ? 1 : 0));
    return logits;
}

TEST_CASE("a token behind 16,384 others has a graph, and the numbers of one block",
          "[cuda][backend]") {
    for (const char* architecture : {"deepseek2", "qwen3moe"}) {
        INFO(architecture);
        const auto model = test::tiny_model({.architecture = architecture, .layer_count = 1});
        CHECK(decode_at(model, 16'384, true) == decode_at(model, 16'384, false));
    }
}

}  // namespace
}  // namespace hearth::cuda

// What models of known shapes take, to the byte, and where their experts go when that is too much.
#include "core/model/placement.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/model/synthetic.h"

namespace hearth::model {
namespace {

constexpr std::int64_t kGib = std::int64_t{1} << 30;

std::shared_ptr<const Model> shaped(const char* spec) {
    return make_model(make_synthetic(spec, {.is_filled = false}).value()).value();
}

/// Nothing but the tensors: no alignment, graphs or reserve.
constexpr DeviceCosts kBare{};

struct Case {
    const char* spec;
    std::int64_t weight_bytes;
    std::int64_t cache_bytes_per_token;
};

TEST_CASE("weights and cache are counted to the byte", "[model][placement]") {
    // The cache as published: 27 layers of 576 halves, 48 of 2 * 4 * 128, 24 of 2 * 8 * 64.
    const std::vector<Case> cases = {{"deepseek-v2-lite:Q4_K_M", 10'363'959'296, 31'104},
                                     {"qwen3-30b-a3b:Q4_K_M", 18'550'716'416, 98'304},
                                     {"granite-1b:Q8_0", 1'420'500'160, 49'152},
                                     {"ds2-small:Q8_0", 109'670'400, 3'840}};
    for (const Case& each : cases) {
        const auto model = shaped(each.spec);
        const Placement placement =
            place(*model, {.free_bytes = 80 * kGib, .context_tokens = 4096, .costs = kBare});
        INFO(each.spec);
        CHECK(placement.weight_bytes == each.weight_bytes);
        CHECK(placement.cache_bytes == 4096 * each.cache_bytes_per_token);
        CHECK(placement.context_tokens == 4096);
        CHECK(placement.host_bytes == 0);
        CHECK(placement.expert_cache_bytes == 0);
        CHECK(placement.missing_bytes == 0);
        CHECK(placement.graph_bytes == 0);
    }
}

TEST_CASE("the workspace is every value of a step with memory of its own", "[model][placement]") {
    // tiny: x, normed 256; q 4 * 48; latent 272; mixed 128; gate, up 256; scores 4; experts and
    // shares 2 each. Inside: the queries in the latent space, 4 * 256, also the widest that is
    // rounded; as many mixed latents and two sums for each head. One row of 512 logits.
    const std::int64_t values = 256 + 256 + 192 + 272 + 128 + 256 + 256 + 4 + 2 + 2;
    const Placement placement =
        place(*shaped("tiny:Q8_0"), {.free_bytes = kGib, .step_tokens = 10, .costs = kBare});
    constexpr std::int64_t kStepTokens = 10;
    constexpr std::int64_t kInside = std::int64_t{4} * 256;
    CHECK(placement.workspace_bytes == kStepTokens * 4 * values + kStepTokens * 4 * kInside +
                                           kStepTokens * 4 * (kInside + 8) +
                                           kStepTokens * kInside / 32 * 36 + 2048);
}

TEST_CASE("graphs, reserve and alignment are added", "[model][placement]") {
    const auto model = shaped("tiny:Q8_0");
    const auto operations = static_cast<std::int64_t>(model->plan(1).operations.size());
    const DeviceCosts costs{.alignment_bytes = 1 << 20,
                            .graph_sizes = 3,
                            .graph_bytes_per_operation = 100,
                            .reserve_bytes = 7};
    const Placement placement = place(*model, {.free_bytes = kGib, .costs = costs});
    CHECK(placement.graph_bytes == 300 * operations);
    CHECK(placement.reserve_bytes == 7);
    // Each of its tensors is below a mebibyte.
    CHECK(placement.weight_bytes == static_cast<std::int64_t>(model->weights().size()) << 20);
    CHECK(placement.device_bytes() == placement.weight_bytes + placement.cache_bytes +
                                          placement.graph_bytes + placement.workspace_bytes + 7);
}

TEST_CASE("splits of attention are counted as deep as the context may be", "[model][placement]") {
    const DeviceCosts splitting{
        .split_tokens = 64, .split_token_max = 64, .split_bytes = std::int64_t{132} << 20};
    const auto split_bytes = [&](const char* spec, std::int32_t context) {
        const auto model = shaped(spec);
        const auto workspace = [&](const DeviceCosts& costs) {
            return place(*model,
                         {.free_bytes = 80 * kGib, .context_tokens = context, .costs = costs})
                .workspace_bytes;
        };
        return workspace(splitting) - workspace(kBare);
    };
    // For each head its latents or values, a maximum and a sum; of 64 tokens where that fits.
    CHECK(split_bytes("ds2-small:Q8_0", 4096) == std::int64_t{64} * 64 * 4 * 8 * (128 + 2));
    constexpr std::int64_t kV2Lite = 4 * 16 * (512 + 2);
    CHECK(split_bytes("deepseek-v2-lite:Q4_K_M", 163'840) ==
          (std::int64_t{132} << 20) / kV2Lite * kV2Lite);
    // One token's as a whole.
    CHECK(split_bytes("deepseek-v3-slice:Q4_K_M", 163'840) ==
          std::int64_t{2560} * 4 * 128 * (512 + 2));
}

TEST_CASE("steps are captured for every depth of the context", "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    const auto operations = static_cast<std::int64_t>(model->plan(1).operations.size());
    const DeviceCosts costs{.graph_sizes = 9, .graph_bytes_per_operation = 1, .split_tokens = 64};
    const auto graphs = [&](std::int32_t context) {
        return place(*model, {.free_bytes = 80 * kGib, .context_tokens = context, .costs = costs})
                   .graph_bytes /
               operations;
    };
    CHECK(graphs(256) == 9);
    CHECK(graphs(257) == 2 * 9);
    CHECK(graphs(16'384) == 4 * 9);
    CHECK(graphs(163'840) == 6 * 9);
    CHECK(graphs(0) == 6 * 9);
}

TEST_CASE("a block that guesses has a layer of cache and two programs", "[model][placement]") {
    const auto model = shaped("tiny-mtp:Q8_0");
    const auto plans = model->prediction(100, 8);
    REQUIRE(plans);
    const auto placed = [&](std::int32_t draft_tokens) {
        return place(*model,
                     {.free_bytes = kGib,
                      .context_tokens = 160,
                      .step_tokens = 100,
                      .draft_tokens = draft_tokens,
                      .costs = {.graph_sizes = 1, .graph_bytes_per_operation = 1}});
    };
    const Placement without = placed(0);
    const Placement with = placed(8);
    CHECK(4 * without.cache_bytes == 3 * with.cache_bytes);
    CHECK(with.graph_bytes - without.graph_bytes ==
          std::ssize(plans->store.operations) + std::ssize(plans->draft.operations));
    // At least their values.
    std::int64_t value_bytes = 0;
    for (const auto* plan : {&plans->store, &plans->draft}) {
        for (const compute::Value& value : plan->values) {
            value_bytes += std::int64_t{4} * plan->tokens_max * value.dim;
        }
    }
    CHECK(with.workspace_bytes - without.workspace_bytes > value_bytes);
    // A model without one is as it was.
    const auto plain = shaped("tiny:Q8_0");
    CHECK(place(*plain, {.free_bytes = kGib, .draft_tokens = 8, .costs = kBare}).device_bytes() ==
          place(*plain, {.free_bytes = kGib, .costs = kBare}).device_bytes());
}

TEST_CASE("the context is as long as fits, at most the model's", "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    const Placement all = place(*model, {.free_bytes = 80 * kGib, .costs = kBare});
    CHECK(all.context_tokens == 163'840);
    const Placement some = place(*model, {.free_bytes = 11 * kGib, .costs = kBare});
    const std::int64_t left = 11 * kGib - some.weight_bytes - some.workspace_bytes;
    CHECK(some.context_tokens == left / (std::int64_t{16} * 31'104) * 16);
    CHECK(some.host_bytes == 0);
    // Two sequences share the same room.
    const Placement two =
        place(*model, {.free_bytes = 11 * kGib, .sequence_count = 2, .costs = kBare});
    CHECK(two.cache_bytes == std::int64_t{2} * two.context_tokens * 31'104);
    CHECK(two.context_tokens < some.context_tokens);
}

TEST_CASE("the same bytes hold nearly twice the tokens in Q8_0", "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    const PlacementRequest halves{.free_bytes = 11 * kGib, .costs = kBare};
    PlacementRequest blocks = halves;
    blocks.costs.cache_type = compute::Dtype::q8_0;
    const Placement many = place(*model, blocks);
    // 27 layers of 18 blocks.
    CHECK(many.cache_bytes == std::int64_t{many.cache_tokens} * 27 * 18 * 34);
    const double ratio =
        many.cache_tokens / static_cast<double>(place(*model, halves).cache_tokens);
    CHECK(ratio == Approx(64.0 / 34.0).epsilon(0.001));
    CHECK(device_costs("cpu", compute::Dtype::q8_0).cache_type == compute::Dtype::q8_0);
    CHECK(device_costs("cuda", compute::Dtype::q8_0).cache_type == compute::Dtype::q8_0);
    CHECK(device_costs("reference", compute::Dtype::q8_0).cache_type == compute::Dtype::f32);
}

TEST_CASE("bytes that are left become cache for other sequences", "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    const PlacementRequest request{
        .free_bytes = 80 * kGib, .context_tokens = 1000, .cache_tokens = 32'768, .costs = kBare};
    const Placement all = place(*model, request);
    CHECK(all.context_tokens == 1000);
    CHECK(all.cache_tokens == 32'768);
    CHECK(all.host_experts.empty());
    PlacementRequest less = request;
    less.free_bytes = all.device_bytes() - 1;
    CHECK(place(*model, less).cache_tokens == 32'768 - 16);
    // Slots for experts go before.
    less.free_bytes = 6 * kGib;
    const Placement apart = place(*model, less);
    CHECK(apart.cache_tokens == 1008);
    REQUIRE(apart.host_experts.size() == 26);
    const compute::HostExperts& first = apart.host_experts.front();
    CHECK(first.slot_count == apart.expert_slots.front());
    const auto weight = [&](compute::WeightId id) {
        return model->weights()[static_cast<std::size_t>(id)].name;
    };
    CHECK(weight(first.gate) == "blk.1.ffn_gate_exps.weight");
    CHECK(weight(first.up) == "blk.1.ffn_up_exps.weight");
    CHECK(weight(first.down) == "blk.1.ffn_down_exps.weight");
    // A device that cannot leave them is short of memory.
    less.costs.can_leave_experts = false;
    CHECK(place(*model, less).missing_bytes > 0);
    less.costs.can_leave_experts = true;
    CHECK(place(*model, less).missing_bytes == 0);
}

TEST_CASE("where a model is too large, its experts move out evenly", "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    std::int64_t expert_bytes = 0;
    for (const compute::Tensor& weight : model->weights()) {
        if (weight.name.find("_exps.") != std::string::npos) {
            expert_bytes += static_cast<std::int64_t>(weight.bytes.size());
        }
    }
    std::int32_t slots_before = 64 * 26 + 1;
    for (const std::int64_t free_bytes : {9 * kGib, 6 * kGib, 4 * kGib}) {
        const Placement placement = place(*model, {.free_bytes = free_bytes, .costs = kBare});
        INFO(free_bytes);
        CHECK(placement.missing_bytes == 0);
        CHECK(placement.context_tokens == kContextTokensMin);
        CHECK(placement.host_bytes == expert_bytes);
        CHECK(placement.weight_bytes == 10'363'959'296 - expert_bytes);
        CHECK(placement.device_bytes() <= free_bytes);
        CHECK(free_bytes - placement.device_bytes() < 7'000'000);  // less than one more expert
        REQUIRE(placement.expert_slots.size() == 26);
        const auto [fewest, most] = std::ranges::minmax(placement.expert_slots);
        CHECK(fewest >= 6);
        CHECK(most - fewest <= 1);
        const std::int32_t slots =
            std::accumulate(placement.expert_slots.begin(), placement.expert_slots.end(), 0);
        CHECK(slots < slots_before);
        slots_before = slots;
    }
}

TEST_CASE("what does not fit is said in bytes", "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    const Placement short_of = place(*model, {.free_bytes = kGib, .costs = kBare});
    CHECK(short_of.missing_bytes > 0);
    CHECK(short_of.missing_bytes == short_of.device_bytes() - kGib);
    // So much more is enough, and a byte less is not.
    const std::int64_t enough = kGib + short_of.missing_bytes;
    CHECK(place(*model, {.free_bytes = enough, .costs = kBare}).missing_bytes == 0);
    CHECK(place(*model, {.free_bytes = enough - 1, .costs = kBare}).missing_bytes == 1);
    // A context that was asked for is kept.
    const Placement longer =
        place(*model, {.free_bytes = 11 * kGib, .context_tokens = 163'840, .costs = kBare});
    CHECK(longer.context_tokens == 163'840);
    CHECK(longer.host_bytes > 0);
}

TEST_CASE("the published file of V2-Lite fits a card of 12 GiB, with experts out one of 8",
          "[model][placement]") {
    const auto model = shaped("deepseek-v2-lite:Q4_K_M");
    const DeviceCosts cuda = device_costs("cuda");
    const Placement twelve = place(*model, {.free_bytes = 11 * kGib + kGib / 2, .costs = cuda});
    CHECK(twelve.host_bytes == 0);
    CHECK(twelve.context_tokens > 16'384);
    const Placement eight = place(*model, {.free_bytes = 7 * kGib + kGib / 2, .costs = cuda});
    CHECK(eight.host_bytes > 0);
    CHECK(eight.expert_slots.front() > 32);
}

TEST_CASE("steps on the host are longer where experts are many", "[model][placement]") {
    const auto tokens = [](const char* backend, const char* name) {
        return prompt_tokens_per_step(backend, shaped(name)->config());
    };
    for (const char* name : {"deepseek-v2-lite:Q4_K_M", "qwen3-30b-a3b:Q4_K_M"}) {
        CHECK(tokens("cpu", name) == 512);
        CHECK(tokens("cuda", name) == 256);
    }
    CHECK(tokens("cpu", "ds2-small:Q4_K_M") == 256);
    CHECK(tokens("reference", "ds2-small:Q4_K_M") == 128);
}

}  // namespace
}  // namespace hearth::model

// Routing and the expert block, against the reference; the same bits for any number of tokens.
#include "kernels/cuda/experts.h"

#include <cmath>

#include "kernels/cuda/compile_experts.h"
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"
#include "kernels/reference/operations.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

struct RouteCase {
    int experts = 8, chosen = 2;
    compute::Gating gating = compute::Gating::softmax;
    bool normalises = false;
    bool has_bias = false;
    int groups = 1, groups_used = 1;
    float scale = 1.0F;
};

void check_route(const RouteCase& c, std::vector<float> logits, std::mt19937& random) {
    const auto tokens = static_cast<std::int64_t>(logits.size()) / c.experts;
    const TestWeight bias(compute::Dtype::f32, {c.experts}, random);
    compute::RouteTopK op{};
    op.gating = c.gating;
    op.normalise = c.normalises;
    op.scale = c.scale;
    op.group_count = c.groups;
    op.groups_used = c.groups_used;
    const auto count = static_cast<std::size_t>(tokens * c.chosen);
    std::vector<std::int32_t> experts(count);
    std::vector<float> weights(count);
    std::vector<float> row(3 * static_cast<std::size_t>(c.experts));
    reference::Scratch scratch;
    scratch.row = row;
    reference::route_top_k(op,
                           {logits.data(), tokens, c.experts, c.experts},
                           c.has_bias ? &bias.tensor() : nullptr,
                           {experts.data(), tokens, c.chosen, c.chosen},
                           {weights.data(), tokens, c.chosen, c.chosen},
                           scratch);
    const DeviceArray<float> device_logits(logits);
    const DeviceArray<std::int32_t> device_experts(count);
    const DeviceArray<float> device_weights(count);
    const DeviceArray<std::int32_t> positions(
        std::vector<std::int32_t>(static_cast<std::size_t>(tokens)));
    StepTables step;
    step.positions = positions.data();
    require(route_top_k(
        {.logits = {device_logits.data(), c.experts},
         .bias = c.has_bias ? reinterpret_cast<const float*>(bias.matrix().quants) : nullptr,
         .experts = {device_experts.data(), c.chosen},
         .weights = {device_weights.data(), c.chosen},
         .expert_count = c.experts,
         .experts_per_token = c.chosen,
         .group_count = c.groups,
         .groups_used = c.groups_used,
         .scale = c.scale,
         .is_softmax = c.gating == compute::Gating::softmax,
         .normalises = c.normalises},
        step,
        static_cast<int>(tokens),
        kStream));
    INFO(c.experts << " experts, " << c.chosen << " chosen, groups " << c.groups);
    CHECK(device_experts.read() == experts);
    check_near(device_weights.read(), weights, 1e-5);
}

TEST_CASE("experts are chosen and weighed as by the reference", "[cuda][route]") {
    std::mt19937 random(seed_of(61));
    for (const RouteCase& c :
         {RouteCase{},
          RouteCase{.experts = 64, .chosen = 6},
          RouteCase{.experts = 160, .chosen = 8, .normalises = true, .scale = 2.5F},
          RouteCase{.experts = 5, .chosen = 5, .gating = compute::Gating::sigmoid},
          RouteCase{.experts = 64,
          .chosen = 8,
          .gating = compute::Gating::sigmoid,
          .normalises = true,
          .has_bias = true,
          .groups = 8,
          .groups_used = 4,
          .scale = 2.5F},
          RouteCase{.experts = 4, .chosen = 2, .groups = 4, .groups_used = 2},
          RouteCase{.experts = 300,
          .chosen = 40,
          .normalises = true,
          .has_bias = true,
          .groups = 50,
          .groups_used = 17},
          RouteCase{.experts = 1024, .chosen = 70, .gating = compute::Gating::sigmoid}}) {
        check_route(c, random_values(static_cast<std::size_t>(7 * c.experts), random), random);
    }
}

TEST_CASE("the router's product and the choice in one kernel", "[cuda][route]") {
    std::mt19937 random(seed_of(64));
    struct Case {
        int experts;
        std::size_t columns;
        compute::Dtype type = compute::Dtype::f32;
    };
    for (const auto& [experts, columns, type] : {Case{7, 72},
                                                 Case{64, 1304},
                                                 Case{130, 75},
                                                 Case{33, 2056, compute::Dtype::f16},
                                                 Case{257, 64, compute::Dtype::q8_0}}) {
        constexpr int kTokens = 5;
        constexpr int kChosen = 3;
        INFO(experts << " experts, " << columns << " columns");
        const auto width = static_cast<std::int64_t>(columns);
        const TestWeight router(type, {experts, width}, random);
        const auto x = random_values(kTokens * columns, random);
        const DeviceArray<float> device_x(x);
        const DeviceArray<float> logits(static_cast<std::size_t>(kTokens * experts));
        const std::vector<std::int32_t> zeros(kTokens);
        const DeviceArray<std::int32_t> done(zeros);
        const DeviceArray<std::int32_t> chosen(kTokens * kChosen);
        const DeviceArray<float> shares(kTokens * kChosen);
        const DeviceArray<std::int32_t> again(kTokens * kChosen);
        const DeviceArray<float> shares_again(kTokens * kChosen);
        const DeviceArray<std::int32_t> positions(std::vector<std::int32_t>{0, 4, -1, 9, 2});
        StepTables step;
        step.positions = positions.data();
        RouterArgs args{.route = {.logits = {logits.data(), experts},
                                  .experts = {chosen.data(), kChosen},
                                  .weights = {shares.data(), kChosen},
                                  .expert_count = experts,
                                  .experts_per_token = kChosen,
                                  .is_softmax = true},
                        .weight = router.matrix(),
                        .x = {device_x.data(), width},
                        .done = done.data()};
        for (int run = 0; run < 2; ++run) {
            require(route_from_weights(args, step, kTokens, kStream));
        }
        CHECK(done.read() == zeros);
        auto expected = products(x, router.values(), columns);
        auto found = logits.read();
        for (int i = 0; i < experts; ++i) {  // the filled row has none
            const auto place = static_cast<std::size_t>(2 * experts + i);
            REQUIRE(std::isnan(found[place]));
            found[place] = expected[place] = 0.0F;
        }
        check_near(found, expected, 1e-5);
        args.route.experts = {again.data(), kChosen};
        args.route.weights = {shares_again.data(), kChosen};
        require(route_top_k(args.route, step, kTokens, kStream));
        CHECK(chosen.read() == again.read());
        CHECK(is_same(shares.read(), shares_again.read()));
        // More tokens have their product by project_float.
        const DeviceArray<float> many(static_cast<std::size_t>(kTokens * experts));
        ProjectArgs product;
        product.parts[0] = {
            .weight = router.matrix(), .rows = experts, .out = {many.data(), experts}};
        product.part_count = 1;
        product.x_float = args.x;
        require(project_float(product, kTokens, kStream));
        auto same = many.read();
        std::fill_n(same.begin() + 2 * experts, experts, 0.0F);
        CHECK(is_same(found, same));
    }
}

TEST_CASE("of equal experts the first is chosen", "[cuda][route]") {
    std::mt19937 random(seed_of(62));
    check_route({.experts = 40, .chosen = 5}, std::vector<float>(80, 0.5F), random);
    check_route({.experts = 16, .chosen = 3, .groups = 4, .groups_used = 2},
                std::vector<float>(16, 0.5F),
                random);
}

TEST_CASE("logits that are no numbers still give places", "[cuda][route]") {
    constexpr int kExperts = 33;
    const DeviceArray<float> logits(kExperts);
    const DeviceArray<std::int32_t> experts(4);
    const DeviceArray<float> weights(4);
    const DeviceArray<std::int32_t> positions(std::vector<std::int32_t>{0});
    StepTables step;
    step.positions = positions.data();
    require(route_top_k({.logits = {logits.data(), kExperts},
                         .experts = {experts.data(), 4},
                         .weights = {weights.data(), 4},
                         .expert_count = kExperts,
                         .experts_per_token = 4,
                         .is_softmax = true},
                        step,
                        1,
                        kStream));
    CHECK(experts.read() == std::vector<std::int32_t>{0, 1, 2, 3});
    CHECK(std::isnan(weights.read()[0]));
}

void check_groups(const std::vector<std::int32_t>& choices, int expert_count, int tile_pairs) {
    INFO(choices.size() << " pairs, " << expert_count << " experts");
    const int pair_count = static_cast<int>(choices.size());
    const int tiles_max = pair_tiles_max(pair_count, tile_pairs, expert_count);
    const DeviceArray<std::int32_t> experts(choices);
    const DeviceArray<PairTile> tiles(static_cast<std::size_t>(tiles_max));
    const DeviceArray<std::int32_t> tile_count(1);
    const DeviceArray<std::int32_t> pairs(choices.size());
    require(group_pairs({.experts = {experts.data(), 2},
                         .experts_per_token = 2,
                         .expert_count = expert_count,
                         .tile_pairs = tile_pairs,
                         .out = {tiles.data(), tile_count.data(), pairs.data()}},
                        pair_count / 2,
                        kStream));
    const auto count = static_cast<std::size_t>(tile_count.read()[0]);
    REQUIRE(count <= static_cast<std::size_t>(tiles_max));
    const auto found_tiles = tiles.read();
    const auto found_pairs = pairs.read();
    std::vector<int> seen(choices.size());
    for (std::size_t i = 0; i < count; ++i) {
        CHECK((found_tiles[i].count >= 1 && found_tiles[i].count <= tile_pairs));
        for (std::int32_t j = 0; j < found_tiles[i].count; ++j) {
            const auto pair = static_cast<std::size_t>(
                found_pairs[static_cast<std::size_t>(found_tiles[i].first + j)]);
            CHECK(choices[pair] == found_tiles[i].expert);
            ++seen[pair];
        }
    }
    for (std::size_t i = 0; i < seen.size(); ++i) {
        CHECK(seen[i] == (choices[i] < 0 ? 0 : 1));
    }
}

TEST_CASE("pairs are sorted by expert and cut into tiles", "[cuda][route]") {
    check_groups({4, 0, 4, 2, -1, -1, 4, 0, 0, 4, 2, 4}, 6, 2);
    check_groups({-1, -1}, 3, 8);
    // More experts than the block has threads.
    std::mt19937 random(seed_of(65));
    std::vector<std::int32_t> choices(1500);
    for (std::int32_t& choice : choices) {
        choice = static_cast<std::int32_t>(random() % 600) - 1;
    }
    check_groups(choices, 599, 2);
}

/// An expert block with all it needs on the device.
struct Block {
    static constexpr int kExperts = 5;
    static constexpr int kChosen = 3;
    static constexpr int kTokensMax = 45;
    static constexpr int kRows = 150;  ///< more than a block of any kernel takes

    Block(compute::Dtype up_type, compute::Dtype down_type, int x_dim, int hidden_dim)
        : random(seed_of(63)),
          columns(x_dim),
          ffn_dim(hidden_dim),
          gate(up_type, {kExperts, ffn_dim, columns}, random),
          up(up_type, {kExperts, ffn_dim, columns}, random),
          down(down_type, {kExperts, kRows, ffn_dim}, random),
          x(random_values(static_cast<std::size_t>(kTokensMax * columns), random, 0.1F)),
          residual(random_values(kTokensMax * kRows, random)),
          weights(random_values(kTokensMax * kChosen, random)) {
        for (int t = 0; t < kTokensMax; ++t) {
            for (int slot = 0; slot < kChosen; ++slot) {
                // The first expert is crowded.
                choices.push_back(slot == 0 ? 0 : (t + slot * (1 + t % 2)) % (kExperts - 1) + 1);
            }
            if (choices[choices.size() - 1] == choices[choices.size() - 2]) {
                choices.back() = choices.back() % (kExperts - 1) + 1;
            }
        }
    }

    /// `inputs`: what the activations stand for.
    [[nodiscard]] std::vector<float> expected(std::vector<float> inputs, bool rounds_hidden) {
        std::vector<float> out(kTokensMax * kRows);
        std::vector<float> row(static_cast<std::size_t>(std::max(columns, ffn_dim)));
        std::vector<float> hidden(static_cast<std::size_t>(kTokensMax * ffn_dim));
        reference::experts({.x = {inputs.data(), kTokensMax, columns, columns},
                            .experts = {choices.data(), kTokensMax, kChosen, kChosen},
                            .weights = {weights.data(), kTokensMax, kChosen, kChosen},
                            .gate = gate.tensor(),
                            .up = up.tensor(),
                            .down = down.tensor(),
                            .rounds_hidden = rounds_hidden},
                           {residual.data(), kTokensMax, kRows, kRows},
                           {out.data(), kTokensMax, kRows, kRows},
                           {.row = row, .hidden = hidden, .latent = {}, .scores = {}});
        return out;
    }

    [[nodiscard]] std::vector<float> run(int tokens,
                                         bool rounds_up,
                                         bool rounds_down,
                                         const FloatRows& x_float,
                                         const Q8Rows& x_rounded) const {
        const auto pairs = static_cast<std::size_t>(tokens * kChosen);
        const auto wide = pairs * static_cast<std::size_t>(ffn_dim);
        const DeviceArray<std::int32_t> device_experts(choices);
        const DeviceArray<float> device_weights(weights);
        const DeviceArray<float> device_residual(residual);
        const DeviceArray<float> out(static_cast<std::size_t>(tokens * kRows));
        const DeviceArray<float> hidden(wide);
        const DeviceArray<std::int8_t> quants(wide);
        const DeviceArray<Q8Scale> scales(wide / kChunkWeights + 1);
        const DeviceArray<float> products(pairs * kRows);
        const DeviceArray<PairTile> tiles(kExperts + pairs);
        const DeviceArray<std::int32_t> tile_count(1);
        const DeviceArray<std::int32_t> sorted(pairs);
        const ExpertsNode node{.gate = gate.matrix(),
                               .up = up.matrix(),
                               .down = down.matrix(),
                               .expert_count = kExperts,
                               .ffn_dim = ffn_dim,
                               .x = x_float,
                               .x_rounded = x_rounded,
                               .experts = {device_experts.data(), kChosen},
                               .weights = {device_weights.data(), kChosen},
                               .residual = {device_residual.data(), kRows},
                               .out = {out.data(), kRows},
                               .rows = kRows,
                               .experts_per_token = kChosen,
                               .rounds_up = rounds_up,
                               .rounds_down = rounds_down,
                               .room = {.hidden = hidden.data(),
                                        .hidden_quants = quants.data(),
                                        .hidden_scales = scales.data(),
                                        .products = products.data(),
                                        .tiles = {tiles.data(), tile_count.data(), sorted.data()}}};
        require(run_experts(node, tokens, kStream));
        return out.read();
    }

    std::mt19937 random;
    int columns, ffn_dim;
    TestWeight gate, up, down;
    std::vector<float> x, residual, weights;
    std::vector<std::int32_t> choices;
};

void check_experts(compute::Dtype up_type, compute::Dtype down_type, int columns, int ffn_dim) {
    Block block(up_type, down_type, columns, ffn_dim);
    const DeviceArray<float> x(block.x);
    const TestQ8 rounded(Block::kTokensMax, static_cast<std::size_t>((columns + 31) / 32 * 32));
    const bool rounds_up = compute::traits(up_type).is_quantised;
    const bool rounds_down = compute::traits(down_type).is_quantised;
    if (rounds_up) require(quantise({x.data(), columns}, rounded.rows, Block::kTokensMax, kStream));
    INFO(compute::traits(up_type).name << ", " << compute::traits(down_type).name << ", " << columns
                                       << " columns, ffn_dim " << ffn_dim);
    const FloatRows x_float{x.data(), columns};
    const auto expected = block.expected(rounds_up ? rounded.values() : block.x, rounds_down);
    std::vector<float> all;
    for (const int tokens : {45, 1, 2, 14}) {
        INFO(tokens << " tokens");
        const auto found = block.run(tokens, rounds_up, rounds_down, x_float, rounded.rows);
        if (all.empty()) {
            check_near(found, expected, rounds_down ? 0.003 : 1e-4);
            all = found;
        }
        CHECK(
            is_same(found, {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(found.size())}));
    }
    // Activations as floats throughout.
    check_near(block.run(3, false, false, x_float, {}),
               {block.expected(block.x, false).data(), 3 * Block::kRows},
               1e-4);
}

TEST_CASE("expert blocks of all types, for one token and many", "[cuda][experts]") {
    using compute::Dtype;
    check_experts(Dtype::q4_k, Dtype::q5_0, 256, 96);
    check_experts(Dtype::q6_k, Dtype::q8_0, 256, 64);
    check_experts(Dtype::q5_1, Dtype::q4_0, 64, 160);
    check_experts(Dtype::q5_k, Dtype::q6_k, 256, 256);
    check_experts(Dtype::mxfp4, Dtype::mxfp4, 96, 160);
    check_experts(Dtype::mxfp4, Dtype::q8_0, 64, 32);
    check_experts(Dtype::q4_0, Dtype::mxfp4, 32, 96);
    check_experts(Dtype::q8_0, Dtype::f16, 32, 36);
    check_experts(Dtype::f16, Dtype::q8_0, 33, 32);
    check_experts(Dtype::bf16, Dtype::f32, 20, 17);
    check_experts(Dtype::f16, Dtype::f16, 64, 160);
    check_experts(Dtype::bf16, Dtype::bf16, 288, 32);
    check_experts(Dtype::bf16, Dtype::q5_0, 32, 64);
}

}  // namespace
}  // namespace hearth::cuda::test

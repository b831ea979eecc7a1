// The expert kernels of one token where there are more slots than a block has warps, a slot has no
// expert, and the shared expert is wider than the others.
#include <array>
#include <cmath>

#include "kernels/cuda/experts.h"
#include "kernels/cuda/rows.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

using compute::Dtype;

/// Gate, up and down of experts that follow each other.
struct Feed {
    Feed(std::array<Dtype, 3> types, std::int64_t count, std::int64_t dim, std::mt19937& random)
        : ffn_dim(static_cast<std::size_t>(dim)),
          gate(types[0], {count, dim, kColumns}, random),
          up(types[1], {count, dim, kColumns}, random),
          down(types[2], {count, kRows, dim}, random) {}

    static constexpr std::int64_t kColumns = 288;
    static constexpr std::int64_t kRows = 23;

    static std::span<const float> expert_of(const TestWeight& weight,
                                            std::size_t expert,
                                            std::size_t rows) {
        const auto values = rows * static_cast<std::size_t>(weight.matrix().columns);
        return weight.values().subspan(expert * values, values);
    }
    /// silu(gate x) * (up x)
    [[nodiscard]] std::vector<float> hidden(std::size_t expert, std::span<const float> x) const {
        const auto gates = products(x, expert_of(gate, expert, ffn_dim), kColumns);
        auto out = products(x, expert_of(up, expert, ffn_dim), kColumns);
        for (std::size_t i = 0; i < ffn_dim; ++i) {
            out[i] *= gates[i] / (1.0F + std::exp(-gates[i]));
        }
        return out;
    }
    /// Checks what the first kernel gave and adds what the second should make of it.
    void check_and_add(std::size_t expert,
                       std::span<const float> x,
                       std::span<const float> found,
                       float share,
                       std::vector<float>& out) const {
        check_near(found, hidden(expert, x), 0.05);  // rounded to eight bits
        const auto part = products(found, expert_of(down, expert, kRows), ffn_dim);
        for (std::size_t i = 0; i < kRows; ++i) {
            out[i] += share * part[i];
        }
    }

    std::size_t ffn_dim;
    TestWeight gate, up, down;
};

/// One token with ten slots of twelve experts, and one for all tokens.
struct OneToken {
    static constexpr int kChosen = 10;
    static constexpr int kFfnDim = 1056;
    static constexpr int kSharedDim = 1120;
    static constexpr std::size_t kNobody = 4;

    explicit OneToken(std::array<Dtype, 3> routed_types)
        : routed(routed_types, 12, kFfnDim, random) {
        shares[kNobody] = std::nanf("");
        require(quantise({x.data(), Feed::kColumns}, rounded.rows, 1, kStream));
    }

    void run(float* out) const {
        const DeviceArray<std::int32_t> experts(choices);
        const DeviceArray<float> weights(shares);
        const DeviceArray<float> device_residual(residual);
        const SharedExpert every{.gate = shared.gate.matrix(),
                                 .up = shared.up.matrix(),
                                 .down = shared.down.matrix(),
                                 .hidden = shared_hidden.rows,
                                 .ffn_dim = kSharedDim};
        require(experts_up_one({.gate = routed.gate.matrix(),
                                .up = routed.up.matrix(),
                                .experts = {experts.data(), kChosen},
                                .x = rounded.rows,
                                .x_float = {},
                                .ffn_dim = kFfnDim,
                                .experts_per_token = kChosen,
                                .hidden = {},
                                .rounded = hidden.rows,
                                .shared = every,
                                .tiles = {}},
                               kStream));
        require(experts_down_one({.down = routed.down.matrix(),
                                  .experts = {experts.data(), kChosen},
                                  .weights = {weights.data(), kChosen},
                                  .hidden = hidden.rows,
                                  .hidden_float = {},
                                  .rows = Feed::kRows,
                                  .experts_per_token = kChosen,
                                  .residual = {device_residual.data(), Feed::kRows},
                                  .out = {out, Feed::kRows},
                                  .shared = every,
                                  .products = {},
                                  .tiles = {}},
                                 kStream));
    }

    std::mt19937 random{seed_of(65)};
    Feed routed;
    Feed shared{{Dtype::q8_0, Dtype::mxfp4, Dtype::q8_0}, 1, kSharedDim, random};
    std::vector<std::int32_t> choices = {7, 0, 11, 3, -1, 2, 9, 5, 1, 10};
    std::vector<float> shares = random_values(kChosen, random);
    std::vector<float> residual = random_values(Feed::kRows, random);
    DeviceArray<float> x{random_values(Feed::kColumns, random)};
    TestQ8 rounded{1, Feed::kColumns};
    TestQ8 hidden{kChosen, kFfnDim};
    TestQ8 shared_hidden{1, kSharedDim};
};

void check_one_token(std::array<Dtype, 3> routed_types) {
    INFO(compute::traits(routed_types[0]).name << " and others");
    const OneToken token(routed_types);
    const DeviceArray<float> out(Feed::kRows + 3);
    token.run(out.data());
    const auto inputs = token.rounded.values();
    const auto hidden = token.hidden.values();
    auto expected = token.residual;
    for (std::size_t slot = 0; slot < OneToken::kChosen; ++slot) {
        if (slot == OneToken::kNobody) continue;
        INFO("slot " << slot);
        const auto expert = static_cast<std::size_t>(token.choices[slot]);
        const std::span<const float> row(hidden.data() + slot * OneToken::kFfnDim,
                                         OneToken::kFfnDim);
        token.routed.check_and_add(expert, inputs, row, token.shares[slot], expected);
    }
    token.shared.check_and_add(0, inputs, token.shared_hidden.values(), 1.0F, expected);
    auto found = out.read();
    CHECK(std::isnan(found[Feed::kRows]));
    found.resize(Feed::kRows);
    check_near(found, expected, 1e-5);
}

TEST_CASE("more slots than a block has warps, and one of nobody", "[cuda][experts]") {
    check_one_token({Dtype::q5_1, Dtype::q4_0, Dtype::q5_0});
    check_one_token({Dtype::mxfp4, Dtype::mxfp4, Dtype::mxfp4});
}

}  // namespace
}  // namespace hearth::cuda::test

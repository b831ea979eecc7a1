// Which norms are left to their readers, and that these give the bits of a norm with a kernel of
// its own.
#include "kernels/cuda/norm_readers.h"

#include <vector>

#include "kernels/cuda/experts.h"
#include "kernels/cuda/project.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/rows.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

using compute::Project;
using compute::RmsNorm;
using compute::Slice;

/// x -> normed -> two products -> x, with the norm in front; each test changes one thing.
struct NormedPlan {
    NormedPlan() {
        x = plan.add_value("x", 64);
        normed = plan.add_value("normed", 64);
        wide = plan.add_value("wide", 96);
        plan.operations = {
            RmsNorm{.x = x, .weight = 0, .out = normed, .group_dim = 64, .epsilon = 0},
            Project{.x = normed, .weight = 1, .out = {wide.id, 0, 48}},
            Project{.x = normed, .weight = 2, .out = {wide.id, 48, 48}},
            Project{.x = wide, .weight = 3, .out = x, .residual = x},
            RmsNorm{.x = x, .weight = 0, .out = normed, .group_dim = 64, .epsilon = 0},
            compute::Logits{.x = normed, .weight = 4}};
    }
    [[nodiscard]] bool is_left(std::size_t norm = 0) const {
        return readers_can_norm(plan, norm, [this](std::size_t first) -> std::size_t {
            if (std::holds_alternative<compute::Experts>(plan.operations[first])) return span;
            return std::holds_alternative<Project>(plan.operations[first]) ? 1 : 0;
        });
    }
    RmsNorm& norm() { return std::get<RmsNorm>(plan.operations[0]); }
    Project& product(std::size_t i) { return std::get<Project>(plan.operations[i]); }

    compute::Plan plan;
    Slice x, normed, wide;
    std::size_t span = 1;
};

TEST_CASE("a norm is left to its readers where all of them can norm", "[cuda][norm_readers]") {
    NormedPlan sound;
    CHECK(sound.is_left());
    CHECK_FALSE(sound.is_left(4));  // read by the logits
    NormedPlan in_place;
    in_place.norm().out = in_place.norm().x = in_place.normed;
    CHECK(in_place.is_left());
}

TEST_CASE("a norm keeps its kernel where a reader needs it", "[cuda][norm_readers]") {
    NormedPlan c;
    SECTION("of heads") {
        c.norm().group_dim = 32;
    }
    SECTION("onto a part of itself") {
        c.norm().x = {c.wide.id, 0, 64}, c.norm().out = c.wide;
    }
    SECTION("from an odd column on") {
        c.norm().x = {c.wide.id, 2, 64};
    }
    SECTION("a reader of a part") {
        c.product(1).x = {c.normed.id, 0, 32};
    }
    SECTION("a reader that cannot") {
        c.plan.operations[2] = compute::Add{.a = c.normed, .b = c.normed, .out = c.wide};
    }
    SECTION("a reader after the norm's input has changed") {
        std::swap(c.plan.operations[2], c.plan.operations[3]);
    }
    SECTION("a reader that writes over the norm's input") {
        c.product(1).out = c.x;
        c.plan.operations.erase(c.plan.operations.begin() + 2);
    }
    SECTION("a step hands it out") {
        c.plan.operations.erase(c.plan.operations.begin() + 4);
        std::get<compute::Logits>(c.plan.operations.back()).x = c.x;
        REQUIRE(c.is_left());
        c.plan.rows_out = c.normed;
    }
    SECTION("a part of it is replaced") {
        c.product(2).out = {c.normed.id, 0, 48};
    }
    CHECK_FALSE(c.is_left());
}

TEST_CASE("an expert block may write over what was normed, and takes the shared expert along",
          "[cuda][norm_readers]") {
    NormedPlan c;
    const Slice experts = c.plan.add_value("experts", 2, compute::Dtype::i32);
    const Slice shares = c.plan.add_value("shares", 2);
    c.plan.operations[1] = compute::Experts{.x = c.normed,
                                            .experts = experts,
                                            .weights = shares,
                                            .out = c.x,
                                            .gate = 5,
                                            .up = 6,
                                            .down = 7,
                                            .residual = c.x};
    CHECK_FALSE(c.is_left());
    c.span = 2;  // the second product is the block's
    CHECK(c.is_left());
}

/// A row and its norm by a kernel of its own, as floats and rounded.
struct NormedRow {
    NormedRow(int columns, std::mt19937& random)
        : x(random_values(static_cast<std::size_t>(columns), random, 3.0F)),
          weight(random_values(static_cast<std::size_t>(columns), random)),
          normed(static_cast<std::size_t>(columns)),
          rounded(1, static_cast<std::size_t>(columns)),
          input{x.data(), weight.data(), columns, 1e-5F} {
        require(rms_norm({.x = {x.data(), columns},
                          .weight = weight.data(),
                          .out = {normed.data(), columns},
                          .rounded = rounded.rows,
                          .groups = 1,
                          .group_dim = columns,
                          .epsilon = 1e-5F},
                         1,
                         kStream));
    }

    DeviceArray<float> x, weight, normed;
    TestQ8 rounded;
    NormInput input;
};

TEST_CASE("a product that norms its input has the bits of one behind a norm",
          "[cuda][norm_readers]") {
    std::mt19937 random(seed_of(71));
    for (const int columns : {32, 96, 256, 1280, 2080, 4096}) {
        INFO(columns << " columns");
        constexpr int kRows = 21;
        const NormedRow row(columns, random);
        const TestWeight weight(compute::Dtype::q8_0, {kRows, columns}, random);
        const auto run = [&](const Q8Rows& x, const NormInput& norm) {
            const DeviceArray<float> out(kRows);
            ProjectArgs args;
            args.parts[0] = {.weight = weight.matrix(), .rows = kRows, .out = {out.data(), kRows}};
            args.part_count = 1;
            args.x = x;
            args.norm = norm;
            require(project_q8(args, 1, kStream));
            return out.read();
        };
        const auto expected = run(row.rounded.rows, {});
        CHECK(std::isfinite(expected[0]));
        CHECK(is_same(run({.columns = columns}, row.input), expected));
    }
}

TEST_CASE("experts that norm their input have the bits of those behind a norm",
          "[cuda][norm_readers]") {
    std::mt19937 random(seed_of(72));
    constexpr int kColumns = 288;
    constexpr int kFfnDim = 64;
    constexpr int kChosen = 2;
    const NormedRow row(kColumns, random);
    const TestWeight gate(compute::Dtype::q5_0, {4, kFfnDim, kColumns}, random);
    const TestWeight up(compute::Dtype::q8_0, {4, kFfnDim, kColumns}, random);
    const DeviceArray<std::int32_t> experts(std::vector<std::int32_t>{3, 1});
    const auto run = [&](const Q8Rows& x, const NormInput& norm) {
        const DeviceArray<float> hidden(kChosen * kFfnDim);
        require(experts_up_one({.gate = gate.matrix(),
                                .up = up.matrix(),
                                .experts = {experts.data(), kChosen},
                                .x = x,
                                .norm = norm,
                                .x_float = {},
                                .ffn_dim = kFfnDim,
                                .experts_per_token = kChosen,
                                .hidden = {hidden.data(), kFfnDim},
                                .tiles = {}},
                               kStream));
        return hidden.read();
    };
    const auto expected = run(row.rounded.rows, {});
    CHECK(std::isfinite(expected[0]));
    CHECK(is_same(run({.columns = kColumns}, row.input), expected));
}

TEST_CASE("a router that norms its input has the bits of one behind a norm",
          "[cuda][norm_readers]") {
    std::mt19937 random(seed_of(73));
    constexpr int kExperts = 19;
    constexpr int kColumns = 416;
    const NormedRow row(kColumns, random);
    const TestWeight router(compute::Dtype::f32, {kExperts, kColumns}, random);
    const DeviceArray<std::int32_t> done(std::vector<std::int32_t>{0});
    const DeviceArray<std::int32_t> positions(std::vector<std::int32_t>{5});
    StepTables step;
    step.positions = positions.data();
    const auto run = [&](const FloatRows& x, const NormInput& norm) {
        const DeviceArray<float> logits(kExperts);
        const DeviceArray<std::int32_t> chosen(2);
        const DeviceArray<float> shares(2);
        require(route_from_weights({.route = {.logits = {logits.data(), kExperts},
                                              .experts = {chosen.data(), 2},
                                              .weights = {shares.data(), 2},
                                              .expert_count = kExperts,
                                              .experts_per_token = 2,
                                              .is_softmax = true},
                                    .weight = router.matrix(),
                                    .x = x,
                                    .norm = norm,
                                    .done = done.data()},
                                   step,
                                   1,
                                   kStream));
        auto values = logits.read();
        for (const float share : shares.read()) {
            values.push_back(share);
        }
        return values;
    };
    const auto expected = run({row.normed.data(), kColumns}, {});
    CHECK(std::isfinite(expected[0]));
    CHECK(is_same(run({}, row.input), expected));
}

}  // namespace
}  // namespace hearth::cuda::test

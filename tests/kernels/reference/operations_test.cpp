// The operations against numbers worked out by hand or by another formula.
#include "kernels/reference/operations.h"

#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::reference {
namespace {

using compute::Dtype;
using compute::Tensor;

/// An activation with its memory: (rows, dim), with a gap behind each row that must stay 7.
struct Rows {
    Rows(std::int64_t rows, std::int64_t dim, std::vector<float> values = {})
        : view{.rows = rows, .dim = dim, .stride = dim + 3},
          memory(static_cast<std::size_t>(rows * (dim + 3)), 7.0F) {
        view.data = memory.data();
        for (std::int64_t t = 0; t < rows; ++t) {
            for (std::size_t i = 0; i < static_cast<std::size_t>(dim); ++i) {
                const std::size_t from = static_cast<std::size_t>(t * dim) + i;
                view.row(t)[i] = from < values.size() ? values[from] : 0.0F;
            }
        }
    }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    [[nodiscard]] std::vector<float> values() const {
        std::vector<float> values;
        for (std::int64_t t = 0; t < view.rows; ++t) {
            const auto row = view.row(t);
            values.insert(values.end(), row.begin(), row.end());
        }
        for (std::size_t i = 0; i < memory.size(); ++i) {
            const auto column = static_cast<std::int64_t>(i) % view.stride;
            if (column >= view.dim) CHECK(memory[i] == 7.0F);
        }
        return values;
    }

    Floats view;
    std::vector<float> memory;
};

struct Weight {
    Weight(compute::Shape shape, std::vector<float> from)
        : values(std::move(from)),
          tensor{"w", Dtype::f32, shape, std::as_bytes(std::span(values))} {}

    std::vector<float> values;
    Tensor tensor;
};

struct ScratchMemory {
    std::vector<float> row = std::vector<float>(64);
    std::vector<float> hidden = std::vector<float>(64);
    std::vector<float> latent = std::vector<float>(256);

    [[nodiscard]] Scratch scratch(ReferenceKvStore* kv = nullptr) {
        return {row, hidden, latent, kv != nullptr ? kv->scores() : std::span<float>{}};
    }
};

void check_close(const std::vector<float>& actual, const std::vector<double>& expected) {
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        INFO("at " << i);
        CHECK(static_cast<double>(actual[i]) == Approx(expected[i]).margin(1e-6));
    }
}

double silu(double x) {
    return x / (1.0 + std::exp(-x));
}

TEST_CASE("embed takes the tokens' rows and scales them", "[reference]") {
    const Weight table({3, 2}, {1, 2, 3, 4, 5, 6});
    const Rows out(2, 2);
    embed({.table = 0, .out = {}, .scale = 2.0F},
          std::vector<std::int32_t>{2, 0},
          table.tensor,
          out.view);
    check_close(out.values(), {10, 12, 2, 4});
}

TEST_CASE("rms_norm divides each group by its root mean square", "[reference]") {
    const Weight weight({2}, {1, 10});
    const Rows x(1, 4, {3, 4, 0, 2});
    rms_norm({.x = {}, .weight = 0, .out = {}, .group_dim = 2, .epsilon = 1e-12F},
             x.view,
             weight.tensor,
             x.view);
    check_close(x.values(), {3 / std::sqrt(12.5), 40 / std::sqrt(12.5), 0, 20 / std::sqrt(2.0)});
}

TEST_CASE("rms_norm of zeros is zero", "[reference]") {
    const Weight weight({2}, {1, 1});
    const Rows x(1, 2);
    rms_norm({.x = {}, .weight = 0, .out = {}, .group_dim = 2, .epsilon = 1e-6F},
             x.view,
             weight.tensor,
             x.view);
    check_close(x.values(), {0, 0});
}

TEST_CASE("project multiplies by rows and adds bias and residual", "[reference]") {
    ScratchMemory memory;
    const Weight weight({2, 3}, {1, 2, 3, 4, 5, 6});
    const Weight bias({2}, {100, 200});
    const Rows x(2, 3, {1, 0, 0, 1, 1, 1});
    const Rows out(2, 2, {0.5F, 0.25F, 0.5F, 0.25F});
    project(x.view, weight.tensor, &bias.tensor, out.view, out.view, memory.scratch());
    check_close(out.values(), {101.5, 204.25, 106.5, 215.25});
    project(x.view, weight.tensor, nullptr, {}, out.view, memory.scratch());
    check_close(out.values(), {1, 4, 6, 15});
}

TEST_CASE("rope rotates pairs by position, in both styles, and leaves the rest", "[reference]") {
    const float angle = 0.5F;
    const double c = std::cos(1.5);
    const double s = std::sin(1.5);
    const std::vector<std::int32_t> positions = {3};
    const Rows interleaved(1, 8, {9, 1, 2, 3, 9, 4, 5, 6});
    compute::Rope op{.x = {},
                     .heads = 2,
                     .head_dim = 4,
                     .rotate_offset = 1,
                     .style = compute::RopeStyle::interleaved,
                     .frequencies = {angle}};
    rope(op, positions, interleaved.view);
    check_close(interleaved.values(),
                {9, c - 2 * s, s + 2 * c, 3, 9, 4 * c - 5 * s, 4 * s + 5 * c, 6});
    const Rows halves(1, 4, {1, 2, 3, 4});
    op.heads = 1;
    op.rotate_offset = 0;
    op.style = compute::RopeStyle::halves;
    op.frequencies = {angle, 0.0F};
    op.magnitude = 2.0F;
    rope(op, positions, halves.view);
    check_close(halves.values(), {2 * (c - 3 * s), 4, 2 * (s + 3 * c), 8});
}

TEST_CASE("attention_gqa reads the whole sequence through its block table", "[reference]") {
    // Two query heads share one key head; 17 tokens cross a block border.
    const std::int32_t count = 17;
    auto kv = ReferenceKvStore::make({.layer_count = 2, .key_dim = 1, .value_dim = 1}, 3).value();
    ScratchMemory memory;
    const std::vector<std::int32_t> blocks = {2, 0};
    const std::vector<compute::SequenceView> sequences = {{blocks}};
    std::vector<std::int32_t> positions;
    std::vector<float> keys;
    std::vector<float> values;
    std::vector<float> queries;
    for (std::int32_t i = 0; i < count; ++i) {
        positions.push_back(i);
        keys.push_back(0.1F * static_cast<float>(i));
        values.push_back(static_cast<float>(i * i));
        queries.insert(queries.end(), {1.0F, -2.0F});
    }
    const Rows q(count, 2, queries);
    const Rows k(count, 1, keys);
    const Rows v(count, 1, values);
    const Rows out(count, 2);
    const std::vector<std::int32_t> sequence_of(static_cast<std::size_t>(count), 0);
    attention_gqa({.q = {},
                   .k = {},
                   .v = {},
                   .out = {},
                   .layer = 1,
                   .heads = 2,
                   .kv_heads = 1,
                   .head_dim = 1,
                   .value_dim = 1,
                   .scale = 0.5F},
                  {q.view, k.view, v.view},
                  {positions, sequence_of, sequences},
                  *kv,
                  out.view,
                  memory.scratch(kv.get()));
    std::vector<double> expected;
    for (std::int32_t t = 0; t < count; ++t) {
        for (const double query : {1.0, -2.0}) {
            double sum = 0.0;
            double weighted = 0.0;
            for (std::int32_t p = 0; p <= t; ++p) {
                const double weight = std::exp(0.5 * query * 0.1 * p);
                sum += weight;
                weighted += weight * p * p;
            }
            expected.push_back(weighted / sum);
        }
    }
    check_close(out.values(), expected);
    CHECK(kv->value(1, {.block = 0, .slot = 0})[0] == 256.0F);
    CHECK(kv->value(0, {.block = 0, .slot = 0})[0] == 0.0F);
    kv->copy_block(0, 1);
    CHECK(kv->value(1, {.block = 1, .slot = 0})[0] == 256.0F);
}

TEST_CASE("attention_mla equals attention over the unpacked keys and values", "[reference]") {
    // One head: nope 2, rope 1, latent 2, value 1; three tokens.
    const Weight k_up({1, 2, 2}, {0.5F, -1, 2, 0.25F});  // key_nope = latent * k_up
    const Weight v_up({1, 1, 2}, {3, -2});               // value = latent . v_up
    auto kv = ReferenceKvStore::make({.layer_count = 1, .key_dim = 3, .value_dim = 0}, 1).value();
    ScratchMemory memory;
    const std::vector<float> latents = {1, 0, 0.3F, 0, 1, -0.2F, 1, 1, 0.1F};
    const std::vector<float> queries = {0.1F, 0.2F, 0.3F, -0.4F, 0.5F, 0.6F, 0.7F, -0.8F, 0.9F};
    const Rows q(3, 3, queries);
    const Rows latent(3, 3, latents);
    const Rows out(3, 1);
    const std::vector<std::int32_t> blocks = {0};
    const std::vector<compute::SequenceView> sequences = {{blocks}};
    attention_mla(
        {.q = {},
         .latent = {},
         .out = {},
         .k_up = 0,
         .v_up = 0,
         .layer = 0,
         .heads = 1,
         .nope_dim = 2,
         .rope_dim = 1,
         .latent_dim = 2,
         .value_dim = 1,
         .scale = 0.7F},
        {q.view, latent.view, k_up.tensor, v_up.tensor},
        {std::vector<std::int32_t>{0, 1, 2}, std::vector<std::int32_t>{0, 0, 0}, sequences},
        *kv,
        out.view,
        memory.scratch(kv.get()));
    std::vector<double> expected;
    for (std::size_t t = 0; t < 3; ++t) {
        double sum = 0.0;
        double weighted = 0.0;
        for (std::size_t p = 0; p <= t; ++p) {
            const double a = static_cast<double>(latents[3 * p]);
            const double b = static_cast<double>(latents[3 * p + 1]);
            const double key[3] = {
                0.5 * a + 2 * b, -a + 0.25 * b, static_cast<double>(latents[3 * p + 2])};
            double score = 0.0;
            for (std::size_t i = 0; i < 3; ++i) {
                score += 0.7 * static_cast<double>(queries[3 * t + i]) * key[i];
            }
            sum += std::exp(score);
            weighted += std::exp(score) * (3 * a - 2 * b);
        }
        expected.push_back(weighted / sum);
    }
    check_close(out.values(), expected);
}

struct RouteCase {
    std::string what;
    compute::RouteTopK op;
    std::vector<float> logits;
    std::vector<float> bias;  ///< empty: none
    std::vector<std::int32_t> experts;
    std::vector<double> weights;
};

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

TEST_CASE("route_top_k picks as the published routers do", "[reference]") {
    using compute::Gating;
    const double all = std::exp(1.0) + std::exp(2.0) + std::exp(0.0) + std::exp(2.0);
    const std::vector<RouteCase> cases = {
        {"softmax over all, ties to the lower index",
         {.logits = {},
          .experts = {},
          .weights = {},
          .gating = Gating::softmax,
          .normalise = false},
         {1, 2, 0, 2},
         {},
         {1, 3},
         {std::exp(2.0) / all, std::exp(2.0) / all}},
        {"softmax, normalised and scaled",
         {.logits = {},
          .experts = {},
          .weights = {},
          .gating = Gating::softmax,
          .normalise = true,
          .scale = 3.0F},
         {1, 2, 0, 2},
         {},
         {1, 3},
         {1.5, 1.5}},
        {"the bias chooses, the plain score weighs",
         {.logits = {},
          .experts = {},
          .weights = {},
          .gating = Gating::sigmoid,
          .normalise = true,
          .scale = 2.5F},
         {0, 1, 2, 3},
         {9, 0, 0, 0},
         {0, 3},
         {2.5 * 0.5 / (0.5 + sigmoid(3)), 2.5 * sigmoid(3) / (0.5 + sigmoid(3))}},
        {"groups compete by the sum of their two best",
         {.logits = {},
          .experts = {},
          .weights = {},
          .gating = Gating::sigmoid,
          .normalise = false,
          .group_count = 2,
          .groups_used = 1},
         {3, -9, -9, 1, 1, -9},
         {},
         {3, 4},
         {sigmoid(1), sigmoid(1)}},
        {"of equal groups the lower one wins",
         {.logits = {},
          .experts = {},
          .weights = {},
          .gating = Gating::sigmoid,
          .normalise = false,
          .group_count = 2,
          .groups_used = 1},
         {1, 0, 0, 1},
         {},
         {0, 1},
         {sigmoid(1), 0.5}},
        {"a vanishing sum is floored",
         {.logits = {}, .experts = {}, .weights = {}, .gating = Gating::sigmoid, .normalise = true},
         {-40, -50},
         {},
         {0, 1},
         {sigmoid(-40) / 6.103515625e-5, sigmoid(-50) / 6.103515625e-5}},
        {"scores that are no numbers still give experts",
         {.logits = {},
          .experts = {},
          .weights = {},
          .gating = Gating::sigmoid,
          .normalise = false},
         {NAN, NAN, 1},
         {},
         {0, 1},
         {}},
    };
    for (const RouteCase& each : cases) {
        INFO(each.what);
        ScratchMemory memory;
        const Rows logits(1, static_cast<std::int64_t>(each.logits.size()), each.logits);
        const Weight bias({static_cast<std::int64_t>(each.bias.size())}, each.bias);
        std::vector<std::int32_t> experts(2, -1);
        const Rows weights(1, 2);
        route_top_k(each.op,
                    logits.view,
                    each.bias.empty() ? nullptr : &bias.tensor,
                    {.data = experts.data(), .rows = 1, .dim = 2, .stride = 2},
                    weights.view,
                    memory.scratch());
        CHECK(experts == each.experts);
        if (!each.weights.empty()) check_close(weights.values(), each.weights);
    }
}

TEST_CASE("experts sums the chosen ones onto the residual", "[reference]") {
    ScratchMemory memory;
    // Three experts of ffn 1 over x of 2: gate e = (e, 0), up e = (0, 1), down e = (1, -e).
    const Weight gate({3, 1, 2}, {0, 0, 1, 0, 2, 0});
    const Weight up({3, 1, 2}, {0, 1, 0, 1, 0, 1});
    const Weight down({3, 2, 1}, {1, 0, 1, -1, 1, -2});
    const Rows x(2, 2, {1, 3, -1, 2});
    std::vector<std::int32_t> chosen = {2, 1, 0, 2};
    const Rows weights(2, 2, {0.5F, 0.25F, 1.0F, 2.0F});
    const Rows residual(2, 2, {10, 20, 30, 40});
    const Rows out(2, 2);
    const Ints numbers{.data = chosen.data(), .rows = 2, .dim = 2, .stride = 2};
    experts({x.view, numbers, weights.view, gate.tensor, up.tensor, down.tensor},
            residual.view,
            out.view,
            memory.scratch());
    const double e2 = 0.5 * silu(2) * 3;
    const double e1 = 0.25 * silu(1) * 3;
    const double f2 = 2.0 * silu(-2) * 2;
    check_close(out.values(), {10 + e2 + e1, 20 - 2 * e2 - e1, 30 + f2, 40 - 2 * f2});
    experts({x.view, numbers, weights.view, gate.tensor, up.tensor, down.tensor},
            {},
            out.view,
            memory.scratch());
    check_close(out.values(), {e2 + e1, -2 * e2 - e1, f2, -2 * f2});
}

TEST_CASE("swiglu, add and logits", "[reference]") {
    ScratchMemory memory;
    const Rows a(1, 2, {1, -2});
    const Rows b(1, 2, {3, 4});
    const Rows out(1, 2);
    swiglu(a.view, b.view, out.view);
    check_close(out.values(), {silu(1) * 3, silu(-2) * 4});
    add(a.view, b.view, a.view);
    check_close(a.values(), {4, 2});
    const Weight head({3, 2}, {1, 0, 0, 1, 1, 1});
    const Rows x(3, 2, {1, 2, 3, 4, 5, 6});
    const Rows rows(2, 3);
    logits({.x = {}, .weight = 0, .scale = 2.0F},
           x.view,
           std::vector<std::int32_t>{0, 2},
           head.tensor,
           rows.view,
           memory.scratch());
    check_close(rows.values(), {2, 4, 6, 10, 12, 22});
}

TEST_CASE("an F16 cache holds halves where it is asked to", "[reference]") {
    const compute::KvLayout layout{.layer_count = 1, .key_dim = 2, .value_dim = 1};
    auto exact = ReferenceKvStore::make(layout, 1).value();
    auto halves = ReferenceKvStore::make(layout, 1, true).value();
    for (ReferenceKvStore* store : {exact.get(), halves.get()}) {
        store->store_key(0, {0, 3}, std::vector<float>{1.0F, 0.1F});
        store->store_value(0, {0, 3}, std::vector<float>{-2049.0F});
    }
    CHECK(exact->key(0, {0, 3})[1] == 0.1F);
    CHECK(halves->key(0, {0, 3})[0] == 1.0F);
    CHECK(halves->key(0, {0, 3})[1] == 0.0999755859375F);
    CHECK(halves->value(0, {0, 3})[0] == -2048.0F);
}

TEST_CASE("so does a cache in Q8_0, once more", "[reference]") {
    const compute::KvLayout layout{
        .layer_count = 1, .key_dim = 2, .value_dim = 0, .dtype = compute::Dtype::q8_0};
    auto floats = ReferenceKvStore::make(layout, 1).value();
    auto halves = ReferenceKvStore::make(layout, 1, true).value();
    for (ReferenceKvStore* store : {floats.get(), halves.get()}) {
        store->store_key(0, {0, 3}, std::vector<float>{1.0F, 0.1F});
    }
    CHECK(floats->key(0, {0, 3})[0] == 127.0F * 0.00787353515625F);
    CHECK(halves->key(0, {0, 3})[0] == 1.0F);
}

TEST_CASE("a cache that cannot be is refused", "[reference]") {
    CHECK_FALSE(ReferenceKvStore::make({.layer_count = 1, .key_dim = 4, .value_dim = 4}, 0));
    CHECK_FALSE(ReferenceKvStore::make({.layer_count = 0, .key_dim = 4, .value_dim = 4}, 4));
}

}  // namespace
}  // namespace hearth::reference

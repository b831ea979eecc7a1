#include "core/compute/plan.h"

#include <functional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::compute {
namespace {

/// One layer of every kind of operation, small and valid; tests break one thing in it.
struct Sample {
    std::vector<std::byte> zeros = std::vector<std::byte>(1 << 16);
    std::vector<Tensor> weights;
    Plan plan;

    WeightId weight(std::string name, Shape shape, Dtype dtype = Dtype::f32) {
        const std::int64_t rows = shape.elements() / shape.dim(-1);
        const auto size = static_cast<std::size_t>(rows * row_bytes(dtype, shape.dim(-1)));
        weights.push_back(Tensor{std::move(name), dtype, shape, std::span(zeros).first(size)});
        return static_cast<WeightId>(weights.size() - 1);
    }
    template <typename T>
    T& op() {
        for (Operation& operation : plan.operations) {
            if (auto* found = std::get_if<T>(&operation)) return *found;
        }
        throw std::logic_error("no such operation");
    }
    Tensor& named(const std::string& name) {
        for (Tensor& tensor : weights) {
            if (tensor.name == name) return tensor;
        }
        throw std::logic_error("no such weight");
    }
};

constexpr std::int64_t kHidden = 32;
constexpr std::int64_t kVocab = 64;

Sample gqa_sample() {
    Sample s;
    Plan& plan = s.plan;
    plan.tokens_max = 4;
    plan.vocab_size = kVocab;
    plan.kv = {.layer_count = 1, .key_dim = 16, .value_dim = 16};
    const Slice x = plan.add_value("x", kHidden);
    const Slice normed = plan.add_value("normed", kHidden);
    const Slice qkv = plan.add_value("qkv", 64);
    const Slice q{qkv.id, 0, 32};
    const Slice k{qkv.id, 32, 16};
    const Slice v{qkv.id, 48, 16};
    const Slice mixed = plan.add_value("mixed", 32);
    const Slice scores = plan.add_value("scores", 8);
    const Slice experts = plan.add_value("experts", 2, Dtype::i32);
    const Slice shares = plan.add_value("shares", 2);
    plan.operations = {
        Embed{.table = s.weight("embd", {kVocab, kHidden}, Dtype::q8_0), .out = x},
        RmsNorm{.x = x,
                .weight = s.weight("norm", {kHidden}),
                .out = normed,
                .group_dim = kHidden,
                .epsilon = 1e-6F},
        Project{.x = normed,
                .weight = s.weight("qkv", {64, kHidden}, Dtype::q4_0),
                .out = qkv,
                .bias = s.weight("bias", {64})},
        Rope{.x = q,
             .heads = 4,
             .head_dim = 8,
             .rotate_offset = 0,
             .style = RopeStyle::halves,
             .frequencies = {1.0F, 0.1F}},
        AttentionGqa{.q = q,
                     .k = k,
                     .v = v,
                     .out = mixed,
                     .layer = 0,
                     .heads = 4,
                     .kv_heads = 2,
                     .head_dim = 8,
                     .value_dim = 8,
                     .scale = 0.5F},
        Project{.x = mixed,
                .weight = s.weight("output", {kHidden, 32}, Dtype::f16),
                .out = x,
                .residual = x},
        Project{.x = x, .weight = s.weight("router", {8, kHidden}), .out = scores},
        RouteTopK{.logits = scores,
                  .experts = experts,
                  .weights = shares,
                  .bias = s.weight("router_bias", {8}),
                  .gating = Gating::sigmoid,
                  .normalise = true,
                  .group_count = 4,
                  .groups_used = 2},
        Experts{.x = normed,
                .experts = experts,
                .weights = shares,
                .out = x,
                .gate = s.weight("gate", {8, 64, kHidden}, Dtype::q4_0),
                .up = s.weight("up", {8, 64, kHidden}, Dtype::q4_0),
                .down = s.weight("down", {8, kHidden, 64}, Dtype::q8_0),
                .residual = x},
        Swiglu{.gate = x, .up = normed, .out = x},
        Add{.a = x, .b = normed, .out = normed},
        Logits{.x = normed, .weight = 0},
    };
    return s;
}

Sample mla_sample() {
    Sample s;
    Plan& plan = s.plan;
    plan.tokens_max = 4;
    plan.vocab_size = kVocab;
    plan.kv = {.layer_count = 1, .key_dim = 20, .value_dim = 0};
    const Slice x = plan.add_value("x", kHidden);
    const Slice q = plan.add_value("q", 24);
    const Slice latent = plan.add_value("latent", 20);
    const Slice mixed = plan.add_value("mixed", 10);
    plan.operations = {
        Embed{.table = s.weight("embd", {kVocab, kHidden}), .out = x},
        Project{.x = x, .weight = s.weight("q", {24, kHidden}), .out = q},
        Project{.x = x, .weight = s.weight("kv", {20, kHidden}), .out = latent},
        AttentionMla{.q = q,
                     .latent = latent,
                     .out = mixed,
                     .k_up = s.weight("k_up", {2, 16, 8}),
                     .v_up = s.weight("v_up", {2, 5, 16}),
                     .layer = 0,
                     .heads = 2,
                     .nope_dim = 8,
                     .rope_dim = 4,
                     .latent_dim = 16,
                     .value_dim = 5,
                     .scale = 1.0F},
        Project{.x = mixed, .weight = s.weight("output", {kHidden, 10}), .out = x, .residual = x},
        Logits{.x = x, .weight = 0},
    };
    return s;
}

TEST_CASE("a sound plan passes", "[compute][plan]") {
    for (const Sample& sample : {gqa_sample(), mla_sample()}) {
        const auto checked = validate(sample.plan, sample.weights);
        INFO((checked ? "" : checked.error().text));
        CHECK(checked);
    }
}

struct Breakage {
    std::string what;
    std::string expected;  ///< part of the error
    std::function<void(Sample&)> breaks;
};

void check_breakages(Sample (*make)(), const std::vector<Breakage>& cases) {
    for (const Breakage& each : cases) {
        Sample sample = make();
        each.breaks(sample);
        const auto checked = validate(sample.plan, sample.weights);
        INFO(each.what);
        REQUIRE_FALSE(checked);
        CHECK(checked.error().code == ErrorCode::invalid_argument);
        CHECK_THAT(checked.error().text, Catch::Contains(each.expected));
    }
}

TEST_CASE("a broken plan is refused with the operation's name", "[compute][plan]") {
    check_breakages(
        gqa_sample,
        {
            {"no tokens", "tokens_max", [](Sample& s) { s.plan.tokens_max = 0; }},
            {"no vocabulary", "vocab_size", [](Sample& s) { s.plan.vocab_size = 0; }},
            {"nothing to do", "no operations", [](Sample& s) { s.plan.operations.clear(); }},
            {"a value of no columns", "dim", [](Sample& s) { s.plan.values[0].dim = 0; }},
            {"a quantised value",
             "neither",
             [](Sample& s) { s.plan.values[1].dtype = Dtype::f16; }},
            {"no such value",
             "operation 0 (embed): a value is not in the plan",
             [](Sample& s) { s.op<Embed>().out.id = 99; }},
            {"columns past the end",
             "not inside value x",
             [](Sample& s) { s.op<Embed>().out.offset = 1; }},
            {"columns whose end overflows",
             "not inside value x",
             [](Sample& s) {
                 s.op<Embed>().out.offset = std::numeric_limits<std::int64_t>::max();
             }},
            {"another vocabulary",
             "table embd has shape",
             [](Sample& s) { s.plan.vocab_size = 65; }},
            {"no such weight",
             "(rms_norm): weight is not among",
             [](Sample& s) { s.op<RmsNorm>().weight = 99; }},
            {"norm weights of a matrix type",
             "is not F32",
             [](Sample& s) {
                 s.named("norm").dtype = Dtype::f16;
                 s.named("norm").bytes = std::span(s.zeros).first(2 * kHidden);
             }},
            {"a group that does not divide",
             "group_dim",
             [](Sample& s) { s.op<RmsNorm>().group_dim = 12; }},
            {"a weight with a byte missing",
             "as many bytes",
             [](Sample& s) { s.named("qkv").bytes = s.named("qkv").bytes.first(64 * 18 - 1); }},
            {"a weight with a row missing",
             "as many bytes",
             [](Sample& s) { s.named("qkv").bytes = s.named("qkv").bytes.first(63 * 18); }},
            {"a weight of another shape",
             "operation 2 (project): weight qkv has shape (32, 64), not (64, 32)",
             [](Sample& s) {
                 s.named("qkv").shape = {kHidden, 64};
             }},
            {"a projection onto its own input",
             "shares columns",
             [](Sample& s) {
                 auto& op = std::get<Project>(s.plan.operations[5]);
                 op.x = op.out;
             }},
            {"a result half over an input",
             "only some columns",
             [](Sample& s) {
                 s.op<Swiglu>() = {.gate = {0, 0, 16}, .up = {1, 0, 16}, .out = {0, 8, 16}};
             }},
            {"a value read before it is written",
             "read before",
             [](Sample& s) {
                 s.op<RmsNorm>().x = Slice{3, 0, 32};
             }},
            {"rotation past the head",
             "rotated columns",
             [](Sample& s) { s.op<Rope>().rotate_offset = 5; }},
            {"no rotation", "rotated columns", [](Sample& s) { s.op<Rope>().frequencies.clear(); }},
            {"zero heads", "heads", [](Sample& s) { s.op<AttentionGqa>().heads = 0; }},
            {"a head dim that overflows",
             "heads",
             [](Sample& s) { s.op<AttentionGqa>().head_dim = std::int64_t{1} << 62; }},
            {"a layer outside the cache",
             "inside the cache",
             [](Sample& s) { s.op<AttentionGqa>().layer = 1; }},
            {"a cache of another size", "another size", [](Sample& s) { s.plan.kv.key_dim = 8; }},
            {"a cache of integers",
             "neither F16 nor Q8_0 nor F32",
             [](Sample& s) { s.plan.kv.dtype = Dtype::i32; }},
            {"heads that blocks do not fit",
             "heads of 8 and 8 columns are no multiple of 16, as a cache in Q8_0 wants them",
             [](Sample& s) { s.plan.kv.dtype = Dtype::q8_0; }},
            {"a layer stored twice",
             "stored twice",
             [](Sample& s) {
                 s.plan.operations.insert(s.plan.operations.begin() + 5, s.op<AttentionGqa>());
             }},
            {"more experts than there are in the groups",
             "more experts",
             [](Sample& s) {
                 s.op<RouteTopK>().group_count = 8;
                 s.op<RouteTopK>().groups_used = 1;
             }},
            {"groups that do not divide",
             "groups",
             [](Sample& s) { s.op<RouteTopK>().group_count = 3; }},
            {"expert numbers as floats",
             "not I32",
             [](Sample& s) { s.op<RouteTopK>().experts = s.op<RouteTopK>().weights; }},
            {"a router of other experts",
             "gate gate has shape",
             [](Sample& s) {
                 s.named("router").shape = {4, kHidden};
                 s.named("router").bytes = s.named("router").bytes.first(4 * kHidden * 4);
                 s.named("router_bias").shape = {4};
                 s.named("router_bias").bytes = s.named("router_bias").bytes.first(16);
                 s.plan.values[4].dim = 4;
                 for (Operation& operation : s.plan.operations) {
                     if (auto* route = std::get_if<RouteTopK>(&operation)) route->logits.dim = 4;
                     auto* project = std::get_if<Project>(&operation);
                     if (project != nullptr && project->out.id == 4) project->out.dim = 4;
                 }
             }},
            {"a flat gate",
             "three axes",
             [](Sample& s) {
                 s.named("gate").shape = {512, kHidden};
             }},
            {"a sum of different dims", "differ", [](Sample& s) { s.op<Add>().a.dim = 16; }},
            {"no logits", "last", [](Sample& s) { s.plan.operations.pop_back(); }},
            {"two logits",
             "last",
             [](Sample& s) { s.plan.operations.push_back(s.plan.operations.back()); }},
        });
}

TEST_CASE("a broken latent attention is refused", "[compute][plan]") {
    check_breakages(
        mla_sample,
        {
            {"no rope part", "rope_dim", [](Sample& s) { s.op<AttentionMla>().rope_dim = 0; }},
            {"a latent of another size",
             "latent",
             [](Sample& s) { s.op<AttentionMla>().latent_dim = 15; }},
            {"heads that overflow",
             "heads",
             [](Sample& s) { s.op<AttentionMla>().heads = std::int64_t{1} << 40; }},
            {"k_up the other way round",
             "k_up k_up has shape",
             [](Sample& s) {
                 s.named("k_up").shape = {2, 8, 16};
             }},
            {"a cache with values", "another size", [](Sample& s) { s.plan.kv.value_dim = 4; }},
        });
}

TEST_CASE("rows that go in and out are whole values that are written", "[compute][plan]") {
    Sample sound = mla_sample();
    sound.plan.rows_in = sound.plan.add_value("row", kHidden);
    std::get<Project>(sound.plan.operations[1]).x = sound.plan.rows_in;
    sound.plan.rows_out = std::get<Logits>(sound.plan.operations.back()).x;
    CHECK(validate(sound.plan, sound.weights));
    check_breakages(mla_sample,
                    {{"no such value", "not in the plan", [](Sample& s) { s.plan.rows_in.id = 9; }},
                     {"some columns",
                      "rows_in is not a whole value",
                      [](Sample& s) {
                          s.plan.rows_in = {0, 0, 16};
                      }},
                     {"never written",
                      "plan: value extra is read before it is written",
                      [](Sample& s) { s.plan.rows_out = s.plan.add_value("extra", 8); }},
                     {"numbers of experts", "not F32", [](Sample& s) {
                          s.plan.rows_out = s.plan.add_value("n", 2, Dtype::i32);
                      }}});
}

TEST_CASE("latent attention without a result only stores its rows", "[compute][plan]") {
    const auto stores_only = [](Sample& s) {
        auto& op = s.op<AttentionMla>();
        op.q = op.out = {};
        op.k_up = op.v_up = kNone;
        s.plan.operations.erase(s.plan.operations.begin() + 4);
    };
    Sample sound = mla_sample();
    stores_only(sound);
    CHECK(validate(sound.plan, sound.weights));
    CHECK(weight_bytes_per_token(sound.plan, sound.weights) ==
          4 * (32 + 24 * 32 + 20 * 32 + 64 * 32));
    check_breakages(mla_sample,
                    {{"a latent of another size",
                      "another size",
                      [&](Sample& s) {
                          stores_only(s);
                          s.op<AttentionMla>().latent.dim = 16;
                      }},
                     {"a layer outside the cache", "inside the cache", [&](Sample& s) {
                          stores_only(s);
                          s.op<AttentionMla>().layer = 1;
                      }}});
}

TEST_CASE("a token reads one embedding row, its experts and all other weights", "[compute][plan]") {
    const Sample gqa = gqa_sample();
    const std::int64_t embed = 34;
    const std::int64_t norm = 4 * 32;
    const std::int64_t qkv = 64 * 18 + 4 * 64;
    const std::int64_t output = 32 * 32 * 2;
    const std::int64_t router = 8 * 32 * 4 + 8 * 4;
    const std::int64_t experts = 2 * (64 * 18 + 64 * 18 + 32 * 2 * 34);
    const std::int64_t logits = 64 * 34;
    CHECK(weight_bytes_per_token(gqa.plan, gqa.weights) ==
          embed + norm + qkv + output + router + experts + logits);
    const Sample mla = mla_sample();
    CHECK(weight_bytes_per_token(mla.plan, mla.weights) ==
          4 * (32 + 24 * 32 + 20 * 32 + 2 * 16 * 8 + 2 * 5 * 16 + 32 * 10 + 64 * 32));
}

TEST_CASE("a plan prints one line per operation", "[compute][plan]") {
    Sample sample = mla_sample();
    const std::string text = to_string(sample.plan, sample.weights);
    CHECK_THAT(
        text, Catch::StartsWith("plan: tokens_max 4, vocab_size 64, cache 1 layers of 20+0 F16\n"));
    CHECK_THAT(text, Catch::Contains("\nembed embd(64 32 F32) -> x[0:32]\n"));
    CHECK_THAT(text,
               Catch::Contains("\nproject mixed[0:10] output(32 10 F32) + x[0:32] -> x[0:32]\n"));
    CHECK(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) ==
          sample.plan.operations.size() + 1);
    sample.op<Logits>().weight = 99;
    CHECK_THAT(to_string(sample.plan, sample.weights), Catch::EndsWith("logits x[0:32] ?\n"));
}

}  // namespace
}  // namespace hearth::compute

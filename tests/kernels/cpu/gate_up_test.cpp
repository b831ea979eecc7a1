#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/gate_up_pattern.h"
#include "tests/support/tiny_model.h"

namespace hearth::cpu {
namespace {

using compute::Dtype;
using compute::Plan;
using compute::Project;
using compute::Slice;
using compute::Swiglu;

constexpr Slice kX{0, 0, 64};
constexpr Slice kGate{1, 0, 96};
constexpr Slice kUp{2, 0, 96};
constexpr Slice kOther{3, 0, 96};

std::vector<compute::Operation> three(const Slice& out) {
    return {Project{.x = kX, .weight = 0, .out = kGate},
            Project{.x = kX, .weight = 1, .out = kUp},
            Swiglu{.gate = kGate, .up = kUp, .out = out}};
}

bool is_found(std::vector<compute::Operation> operations,
              std::vector<compute::Operation> behind = {}) {
    Plan plan;
    plan.operations = std::move(operations);
    plan.operations.insert(plan.operations.end(), behind.begin(), behind.end());
    return find_gate_up(plan, 0).has_value();
}

TEST_CASE("two projections and their product are found", "[cpu][gate_up]") {
    CHECK(is_found(three(kGate)));
    CHECK(is_found(three(kUp)));
    CHECK(is_found(three(kOther)));
    CHECK(is_found(three(kGate), {Project{.x = kGate, .weight = 2, .out = kX, .residual = kX}}));
}

TEST_CASE("what differs from two projections and their product is left alone", "[cpu][gate_up]") {
    const auto with = [](auto change) {
        auto operations = three(kGate);
        change(std::get<Project>(operations[1]), std::get<Swiglu>(operations[2]));
        return operations;
    };
    CHECK_FALSE(is_found(with([](Project& up, Swiglu&) { up.bias = 3; })));
    CHECK_FALSE(is_found(with([](Project& up, Swiglu&) { up.residual = kOther; })));
    CHECK_FALSE(is_found(with([](Project& up, Swiglu&) { up.x = {3, 0, 64}; })));
    CHECK_FALSE(is_found(with([](Project& up, Swiglu&) { up.out = kOther; })));
    CHECK_FALSE(is_found(with([](Project&, Swiglu& swiglu) { swiglu.out = {0, 0, 96}; })));
    CHECK_FALSE(
        is_found(with([](Project&, Swiglu& swiglu) { std::swap(swiglu.gate, swiglu.up); })));
    auto operations = three(kGate);
    operations.pop_back();
    CHECK_FALSE(is_found(operations));
}

TEST_CASE("projections that are read once more are kept", "[cpu][gate_up]") {
    const compute::Operation reads_up = compute::Add{.a = kUp, .b = kUp, .out = kOther};
    const compute::Operation reads_end =
        compute::Add{.a = {2, 90, 6}, .b = {2, 90, 6}, .out = {3, 0, 6}};
    const compute::Operation reads_gate = compute::Add{.a = kGate, .b = kGate, .out = kOther};
    CHECK_FALSE(is_found(three(kGate), {reads_up}));
    CHECK_FALSE(is_found(three(kGate), {reads_end}));
    CHECK(is_found(three(kGate), {reads_gate}));  // that is the product
    CHECK_FALSE(is_found(three(kUp), {reads_gate}));
    // A later layer writes the columns anew, all of them or the first.
    const auto writes_up = [](std::int64_t dim) {
        return Project{.x = kX, .weight = 1, .out = {2, 0, dim}};
    };
    CHECK(is_found(three(kGate), {writes_up(96), reads_up}));
    CHECK_FALSE(is_found(three(kGate), {writes_up(90), reads_up}));
    CHECK_FALSE(is_found(three(kGate), {writes_up(90), reads_end}));
    CHECK(is_found(three(kGate), {writes_up(96), reads_end}));
}

std::size_t count_found(const Plan& plan) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < plan.operations.size(); ++i) {
        if (find_gate_up(plan, i)) ++count;
    }
    return count;
}

/// The plan with every `up` read once more, so that nothing is left out.
Plan with_readers(const Plan& plan) {
    Plan kept = plan;
    kept.operations.clear();
    for (const compute::Operation& operation : plan.operations) {
        kept.operations.push_back(operation);
        if (const auto* swiglu = std::get_if<Swiglu>(&operation)) {
            const Slice unused = kept.add_value("unused", swiglu->up.dim);
            kept.operations.push_back(
                compute::Add{.a = swiglu->up, .b = swiglu->up, .out = unused});
        }
    }
    return kept;
}

/// Logits of the tokens 0, 1, ... of one sequence.
std::vector<float> logits_of(const model::Model& model,
                             const Plan& plan,
                             std::int32_t threads,
                             std::int32_t count) {
    const auto backend = make_cpu_backend({.thread_count = threads});
    REQUIRE(backend);
    auto weights = (*backend)->upload(model.weights());
    REQUIRE(weights);
    auto program = (*backend)->compile(plan, **weights);
    REQUIRE(program);
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> table;
    for (std::int32_t i = 0; i < count; ++i) {
        tokens.push_back(i);
        if (i % compute::kBlockTokens == 0) table.push_back(i / compute::kBlockTokens);
    }
    auto kv = (*backend)->make_kv_store(plan.kv, static_cast<std::int32_t>(table.size()));
    REQUIRE(kv);
    const std::vector<std::int32_t> sequence_of(tokens.size(), 0);
    const std::vector<compute::SequenceView> sequences{{table}};
    const auto output = (*program)->run({tokens, tokens, sequence_of, sequences, tokens}, **kv);
    REQUIRE(output);
    return {output->logits.begin(), output->logits.end()};
}

TEST_CASE("in one operation the numbers are those of three", "[cpu][gate_up]") {
    const std::vector<std::pair<test::TinyModelOptions, std::size_t>> models = {
        {{.architecture = "deepseek2"}, 3},
        {{.architecture = "llama", .dtype = Dtype::f16}, 3},
        {{.architecture = "qwen2", .dtype = Dtype::q4_k, .hidden_dim = 256}, 3},
        {{.architecture = "granitemoe", .has_shared_expert = true}, 3},
        {{.architecture = "qwen3moe"}, 0},
    };
    for (const auto& [options, expected_count] : models) {
        const auto model = test::tiny_model(options);
        const Plan plan = model->plan(70);
        const Plan kept = with_readers(plan);
        INFO(options.architecture);
        REQUIRE(count_found(plan) == expected_count);
        REQUIRE(count_found(kept) == 0);
        for (const std::int32_t tokens : {1, 70}) {
            const auto found = logits_of(*model, plan, 3, tokens);
            const auto expected = logits_of(*model, kept, 1, tokens);
            REQUIRE(found.size() == expected.size());
            CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
        }
    }
}

}  // namespace
}  // namespace hearth::cpu

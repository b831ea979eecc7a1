// Drafts from the model's own block: the text is that without them, and a block whose rows of the
// whole past are right guesses what the model says.
#include <cstring>
#include <deque>
#include <numeric>

#include <catch2/catch.hpp>

#include "core/engine/predictor.h"
#include "core/model/synthetic.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/core/engine/toy_engine.h"
#include "tests/support/model_parts.h"

namespace hearth::engine {
namespace {

using test::Answer;
using test::request_of;
using test::Tokens;
using Model = std::shared_ptr<const model::Model>;

constexpr std::int64_t kDim = 256, kVocab = 512;

std::vector<float> random_rows(std::int64_t rows, std::uint32_t seed) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < rows * kDim; ++i) {
        seed = seed * 1664525U + 1013904223U;
        values.push_back((seed >> 31) == 0 ? 1.0F : -1.0F);  // each row's mean square is 1
    }
    return values;
}

Model random_model() {
    return model::make_model(model::make_synthetic("tiny-mtp:Q8_0", {.thread_count = 1}).value())
        .value();
}

/// A model of which one layer does something, and a block that is this layer over the embedding of
/// its token: it guesses what the model will say, as long as the cache has its rows of all tokens.
/// `is_half_right`: the block sees other tokens in place of the odd ones.
Model foreseeing_model(bool is_half_right = false) {
    const auto original = model::make_synthetic("tiny-mtp:F32", {.thread_count = 1}).value();
    test::ModelParts parts(original);
    const std::string block = "blk.3.", layer = "blk.1.";
    for (const compute::Tensor& tensor : original->tensors()) {
        const auto zeros = [&] {
            return std::vector<float>(static_cast<std::size_t>(tensor.shape.elements()));
        };
        const bool is_out = tensor.name.find("attn_output") != std::string::npos ||
                            tensor.name.find("ffn_down") != std::string::npos;
        const bool is_idle = tensor.name.starts_with("blk.0.") || tensor.name.starts_with("blk.2.");
        if (is_out && is_idle) parts.replace(tensor.name, tensor.shape, zeros());
        if (!tensor.name.starts_with(layer)) continue;
        std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
        std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
        // The past has its say.
        const bool is_of_past = tensor.name.find("attn_output") != std::string::npos;
        for (float& value : values) {
            value *= is_of_past ? 300.0F : 1.0F;
        }
        parts.replace(block + tensor.name.substr(layer.size()), tensor.shape, values);
        parts.replace(tensor.name, tensor.shape, std::move(values));
    }
    const auto embedding = random_rows(kVocab, 1);
    parts.replace("token_embd.weight", {kVocab, kDim}, embedding);
    parts.replace("output.weight", {kVocab, kDim}, random_rows(kVocab, 2));
    std::vector<float> join(static_cast<std::size_t>(2 * kDim * kDim));
    for (std::int64_t i = 0; i < kDim; ++i) {
        join[static_cast<std::size_t>(i * 2 * kDim + i)] = 1.0F;
    }
    parts.replace(block + "nextn.eh_proj.weight", {kDim, 2 * kDim}, join);
    if (is_half_right) {
        auto other = embedding;
        for (std::int64_t token = 1; token < kVocab; token += 2) {
            std::copy_n(embedding.begin(), kDim, other.begin() + token * kDim);
        }
        parts.replace(block + "nextn.embed_tokens.weight", {kVocab, kDim}, other);
    }
    return model::make_model(parts.file()).value();
}

struct PredictingEngine {
    PredictingEngine(const Model& model, bool is_cpu, EngineLimits limits)
        : backend(is_cpu ? cpu::make_cpu_backend({.thread_count = 2}).value()
                         : reference::make_reference_backend()) {
        auto made = Engine::make(model, *backend, limits, clock);
        INFO((made ? "" : made.error().text));
        REQUIRE(made);
        engine = std::move(*made);
    }
    Tokens ask(Request request) {
        Answer answer;
        request.sink = answer.sink();
        REQUIRE(engine->submit(std::move(request)));
        cached = answer.wait().usage().cached_tokens;
        return answer.tokens();
    }
    /// Share of the block's guesses that were right.
    [[nodiscard]] double share_right() const {
        const EngineStatus status = engine->status();
        return static_cast<double>(status.tokens_predicted_right) /
               static_cast<double>(std::max<std::uint64_t>(status.tokens_predicted, 1));
    }

    test::FakeClock clock;  // stands still: guesses are never too dear
    std::unique_ptr<compute::Backend> backend;
    std::unique_ptr<Engine> engine;
    std::int32_t cached = 0;
};

constexpr EngineLimits kRoomy{.context_tokens_max = 256, .cache_tokens = 1024};

EngineLimits without_drafts(EngineLimits limits = kRoomy) {
    limits.draft_tokens_per_step = 0;
    return limits;
}

Tokens prompt_ending_with(std::int32_t token) {
    Tokens tokens;
    for (std::int32_t i = 0; i < 48; ++i) {
        tokens.push_back(i < 41 ? (11 + 37 * i) % 512 : (token + 5 * i) % 512);
    }
    return tokens;
}

/// At a temperature at which the text does not go round in a circle, where other guesses are found.
Request varied(Tokens prompt, std::int32_t tokens_max) {
    return request_of(
        std::move(prompt), tokens_max, Priority::chat, {.temperature = 3.0F, .seed = 5});
}

TEST_CASE("the text is that without the block's guesses", "[engine][prediction]") {
    const int kind = GENERATE(0, 1, 2);
    const bool is_cpu = GENERATE(false, true);
    const bool is_greedy = GENERATE(false, true);
    const Model model = kind == 0 ? random_model() : foreseeing_model(kind == 2);
    EngineLimits limits = kRoomy;
    limits.cache_type = kind == 1 ? compute::Dtype::q8_0 : compute::Dtype::f16;
    Request request = varied(prompt_ending_with(100), 40);
    if (is_greedy) request.sampling = {};
    const Tokens plain = PredictingEngine(model, is_cpu, without_drafts(limits)).ask(request);
    REQUIRE(plain.size() == 40);

    PredictingEngine alone(model, is_cpu, limits);
    CHECK(alone.ask(request) == plain);
    // Random weights soon write in circles, where the text itself is the better guess.
    CHECK((alone.engine->status().tokens_predicted > 0 || (kind == 0 && is_greedy)));
    CHECK(alone.ask(request) == plain);
    CHECK(alone.cached == 47);

    PredictingEngine after_hit(model, is_cpu, limits);
    after_hit.ask(request_of(prompt_ending_with(30), 3));
    CHECK(after_hit.ask(request) == plain);
    CHECK(after_hit.cached == 41);

    limits.prefill_tokens_per_step = 7;
    CHECK(PredictingEngine(model, is_cpu, limits).ask(request) == plain);
}

TEST_CASE("the text is that of a sequence alone in a batch that fights for room",
          "[engine][prediction]") {
    const bool is_cpu = GENERATE(false, true);
    const Model model = foreseeing_model();
    const Request request = varied(prompt_ending_with(100), 40);
    const Tokens plain = PredictingEngine(model, is_cpu, without_drafts()).ask(request);
    EngineLimits limits = kRoomy;
    limits.cache_tokens = limits.context_tokens_max = 176;
    PredictingEngine fixture(model, is_cpu, limits);
    std::deque<Answer> others(7);
    for (std::size_t i = 0; i < others.size(); ++i) {
        Request other = varied(prompt_ending_with(static_cast<std::int32_t>(i)), 40);
        other.sink = others[i].sink();
        REQUIRE(fixture.engine->submit(std::move(other)));
    }
    CHECK(fixture.ask(request) == plain);
    for (Answer& other : others) {
        CHECK(other.wait().tokens().size() == 40);
    }
    CHECK(fixture.engine->status().tokens_predicted_right > 0);
}

TEST_CASE("a block with the right rows guesses what the model says", "[engine][prediction]") {
    const bool is_cpu = GENERATE(false, true);
    const Model model = foreseeing_model();
    const Request request = request_of(prompt_ending_with(100), 40);
    const auto check_all_right = [](const PredictingEngine& fixture) {
        const EngineStatus status = fixture.engine->status();
        CHECK(status.has_predictor);
        CHECK(status.tokens_predicted >= 5);
        CHECK(10 * status.tokens_predicted_right >= 9 * status.tokens_predicted);
        CHECK(status.tokens_guessed_right >= status.tokens_predicted_right);
    };
    PredictingEngine fresh(model, is_cpu, kRoomy);
    fresh.ask(request);
    check_all_right(fresh);
    CHECK(fresh.engine->status().steps < 32);
    CAPTURE(fresh.engine->status().tokens_predicted, fresh.engine->status().tokens_predicted_right);

    SECTION("in pieces of a prompt") {
        EngineLimits limits = kRoomy;
        limits.prefill_tokens_per_step = 7;
        PredictingEngine pieces(model, is_cpu, limits);
        pieces.ask(request);
        check_all_right(pieces);
    }
    SECTION("after a prefix that another prompt left, inside a block") {
        PredictingEngine again(model, is_cpu, kRoomy);
        again.ask(request_of(prompt_ending_with(30), 3));
        again.ask(request);
        CHECK(again.cached == 41);
        check_all_right(again);
    }
    SECTION("not where it sees other tokens") {
        PredictingEngine half(foreseeing_model(true), is_cpu, kRoomy);
        half.ask(varied(prompt_ending_with(100), 100));
        CHECK(half.share_right() < fresh.share_right());
    }
}

TEST_CASE("nothing is guessed where drafts are off or an answer is guided",
          "[engine][prediction]") {
    const Model model = foreseeing_model();
    PredictingEngine off(model, true, without_drafts());
    off.ask(request_of(prompt_ending_with(100), 20));
    CHECK_FALSE(off.engine->status().has_predictor);
    CHECK(off.engine->status().tokens_predicted == 0);
    PredictingEngine guided(model, true, kRoomy);
    Request request = request_of(prompt_ending_with(100), 20);
    request.guide = std::make_shared<test::ThreeStep>(512, 20);
    guided.ask(request);
    CHECK(guided.engine->status().has_predictor);
    CHECK(guided.engine->status().tokens_predicted == 0);
}

/// Notes what it is given; its logits are best at token 3.
class NotingProgram final : public compute::Program {
  public:
    Result<compute::StepOutput> run(const compute::StepBatch& batch, compute::KvStore&) override {
        tokens.assign(batch.tokens.begin(), batch.tokens.end());
        positions.assign(batch.positions.begin(), batch.positions.end());
        rows.assign(batch.rows.begin(), batch.rows.end());
        logits_.assign(batch.logit_rows.size() * 5, 0.0F);
        for (std::size_t i = 3; i < logits_.size(); i += 5) {
            logits_[i] = 1.0F;
        }
        return compute::StepOutput{logits_};
    }
    [[nodiscard]] std::int64_t bytes_per_token() const override { return 0; }

    std::vector<std::int32_t> tokens, positions;
    std::vector<float> rows;

  private:
    std::vector<float> logits_;
};

class NoStore final : public compute::KvStore {
  public:
    [[nodiscard]] std::int32_t block_count() const override { return 1; }
    [[nodiscard]] std::int64_t size_bytes() const override { return 0; }
    void copy_block(std::int32_t, std::int32_t) override {}
};

TEST_CASE("each token comes with the trunk's row of the one before it", "[engine][prediction]") {
    auto store = std::make_unique<NotingProgram>();
    auto draft = std::make_unique<NotingProgram>();
    NotingProgram& stored = *store;
    NotingProgram& drafted = *draft;
    NoStore kv;
    Predictor predictor({std::move(store), std::move(draft), 2}, kv);
    Sequence hit;
    Sequence fresh;
    hit.tokens = {7, 7, 1, 2, 3};
    hit.table.computed_tokens = 2;
    fresh.tokens = {4, 4};
    const auto run = [&](const std::vector<Share>& shares, const std::vector<float>& rows) {
        const std::vector<std::int32_t> each(rows.size() / 2, 0);
        REQUIRE(predictor.store({.tokens = each,
                                 .positions = each,
                                 .sequence_of = each,
                                 .sequences = {},
                                 .logit_rows = {}},
                                shares,
                                rows));
    };
    run({{&hit, 2}, {&fresh, 2}}, {1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(stored.rows == std::vector<float>{0, 0, 1, 2, 0, 0, 5, 6});
    hit.table.computed_tokens = 4;
    fresh.table.computed_tokens = 2;
    CHECK(predictor.knows_row(hit));
    run({{&hit, 1}}, {9, 10});
    CHECK(stored.rows == std::vector<float>{3, 4});

    fresh.tokens.push_back(1);
    REQUIRE(predictor.draft(std::vector<Sequence*>{&fresh}));
    CHECK(drafted.tokens == std::vector<std::int32_t>{1});
    CHECK(drafted.positions == std::vector<std::int32_t>{2});
    CHECK(drafted.rows == std::vector<float>{7, 8});
    CHECK(fresh.draft == std::vector<std::int32_t>{3});
    // Token and draft are run; which row is the newest shows when the draft turns out.
    run({{&fresh, 2}}, {11, 12, 13, 14});
    CHECK(stored.rows == std::vector<float>{7, 8, 11, 12});
    SECTION("the draft was wrong") {
        fresh.tokens.push_back(2);
        REQUIRE(predictor.draft(std::vector<Sequence*>{&fresh}));
        CHECK(drafted.rows == std::vector<float>{11, 12});
    }
    SECTION("the draft was right") {
        fresh.tokens.insert(fresh.tokens.end(), {3, 2});
        REQUIRE(predictor.draft(std::vector<Sequence*>{&fresh}));
        CHECK(drafted.rows == std::vector<float>{13, 14});
    }
    SECTION("rows of another place are not taken") {
        fresh.tokens.insert(fresh.tokens.end(), {3, 2, 2});
        CHECK_FALSE(predictor.knows_row(fresh));
        fresh.tokens.resize(2);
        CHECK_FALSE(predictor.knows_row(fresh));
    }
}

}  // namespace
}  // namespace hearth::engine

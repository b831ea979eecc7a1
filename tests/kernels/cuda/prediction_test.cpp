// The block for multi-token prediction on the CUDA backend: rows in and out as the reference has
// them, and the text is that without its guesses.
#include <memory>
#include <numeric>
#include <vector>

#include <catch2/catch.hpp>

#include "core/engine/engine.h"
#include "core/model/synthetic.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/core/engine/toy_engine.h"
#include "tests/support/model_runner.h"

namespace hearth::cuda {
namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<std::int32_t>;
using Model = std::shared_ptr<const model::Model>;

constexpr std::int64_t kHidden = 256;

Model predicting_model() {
    return model::make_model(model::make_synthetic("tiny-mtp:Q8_0", {.thread_count = 1}).value())
        .value();
}

struct Out {
    Floats logits, rows;
};

/// The three programs of a model with a block, over one cache.
class BlockRunner {
  public:
    BlockRunner(const model::Model& model, compute::Backend& backend)
        : plans_(*model.prediction(kTokensMax, kTokensMax)),
          weights_(backend.upload(model.weights()).value()),
          trunk_(backend.compile(plans_.trunk, *weights_).value()),
          store_(backend.compile(plans_.store, *weights_).value()),
          draft_(backend.compile(plans_.draft, *weights_).value()),
          kv_(backend.make_kv_store(plans_.trunk.kv, 4).value()) {}

    Out trunk(const Tokens& tokens, std::int32_t position) {
        return run(*trunk_, tokens, position, {}, tokens.size());
    }
    void store(const Tokens& tokens, std::int32_t position, const Floats& rows) {
        CHECK(run(*store_, tokens, position, rows, 0).logits.empty());
    }
    Out draft(const Tokens& tokens, std::int32_t position, const Floats& rows) {
        return run(*draft_, tokens, position, rows, tokens.size());
    }

  private:
    static constexpr std::int32_t kTokensMax = 16;

    Out run(compute::Program& program,
            const Tokens& tokens,
            std::int32_t position,
            const Floats& rows,
            std::size_t logit_count) {
        Tokens positions(tokens.size());
        std::iota(positions.begin(), positions.end(), position);
        const Tokens sequence_of(tokens.size(), 0);
        Tokens logit_rows(logit_count);
        std::iota(logit_rows.begin(), logit_rows.end(), 0);
        const Tokens blocks = {2, 0, 3};
        const compute::SequenceView view{blocks};
        const auto output = program.run({.tokens = tokens,
                                         .positions = positions,
                                         .sequence_of = sequence_of,
                                         .sequences = {&view, 1},
                                         .logit_rows = logit_rows,
                                         .rows = rows},
                                        *kv_);
        if (!output) FAIL(output.error().text);
        return {{output->logits.begin(), output->logits.end()},
                {output->rows.begin(), output->rows.end()}};
    }

    const model::PredictionPlans plans_;
    std::unique_ptr<compute::DeviceWeights> weights_;
    std::unique_ptr<compute::Program> trunk_, store_, draft_;
    std::unique_ptr<compute::KvStore> kv_;
};

/// What a trunk's step of `tokens` gives, and the guess behind it where the block has kept its rows
/// in one step and then one by one.
Out predict(BlockRunner& runner, const Tokens& tokens) {
    Out all = runner.trunk(tokens, 0);
    Floats before(kHidden, 0.0F);
    before.insert(before.end(), all.rows.begin(), all.rows.end() - kHidden);
    const auto row_of = [&](std::size_t token) {
        const auto begin = before.begin() + static_cast<std::ptrdiff_t>(token) * kHidden;
        return Floats(begin, begin + kHidden);
    };
    const std::size_t half = tokens.size() / 2;
    const auto middle = static_cast<std::ptrdiff_t>(half);
    runner.store({tokens.begin(), tokens.begin() + middle},
                 0,
                 {before.begin(), before.begin() + middle * kHidden});
    for (std::size_t t = half; t + 1 < tokens.size(); ++t) {
        runner.store({tokens[t]}, static_cast<std::int32_t>(t), row_of(t));
    }
    const std::size_t last = tokens.size() - 1;
    const Out guess = runner.draft({tokens[last]}, static_cast<std::int32_t>(last), row_of(last));
    all.logits.insert(all.logits.end(), guess.logits.begin(), guess.logits.end());
    CHECK(guess.rows.empty());
    return all;
}

TEST_CASE("a prediction block takes in and hands out the reference's rows", "[cuda][prediction]") {
    const Model model = predicting_model();
    const bool has_graphs = GENERATE(true, false);
    const auto cuda = make_cuda_backend({.device = {}, .has_graphs = has_graphs}).value();
    const auto reference = reference::make_reference_backend({.rounds_activations = true});
    REQUIRE(cuda->passes_rows());
    BlockRunner found_runner(*model, *cuda);
    BlockRunner expected_runner(*model, *reference);
    for (const std::size_t count : {7U, 11U}) {
        Tokens tokens;
        for (std::size_t i = 0; i < count; ++i) {
            tokens.push_back(static_cast<std::int32_t>((17 + 101 * i + count) % 512));
        }
        const Out found = predict(found_runner, tokens);
        const Out expected = predict(expected_runner, tokens);
        const auto off = [](const Floats& a, const Floats& b, std::int64_t dim) {
            REQUIRE(a.size() == b.size());
            return test::relative_l2_rows(a, b, dim);
        };
        CHECK(found.rows.size() == count * kHidden);
        CHECK(test::median(off(found.rows, expected.rows, kHidden)) < 0.003);
        const auto logits = off(found.logits, expected.logits, model->config().vocab_size);
        CHECK(logits.size() == count + 1);
        CHECK(test::median(logits) < 0.003);
        // The guess.
        CHECK(logits.back() < 0.02);
    }
    // One token alone, whose norms are in their readers.
    const Tokens one = {9};
    CHECK(test::relative_l2(found_runner.trunk(one, 0).rows, expected_runner.trunk(one, 0).rows) <
          0.02);
}

Tokens text_of(const Model& model, std::int32_t draft_tokens, std::uint64_t* predicted) {
    const auto backend = make_cuda_backend({}).value();
    const test::FakeClock clock;  // stands still: guesses are never too dear
    auto engine = engine::Engine::make(model,
                                       *backend,
                                       {.context_tokens_max = 128,
                                        .cache_tokens = 512,
                                        .sequences_max = 2,
                                        .prefill_tokens_per_step = 16,
                                        .draft_tokens_per_step = draft_tokens},
                                       clock);
    REQUIRE(engine);
    test::Answer answer;
    engine::Request request = test::request_of(test::prompt_of(19, 3), 12);
    request.sampling = {.temperature = 3.0F, .seed = 5};
    request.sink = answer.sink();
    REQUIRE((*engine)->submit(std::move(request)));
    Tokens tokens = answer.wait().tokens();
    CHECK_FALSE(answer.error());
    *predicted = (*engine)->status().tokens_predicted;
    return tokens;
}

TEST_CASE("an engine drafts by the block on a device, and the text is that without",
          "[cuda][prediction]") {
    const Model model = predicting_model();
    std::uint64_t predicted = 0;
    const Tokens plain = text_of(model, 0, &predicted);
    CHECK(plain.size() == 12);
    CHECK(predicted == 0);
    CHECK(text_of(model, 8, &predicted) == plain);
    CHECK(predicted > 0);
}

}  // namespace
}  // namespace hearth::cuda

// What bench measures, on a program that only notes what it is asked for.
#include "core/cli/bench.h"

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/engine/toy_model.h"
#include "tests/support/fake_clock.h"

namespace hearth::cli {
namespace {

/// What a program is asked for.
struct Calls {
    std::string calls;   ///< R a step that is waited for, L a launch, C what it is collected by
    std::string tokens;  ///< of each step, a digit
};

/// Writes down its calls.
class NotingProgram final : public compute::Program, public compute::StepQueue {
  public:
    NotingProgram(Calls& calls, bool is_queued) : calls_(calls), is_queued_(is_queued) {}

    compute::StepQueue* step_queue() override { return is_queued_ ? this : nullptr; }
    [[nodiscard]] std::int64_t bytes_per_token() const override { return 0; }
    [[nodiscard]] std::int64_t kernels_per_run() const override { return kernels_; }

    Result<compute::StepOutput> run(const compute::StepBatch& batch,
                                    compute::KvStore& /*kv*/) override {
        calls_.calls += 'R';
        calls_.tokens += std::to_string(batch.tokens.size());
        kernels_ = batch.positions.back();
        rows_.resize(batch.logit_rows.size() * test::kToyVocab);
        return compute::StepOutput{rows_};
    }
    Result<void> launch(const compute::StepBatch& batch,
                        std::span<const compute::PickOrder> orders,
                        compute::KvStore& /*kv*/) override {
        calls_.calls += 'L';
        calls_.tokens += std::to_string(batch.tokens.size());
        kernels_ = batch.positions.back();
        CHECK(orders.size() == batch.logit_rows.size());
        CHECK(batch.sequences.size() == static_cast<std::size_t>(batch.sequence_of.back()) + 1);
        for (const compute::PickOrder& order : orders) {
            CHECK(order.position == batch.positions.back() + 1);
        }
        return {};
    }
    Result<std::span<const compute::Pick>> collect() override {
        calls_.calls += 'C';
        return std::span<const compute::Pick>();
    }

  private:
    Calls& calls_;
    const bool is_queued_;
    std::int64_t kernels_ = 0;  ///< more, the deeper the step
    std::vector<float> rows_;
};

class NotingBackend final : public compute::Backend {
  public:
    NotingBackend(Calls& calls, bool is_queued) : calls_(calls), is_queued_(is_queued) {}

    [[nodiscard]] std::string_view name() const override { return "noting"; }
    [[nodiscard]] std::string description() const override { return "a fake"; }
    Result<std::unique_ptr<compute::DeviceWeights>> upload(
        std::span<const compute::Tensor> /*weights*/) override {
        return std::make_unique<compute::DeviceWeights>();
    }
    Result<std::unique_ptr<compute::Program>> compile(
        const compute::Plan& /*plan*/, compute::DeviceWeights& /*weights*/) override {
        return std::unique_ptr<compute::Program>(
            std::make_unique<NotingProgram>(calls_, is_queued_));
    }
    Result<std::unique_ptr<compute::KvStore>> make_kv_store(const compute::KvLayout& /*layout*/,
                                                            std::int32_t block_count) override {
        return std::unique_ptr<compute::KvStore>(std::make_unique<test::ToyStore>(block_count));
    }

  private:
    Calls& calls_;
    const bool is_queued_;
};

struct Measured : Calls {
    BenchResult result;
};
Measured measure_on(bool is_queued, const BenchSettings& settings) {
    Measured measured;
    const test::ToyModel model;
    NotingBackend backend(measured, is_queued);
    const auto forward = Forward::make(model, backend, limits_of(settings));
    REQUIRE(forward);
    const auto result = measure(**forward, test::kToyVocab, settings, test::FakeClock());
    REQUIRE(result);
    measured.result = *result;
    return measured;
}

TEST_CASE("a summary is the median with the extremes", "[cli][bench]") {
    const Rate odd = summarise({3.0, 1.0, 9.0});
    CHECK(odd.median == 3.0);
    CHECK(odd.min == 1.0);
    CHECK(odd.max == 9.0);
    CHECK(summarise({4.0, 1.0, 3.0, 2.0}).median == 2.5);
    CHECK(summarise({}).median == 0.0);
}

TEST_CASE("decode is launched a step ahead where the device picks tokens", "[cli][bench]") {
    const BenchSettings settings{.prompt_tokens = 0,
                                 .decode_tokens = 3,
                                 .sequence_counts = {2},
                                 .sequence_depth = 4,
                                 .run_count = 1};
    const Measured ahead = measure_on(true, settings);
    // The cache is filled; then a run to warm up and one that counts: waiting, ahead, together.
    CHECK(ahead.calls ==
          "R"
          "RRR"
          "RRR"
          "LLCLCC"
          "LLCLCC"
          "LLCLCC"
          "LLCLCC");
    CHECK(ahead.result.decode.size() == 1);
    CHECK(ahead.result.waited.size() == 1);
    CHECK(ahead.result.throughput.size() == 1);
    const Measured waiting = measure_on(false, settings);
    CHECK(waiting.calls ==
          "R"
          "RRR"
          "RRR"
          "RRR"
          "RRR");
    CHECK(waiting.result.decode.size() == 1);
    CHECK(waiting.result.waited.empty());
}

TEST_CASE("the kernels of a token are those at the first depth", "[cli][bench]") {
    const BenchSettings settings{.prompt_tokens = 0,
                                 .decode_tokens = 3,
                                 .depths = {2, 40},
                                 .sequence_counts = {},
                                 .run_count = 1};
    for (const bool is_queued : {false, true}) {
        CHECK(measure_on(is_queued, settings).result.kernels_per_token == 2 + 2);
    }
}

TEST_CASE("a keystroke is one step of new tokens and an answer launched ahead", "[cli][bench]") {
    const BenchSettings settings{.prompt_tokens = 0,
                                 .decode_tokens = 0,
                                 .sequence_counts = {},
                                 .keystroke_depth = 30,
                                 .step_tokens = 2,
                                 .run_count = 1};
    std::string answer = "L";
    for (int i = 1; i < kKeystrokeAnswerTokens; ++i) {
        answer += "LC";
    }
    answer += "C";
    const Measured ahead = measure_on(true, settings);
    CHECK(ahead.calls == "R" + answer + answer);
    CHECK(ahead.tokens.substr(0, 5) == "23111");
    const std::string waited(2 * kKeystrokeAnswerTokens, 'R');
    CHECK(measure_on(false, settings).calls == "R" + waited);
}

TEST_CASE("a report has the keystroke where one was timed", "[cli][bench]") {
    BenchReport report;
    report.settings = {.sequence_counts = {}, .run_count = 3};
    CHECK_THAT(to_json(report), !Catch::Contains("keystroke"));
    report.settings.keystroke_depth = 2022;
    report.result.keystroke_ms = {38.25, 37.0, 39.0};
    std::ostringstream out;
    print_table(out, report);
    CHECK_THAT(
        out.str(),
        Catch::Contains("| 3 keystrokes | ms | spread |") &&
            Catch::Contains("| 3 tokens behind 2022, 24 tokens of answer | 38.2 | 37.0 to 39.0 |"));
    CHECK_THAT(to_json(report), Catch::Contains("\"depth\": 2022") && Catch::Contains("38.25"));
}

TEST_CASE("a report has both rates of decode", "[cli][bench]") {
    BenchReport report;
    report.settings = {
        .prompt_tokens = 0, .depths = {0, 4096}, .sequence_counts = {}, .run_count = 3};
    report.result.decode = {{500.0, 490.0, 510.0}, {450.0, 440.0, 460.0}};
    const auto table_of = [&] {
        std::ostringstream out;
        print_table(out, report);
        return out.str();
    };
    CHECK_THAT(table_of(), !Catch::Contains("waited for"));
    CHECK_THAT(to_json(report), !Catch::Contains("waited"));
    report.result.waited = {{400.0, 390.0, 410.0}, {350.0, 340.0, 360.0}};
    CHECK_THAT(table_of(),
               Catch::Contains("tokens at depth 4096 | 450.0 |") &&
                   Catch::Contains("| the same, each step waited for | 350.0 | 340.0 to 360.0 |"));
    CHECK_THAT(to_json(report),
               Catch::Contains("\"waited_tokens_per_s\"") && Catch::Contains("350.0"));
}

}  // namespace
}  // namespace hearth::cli

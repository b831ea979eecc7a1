// What surrounds the model: optimiser, schedule, data, checkpoints and a short run.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <set>

#include <catch2/catch.hpp>

#include "tests/support/fake_clock.h"
#include "training/trainer/math_select.h"
#include "training/trainer/optimizer.h"
#include "training/trainer/trainer.h"

using namespace hearth;
using namespace hearth::trainer;

namespace {

ModelShape small_shape() {
    ModelShape shape;
    shape.vocab_size = 40;
    shape.hidden_dim = 32;
    shape.layer_count = 2;
    shape.dense_layer_count = 1;
    shape.head_count = 2;
    shape.nope_dim = 8;
    shape.rope_dim = 4;
    shape.value_dim = 8;
    shape.query_rank = shape.latent_rank = 16;
    shape.dense_ffn_dim = 32;
    shape.expert_ffn_dim = 32;
    shape.expert_count = 4;
    shape.experts_per_token = 2;
    return shape;
}

/// A folder of one test, removed with it.
struct Folder {
    std::string path;

    explicit Folder(const char* name)
        : path((std::filesystem::temp_directory_path() / name).string()) {
        std::filesystem::remove_all(path);
        std::filesystem::create_directories(path);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path); }

    void write(const std::string& name, const std::vector<std::uint16_t>& tokens) const {
        std::ofstream(path + "/" + name, std::ios::binary)
            .write(reinterpret_cast<const char*>(tokens.data()),
                   static_cast<std::streamsize>(tokens.size() * 2));
    }
};

/// Counts up modulo 37: every next token follows from the one before.
std::vector<std::uint16_t> counting_tokens(std::size_t count) {
    std::vector<std::uint16_t> tokens(count);
    for (std::size_t i = 0; i < count; ++i) {
        tokens[i] = static_cast<std::uint16_t>(i % 37);
    }
    return tokens;
}

RunOptions small_options(const std::string& folder) {
    RunOptions options;
    options.out_folder = folder;
    options.window_tokens = 16;
    options.micro_windows = 2;
    options.step_tokens = 128;
    options.head_frequent = 8;
    options.head_sampled = 8;
    options.matrix_rate = 0.02F;
    options.adam_rate = 0.01F;
    options.limits.tokens_max = 128 * 40;
    return options;
}

RunData counting_data() {
    return {TokenShards(counting_tokens(4000)),
            TokenShards(counting_tokens(700)),
            TokenShards(counting_tokens(500))};
}

const std::atomic<bool> kNeverStopped{false};

Log quiet_log() {
    return Log(LogLevel::error);
}

}  // namespace

TEST_CASE("Newton-Schulz brings every singular value near one", "[trainer][optimizer]") {
    for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{12, 30}, {30, 12}}) {
        std::mt19937 random(3);
        std::normal_distribution<float> normal;
        std::vector<float> x(rows * columns);
        for (float& value : x) {
            value = normal(random);
        }
        const std::vector<float> before = x;
        const auto workspace = std::make_unique<GemmWorkspace>();
        orthogonalise(portable_math(), *workspace, rows, columns, x);
        // The product of x with its own transpose on the short side is nearly the identity, and x
        // still points the way the matrix did.
        const std::size_t side = std::min(rows, columns);
        for (std::size_t i = 0; i < side; ++i) {
            for (std::size_t j = 0; j < side; ++j) {
                double sum = 0;
                for (std::size_t p = 0; p < std::max(rows, columns); ++p) {
                    const auto at = [&](std::size_t s) {
                        return static_cast<double>(rows < columns ? x[s * columns + p]
                                                                  : x[p * columns + s]);
                    };
                    sum += at(i) * at(j);
                }
                CHECK(std::abs(sum - (i == j ? 1.0 : 0.0)) < 0.6);
            }
        }
        CHECK(std::inner_product(x.begin(), x.end(), before.begin(), 0.0F) > 0);
    }
}

TEST_CASE("an expert with too few tokens is raised, one with too many lowered",
          "[trainer][optimizer]") {
    const ModelShape shape = small_shape();
    const ParameterLayout layout(shape);
    std::vector<float> weights(layout.elements, 0.0F);
    const std::vector<std::size_t> load{0, 0, 0, 0, 8, 2, 5, 5};
    update_routing_bias(layout, load, 0.25F, weights);
    const float* bias = weights.data() + layout.layers[1].routing_bias;
    CHECK(std::vector<float>(bias, bias + 4) == std::vector<float>{-0.25F, 0.25F, 0, 0});
}

TEST_CASE("the rate warms up, stays, and decays to zero", "[trainer][schedule]") {
    CHECK(rate_factor(0) == Approx(0.02));
    CHECK(rate_factor(0.01) == Approx(0.5));
    CHECK(rate_factor(0.5) == 1);
    CHECK(rate_factor(0.9) == Approx(0.5));
    CHECK(rate_factor(1) == 0);
    const RunLimits limits{.tokens_max = 1000, .seconds_max = 60};
    CHECK(limits.progress(100, 30) == Approx(0.5));
    CHECK(limits.progress(900, 30) == Approx(0.9));
    CHECK(limits.progress(2000, 0) == 1);
    CHECK(RunLimits{}.progress(1e9, 1e9) == 0);
    RunLimits chained{.tokens_max = 1000};
    chained.add(800, 50);
    CHECK(chained.progress(800, 1e9) == Approx(800.0 / 1800));
    CHECK(chained.progress(1800, 0) == 1);
}

TEST_CASE("a walk visits every window once before any comes again", "[trainer][dataset]") {
    for (const std::size_t count : {1U, 2U, 7U, 64U, 1000U}) {
        std::set<std::size_t> seen;
        for (std::size_t step = 0; step < count; ++step) {
            seen.insert(walk_window(step, count));
        }
        CHECK(seen.size() == count);
        CHECK(*seen.rbegin() == count - 1);
        CHECK(walk_window(count, count) < count);
    }
}

TEST_CASE("shards are joined by name and checked against the vocabulary", "[trainer][dataset]") {
    const Folder folder("hearth_trainer_shards");
    folder.write("train-1.bin", {3, 4, 5});
    folder.write("train-0.bin", {0, 1, 2});
    folder.write("other-0.bin", {9});
    const auto shards = TokenShards::load(folder.path, "train-", 6);
    REQUIRE(shards);
    const auto tokens = shards->tokens();
    CHECK(std::vector<std::uint16_t>(tokens.begin(), tokens.end()) ==
          std::vector<std::uint16_t>{0, 1, 2, 3, 4, 5});
    CHECK(shards->window_count(2) == 2);
    BatchBuffer batch;
    batch.length = 2;
    batch.append(*shards, 1);
    CHECK(batch.inputs == std::vector<std::int32_t>{2, 3});
    CHECK(batch.targets == std::vector<std::int32_t>{3, 4});

    CHECK(TokenShards::load(folder.path, "train-", 5).error().code == ErrorCode::corrupt);
    CHECK(TokenShards::load(folder.path, "none-", 5)->tokens().empty());
    std::ofstream(folder.path + "/odd.bin") << "abc";
    CHECK(TokenShards::load(folder.path, "odd", 5).error().code == ErrorCode::corrupt);
}

TEST_CASE("candidates hold every target and stand for the whole vocabulary", "[trainer][dataset]") {
    const TokenShards shards(counting_tokens(370));
    const CandidateSampler sampler(shards, 100, 5, 30);
    const std::vector<std::int32_t> targets{7, 99, 7};
    HeadCandidates drawn;
    sampler.draw(targets, 1, drawn);
    REQUIRE(drawn.correction.size() == drawn.tokens.size());
    CHECK(std::set<std::uint32_t>(drawn.tokens.begin(), drawn.tokens.end()).size() ==
          drawn.tokens.size());
    double stands_for = 0;
    for (const float correction : drawn.correction) {
        stands_for += std::exp(static_cast<double>(correction));
    }
    CHECK(stands_for == Approx(100));
    for (const std::int32_t target : targets) {
        const std::uint32_t place = drawn.index_of[static_cast<std::size_t>(target)];
        CHECK(drawn.tokens[place] == static_cast<std::uint32_t>(target));
        CHECK(drawn.correction[place] == 0);
    }
    HeadCandidates again;
    sampler.draw(targets, 1, again);
    CHECK(again.tokens == drawn.tokens);
    sampler.draw(targets, 2, again);
    CHECK(again.tokens != drawn.tokens);
}

TEST_CASE("a checkpoint comes back whole, and every cut of it is refused",
          "[trainer][checkpoint]") {
    const Folder folder("hearth_trainer_checkpoint");
    TrainState state = make_state(small_shape(), 5);
    state.moments.first[3] = 0.5F;
    state.steps = 7;
    state.tokens = 1024;
    state.seconds = 2.5;
    const std::string path = folder.path + "/checkpoint.bin";
    REQUIRE(save_checkpoint(state, path));
    const auto loaded = load_checkpoint(path);
    REQUIRE(loaded);
    CHECK(loaded->shape == state.shape);
    CHECK(loaded->weights == state.weights);
    CHECK(loaded->moments.first == state.moments.first);
    CHECK(loaded->moments.second == state.moments.second);
    CHECK(loaded->steps == 7);
    CHECK(loaded->tokens == 1024);
    CHECK(loaded->seconds == 2.5);
    const auto whole = std::filesystem::file_size(path);
    for (const std::size_t place : {0U, 1U, 2U, 3U, 7U, 10U, 12U}) {  // widths of its shape
        CAPTURE(place);
        const std::string damaged = folder.path + "/damaged.bin";
        std::filesystem::copy_file(
            path, damaged, std::filesystem::copy_options::overwrite_existing);
        std::fstream file(damaged, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(8 + 8 * place));
        file.write("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 8);
        file.close();
        CHECK(load_checkpoint(damaged).error().code == ErrorCode::corrupt);
    }
    SECTION("weights alone start with fresh moments") {
        const auto arrays = 3 * state.weights.size() * sizeof(float);
        std::filesystem::resize_file(path, whole - arrays / 3 * 2);
        const auto weights = load_checkpoint(path);
        REQUIRE(weights);
        CHECK(weights->weights == state.weights);
        CHECK(weights->moments.first == std::vector<float>(state.weights.size(), 0.0F));
        CHECK(weights->moments.second == weights->moments.first);
    }
    SECTION("the first version had one shared expert") {
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(0);
        file.write("hrhcpk01", 8);
        file.seekp(8 + 14 * 8 + 3 * 4);
        file.write("\xEE\xEE\xEE\xEE", 4);  // what lay there
        file.close();
        const auto first = load_checkpoint(path);
        REQUIRE(first);
        CHECK(first->shape == state.shape);
        CHECK(first->weights == state.weights);
    }
    for (const std::uintmax_t bytes :
         {whole - 1, whole / 2, std::uintmax_t{20}, std::uintmax_t{0}}) {
        std::filesystem::resize_file(path, bytes);
        CHECK(load_checkpoint(path).error().code == ErrorCode::corrupt);
    }
    CHECK(load_checkpoint(folder.path + "/none").error().code == ErrorCode::io);
}

TEST_CASE("a short run learns a counting text", "[trainer][run]") {
    const Folder folder("hearth_trainer_run");
    Log log = quiet_log();
    const test::FakeClock clock;
    const ModelShape shape = small_shape();
    const RunData data = counting_data();
    const TrainState start = make_state(shape, 1);
    const EvaluationOptions part{.window_tokens = 16, .windows_max = 20};
    const double before =
        evaluate(portable_math(), shape, start.weights, data.heldout, part).nats_per_token();
    CHECK(before == Approx(std::log(40.0)).margin(0.2));
    Trainer trainer(small_options(folder.path), portable_math(), data, start, log, clock);
    REQUIRE(trainer.run(kNeverStopped));
    const std::vector<float> rounded =
        round_experts(ParameterLayout(shape), trainer.state().weights);
    const std::vector<std::size_t> token_bytes(shape.vocab_size, 2);
    const Evaluation after =
        evaluate(portable_math(),
                 shape,
                 rounded,
                 data.heldout,
                 {.window_tokens = 16, .windows_max = 20, .token_bytes = token_bytes});
    CHECK(after.nats_per_token() < 0.5 * before);
    CHECK(after.bits_per_byte() == Approx(after.nats_per_token() / std::log(2.0) / 2));
    CHECK(trainer.state().decay_windows > 0);
    CHECK(load_checkpoint(folder.path + "/stable.bin"));
}

TEST_CASE("a run of experts alone learns and leaves all other weights", "[trainer][run]") {
    const Folder folder("hearth_trainer_experts");
    Log log = quiet_log();
    const test::FakeClock clock;
    const RunData data = counting_data();
    const TrainState start = make_state(small_shape(), 1);
    RunOptions options = small_options(folder.path);
    options.experts_only = true;
    Trainer trainer(options, portable_math(), data, start, log, clock);
    REQUIRE(trainer.run(kNeverStopped));
    const std::vector<float>& weights = trainer.state().weights;
    for (const Parameter& p : ParameterLayout(start.shape).parameters) {
        INFO(p.name);
        const auto first = static_cast<std::ptrdiff_t>(p.offset);
        const bool is_same =
            std::equal(weights.begin() + first,
                       weights.begin() + first + static_cast<std::ptrdiff_t>(p.elements()),
                       start.weights.begin() + first);
        CHECK(is_same == !p.is_routed_expert);
    }
    const EvaluationOptions part{.window_tokens = 16, .windows_max = 20};
    CHECK(
        evaluate(portable_math(), start.shape, weights, data.heldout, part).nats_per_token() <
        evaluate(portable_math(), start.shape, start.weights, data.heldout, part).nats_per_token());
}

TEST_CASE("a run that is stopped and resumed takes the steps of one that was not",
          "[trainer][run]") {
    const Folder folder("hearth_trainer_resume");
    Log log = quiet_log();
    const test::FakeClock clock;
    RunOptions options = small_options(folder.path);
    options.limits.tokens_max = 128 * 6;
    Trainer whole(
        options, portable_math(), counting_data(), make_state(small_shape(), 1), log, clock);
    CHECK(*whole.run(kNeverStopped) == RunEnd::complete);
    CHECK(load_unfinished(folder.path).error().code == ErrorCode::io);

    const std::atomic<bool> stopped{true};
    Trainer first(
        options, portable_math(), counting_data(), make_state(small_shape(), 1), log, clock);
    CHECK(*first.run(stopped) == RunEnd::stopped);
    CHECK(first.state().steps == 0);
    const auto limits = load_unfinished(folder.path);
    REQUIRE(limits);
    CHECK(limits->tokens_max == 128 * 6);
    CHECK(limits->seconds_max == 0);
    options.limits = *limits;
    auto state = load_checkpoint(folder.path + "/checkpoint.bin");
    REQUIRE(state);
    Trainer second(options, portable_math(), counting_data(), std::move(*state), log, clock);
    CHECK(*second.run(kNeverStopped) == RunEnd::complete);
    CHECK(second.state().weights == whole.state().weights);
    CHECK_FALSE(load_unfinished(folder.path));
    std::ofstream(folder.path + "/unfinished") << "128";
    CHECK(load_unfinished(folder.path).error().code == ErrorCode::corrupt);
}

TEST_CASE("two threads share the work of one", "[trainer][run]") {
    const Folder folder("hearth_trainer_threads");
    Log log = quiet_log();
    const test::FakeClock clock;
    RunOptions options = small_options(folder.path);
    options.limits.tokens_max = 128 * 4;
    Trainer one(
        options, portable_math(), counting_data(), make_state(small_shape(), 1), log, clock);
    REQUIRE(one.run(kNeverStopped));
    options.threads = 2;
    Trainer two(
        options, portable_math(), counting_data(), make_state(small_shape(), 1), log, clock);
    REQUIRE(two.run(kNeverStopped));
    // The sums of the gradients are taken in another order: near, not equal.
    double error = 0;
    for (std::size_t i = 0; i < one.state().weights.size(); ++i) {
        error = std::max(error,
                         std::abs(static_cast<double>(one.state().weights[i]) -
                                  static_cast<double>(two.state().weights[i])));
    }
    CHECK(error < 1e-2);
}

TEST_CASE("rounded experts are what four bits hold, and rounding twice changes nothing",
          "[trainer][rounding]") {
    const ParameterLayout layout(small_shape());
    const std::vector<float> weights = make_weights(layout, 9);
    const std::vector<float> once = round_experts(layout, weights);
    CHECK(once != weights);
    CHECK(round_experts(layout, once) == once);
    for (const Parameter& p : layout.parameters) {
        if (p.is_routed_expert) continue;
        CHECK(std::equal(weights.begin() + static_cast<std::ptrdiff_t>(p.offset),
                         weights.begin() + static_cast<std::ptrdiff_t>(p.offset + p.elements()),
                         once.begin() + static_cast<std::ptrdiff_t>(p.offset)));
    }
}

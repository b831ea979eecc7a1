// Latent attention by expanded keys: near the reference, and the same bits whichever way it is cut.
#include "kernels/cuda/expand.h"

#include "core/model/placement.h"
#include "kernels/cuda/buckets.h"
#include "tests/kernels/cuda/attention_check.h"

namespace hearth::cuda::test {
namespace {

struct LatentCase {
    int heads, nope_dim, rope_dim, latent_dim, value_dim;
    compute::Dtype dtype = compute::Dtype::f16;
    std::int32_t position = 37;  ///< of the step's first token
    int tokens = 50;
    Format cache = Format::f16;
};

/// Rows of the step before and behind the run, which it leaves alone.
constexpr int kBefore = 3;
constexpr int kBehind = 2;

/// A step of one sequence, its inputs on both sides, and what the reference makes of them.
class LatentStep {
  public:
    explicit LatentStep(const LatentCase& of)
        : of_(of),
          k_up_(of.dtype, {of.heads, of.latent_dim, of.nope_dim}, random_),
          v_up_(of.dtype, {of.heads, of.value_dim, of.latent_dim}, random_),
          caches_(of.latent_dim + of.rope_dim, 0, random_, of.cache),
          step_(positions(), true, caches_.device->data(), kBlocks),
          q_(random_values(columns(of.nope_dim + of.rope_dim), random_, query_size())),
          device_q_(q_) {}

    /// (tokens, heads * value_dim) of all rows of the step.
    std::vector<float> expected() {
        const std::int64_t rows = of_.tokens;
        const std::int64_t query = of_.heads * (of_.nope_dim + of_.rope_dim);
        const std::int64_t key = of_.latent_dim + of_.rope_dim;
        // The reference stores the latents of the step first; they are there already.
        std::vector<float> latent(static_cast<std::size_t>(rows * key));
        const auto places = places_of(step_);
        for (std::int64_t t = 0; t < rows; ++t) {
            const auto row = caches_.reference->key(
                kLayer, places.row_of(t, step_.positions()[static_cast<std::size_t>(t)]));
            std::ranges::copy(row, latent.begin() + static_cast<std::ptrdiff_t>(t * key));
        }
        std::vector<float> out(columns(of_.value_dim));
        std::vector<float> mixed(columns(of_.latent_dim));
        std::vector<float> row(static_cast<std::size_t>(std::max(of_.latent_dim, of_.nope_dim)));
        const std::int64_t out_columns = of_.heads * of_.value_dim;
        reference::attention_mla(
            {.q = {},
             .latent = {},
             .out = {},
             .k_up = 0,
             .v_up = 0,
             .layer = kLayer,
             .heads = of_.heads,
             .nope_dim = of_.nope_dim,
             .rope_dim = of_.rope_dim,
             .latent_dim = of_.latent_dim,
             .value_dim = of_.value_dim,
             .scale = kScale},
            {.q = {q_.data(), rows, query, query},
             .latent = {latent.data(), rows, key, key},
             .k_up = k_up_.tensor(),
             .v_up = v_up_.tensor()},
            places,
            *caches_.reference,
            {out.data(), rows, out_columns, out_columns},
            {.row = row, .hidden = {}, .latent = mixed, .scores = caches_.reference->scores()});
        return out;
    }

    struct Way {
        int positions_max, shared_bytes, multiprocessors;
    };
    /// The run's rows; what is around them stays poison.
    std::vector<float> found(const Way& way) {
        const std::int64_t key_dim = of_.nope_dim + of_.rope_dim;
        const DeviceArray<float> out(columns(of_.value_dim));
        const DeviceArray<std::uint16_t> rows(static_cast<std::size_t>(
            way.positions_max * expanded_columns(of_.heads, key_dim, of_.value_dim)));
        const DeviceArray<float2> states(columns(1));
        ExpandedAttention args;
        args.query = {device_q_.data(), of_.heads * key_dim};
        args.out = {out.data(), of_.heads * of_.value_dim};
        args.scale = kScale;
        args.expand = {.k_up = k_up_.matrix(),
                       .v_up = v_up_.matrix(),
                       .cache = caches_.layer(),
                       .heads = of_.heads,
                       .nope_dim = of_.nope_dim,
                       .rope_dim = of_.rope_dim,
                       .latent_dim = of_.latent_dim,
                       .value_dim = of_.value_dim,
                       .positions_max = way.positions_max,
                       .rows = rows.data(),
                       .states = states.data()};
        args.shared_bytes_max = way.shared_bytes;
        args.multiprocessors = way.multiprocessors;
        const int tokens = of_.tokens - kBefore - kBehind;
        require(attend_expanded(
            args,
            step_.device(),
            {.first = kBefore, .tokens = tokens, .length = of_.position + kBefore + tokens},
            kStream));
        const auto all = out.read();
        const auto values = of_run(all);
        CHECK(std::ranges::count_if(all, [](float value) { return std::isnan(value); }) ==
              static_cast<std::ptrdiff_t>(all.size() - values.size()));
        return values;
    }

    /// The run's part of all rows.
    [[nodiscard]] std::vector<float> of_run(const std::vector<float>& all) const {
        const std::ptrdiff_t row = of_.heads * of_.value_dim;
        return {all.begin() + kBefore * row, all.end() - kBehind * row};
    }

  private:
    static constexpr float kScale = 0.5F;
    /// Scores of about 1, as sharp as attention usually is.
    [[nodiscard]] float query_size() const {
        return 1.0F / kScale / std::sqrt(static_cast<float>(of_.nope_dim * of_.latent_dim));
    }

    [[nodiscard]] std::vector<std::int32_t> positions() const {
        std::vector<std::int32_t> all;
        for (int t = 0; t < of_.tokens; ++t) {
            all.push_back(of_.position + t);
        }
        return all;
    }
    [[nodiscard]] std::size_t columns(int each) const {
        return static_cast<std::size_t>(of_.tokens * of_.heads * each);
    }

    const LatentCase of_;
    std::mt19937 random_{seed_of(61)};
    const TestWeight k_up_, v_up_;
    Caches caches_;
    const TestStep step_;
    std::vector<float> q_;
    const DeviceArray<float> device_q_;
};

/// Weights, keys and values as halves, and scores from such keys: of six seeds the worst value was
/// 3.9e-3 off, and 30 keep this bound.
constexpr double kTolerance = 5e-3;

void check_expanded(const LatentCase& of) {
    INFO(of.heads << " heads, " << of.nope_dim << " + " << of.rope_dim << " columns of "
                  << of.latent_dim << ", values " << of.value_dim << ", "
                  << compute::traits(of.dtype).name);
    LatentStep step(of);
    const auto found = step.found({1024, 0, 1});
    check_near(found, step.of_run(step.expected()), kTolerance);
    // Short stretches, small tiles, little shared memory.
    CHECK(is_same(step.found({64, 0, 1}), found));
    CHECK(is_same(step.found({128, 0, 1'000'000}), found));
    CHECK(is_same(step.found({64, 1, 1}), found));
}

TEST_CASE("expanded keys attend as the reference does", "[cuda][attention]") {
    check_expanded({2, 16, 8, 32, 16});
    check_expanded({2, 128, 64, 512, 128, compute::Dtype::q8_0, 130});
    check_expanded({1, 192, 64, 512, 256, compute::Dtype::bf16, 0, 20});
    check_expanded({3, 10, 6, 150, 7, compute::Dtype::f32, 60, 40});
    check_expanded({1, 130, 2, 70, 140, compute::Dtype::f16, 0, 140});
    // Latents in Q8_0, their last block filled up.
    check_expanded({2, 128, 64, 512, 128, compute::Dtype::q8_0, 130, 50, Format::q8_0});
    check_expanded({3, 10, 6, 150, 7, compute::Dtype::f32, 60, 40, Format::q8_0});
}

TEST_CASE("keys are expanded from weights of every type", "[cuda][attention]") {
    for (const auto dtype : kQuantised) {
        check_expanded({2, 256, 0, 256, 32, dtype, 70, 12});
    }
}

TEST_CASE("a stretch is bounded in positions and in bytes", "[cuda][attention]") {
    // V2-Lite: 10 KiB a position; V3: 80.
    CHECK(stretch_positions(expanded_columns(16, 192, 128)) == 1024);
    CHECK(stretch_positions(expanded_columns(128, 192, 128)) == 384);
    CHECK(stretch_positions(std::int64_t{1} << 24) == kSplitTokens);
    // As much as the planner counts.
    const std::int64_t columns = expanded_columns(128, 192, 128);
    CHECK(2 * columns * stretch_positions(columns) <= model::device_costs("cuda").expanded_bytes);
}

TEST_CASE("whole groups of a prompt are expanded, however a step cuts them", "[cuda][attention]") {
    constexpr std::int32_t kGroup = kExpandGroupTokens;
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> sequence_of;
    std::vector<compute::SequenceView> sequences;
    const auto push = [&](std::int32_t prompt, std::int32_t position, std::int32_t tokens) {
        for (std::int32_t t = 0; t < tokens; ++t) {
            positions.push_back(position + t);
            sequence_of.push_back(static_cast<std::int32_t>(sequences.size()));
        }
        sequences.push_back({{}, prompt});
    };
    push(0, 40, 1);                       // picked
    push(kGroup - 1, 0, kGroup - 1);      // no whole group
    push(2 * kGroup, kGroup + 3, 5);      // in the middle of one
    push(2 * kGroup + 9, 2 * kGroup, 9);  // behind the last one
    push(kGroup + 60, 0, kGroup + 60);    // one and a rest
    push(3 * kGroup, 3 * kGroup, 1);      // the first picked token
    push(3 * kGroup, 3 * kGroup - 1, 1);  // the last of the prompt
    const std::vector<std::int32_t> tokens(positions.size());
    const auto runs = find_expanded_runs({.tokens = tokens,
                                          .positions = positions,
                                          .sequence_of = sequence_of,
                                          .sequences = sequences,
                                          .logit_rows = {}});
    const int before = 1 + kGroup - 1;
    CHECK(runs == std::vector<ExpandedRun>{{before, 5, kGroup + 8},
                                           {before + 14, kGroup, kGroup},
                                           {before + 14 + kGroup + 61, 1, 3 * kGroup}});
}

}  // namespace
}  // namespace hearth::cuda::test

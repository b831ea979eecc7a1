#include "core/engine/sampler.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::engine {
namespace {

/// Logits of the given probabilities, shifted: only differences count.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
    std::vector<float> logits;
    logits.reserve(probabilities.size());
    for (const double probability : probabilities) {
        logits.push_back(static_cast<float>(std::log(probability) + 3.0));
    }
    return logits;
}

std::map<std::int32_t, int> count_picks(const std::vector<double>& probabilities,
                                        SamplingSettings settings,
                                        int draws) {
    const std::vector<float> logits = logits_of(probabilities);
    Sampler sampler(static_cast<std::int32_t>(logits.size()));
    std::map<std::int32_t, int> counts;
    for (int position = 0; position < draws; ++position) {
        const Pick pick = sampler.pick(logits, {settings, position});
        ++counts[pick.token];
    }
    return counts;
}

TEST_CASE("greedy takes the best, ties to the lower number, with its probability",
          "[engine][sampler]") {
    struct Case {
        std::vector<double> probabilities;
        std::int32_t token;
    };
    const Case cases[] = {
        {{0.1, 0.6, 0.3}, 1},
        {{0.4, 0.2, 0.4}, 0},
        {{0.2, 0.4, 0.4}, 1},
        {{1.0}, 0},
    };
    for (const Case& item : cases) {
        const std::vector<float> logits = logits_of(item.probabilities);
        const Pick pick = Sampler(static_cast<std::int32_t>(logits.size())).pick(logits, {});
        CHECK(pick.token == item.token);
        const double expected = item.probabilities[static_cast<std::size_t>(item.token)];
        CHECK(pick.probability == Approx(expected).epsilon(1e-5));
    }
}

TEST_CASE("the probability is that of the model, whatever the filters and the temperature",
          "[engine][sampler]") {
    const std::vector<double> probabilities{0.5, 0.3, 0.15, 0.05};
    const std::vector<float> logits = logits_of(probabilities);
    Sampler sampler(4);
    const SamplingSettings settings{
        .temperature = 2.0F, .top_k = 3, .top_p = 0.9F, .min_p = 0.1F, .seed = 4};
    for (int position = 0; position < 50; ++position) {
        const Pick pick = sampler.pick(logits, {settings, position});
        const double expected = probabilities[static_cast<std::size_t>(pick.token)];
        CHECK(pick.probability == Approx(expected).epsilon(1e-5));
    }
}

TEST_CASE("filters leave the sets that they name", "[engine][sampler]") {
    struct Case {
        const char* name;
        SamplingSettings settings;
        std::set<std::int32_t> left;
    };
    // Sorted by probability: tokens 2, 0, 4, 1, 3.
    const std::vector<double> probabilities{0.25, 0.1, 0.4, 0.05, 0.2};
    const Case cases[] = {
        {"none", {.temperature = 1.0F}, {0, 1, 2, 3, 4}},
        {"top_k", {.temperature = 1.0F, .top_k = 2}, {0, 2}},
        {"top_k of more than there are", {.temperature = 1.0F, .top_k = 9}, {0, 1, 2, 3, 4}},
        {"top_k of one is greedy", {.temperature = 5.0F, .top_k = 1}, {2}},
        {"top_p takes the token that reaches it", {.temperature = 1.0F, .top_p = 0.6F}, {0, 2}},
        {"top_p below the best keeps the best", {.temperature = 1.0F, .top_p = 0.1F}, {2}},
        {"top_p sees what top_k left: 0.4 of 0.65 is 0.62",
         {.temperature = 1.0F, .top_k = 2, .top_p = 0.6F},
         {2}},
        {"min_p is a share of the best", {.temperature = 1.0F, .min_p = 0.45F}, {0, 2, 4}},
        {"min_p of one keeps the best", {.temperature = 1.0F, .min_p = 1.0F}, {2}},
        {"temperature comes last", {.temperature = 9.0F, .min_p = 0.45F}, {0, 2, 4}},
        {"all together", {.temperature = 1.0F, .top_k = 4, .top_p = 0.8F, .min_p = 0.55F}, {0, 2}},
    };
    for (const Case& item : cases) {
        INFO(item.name);
        std::set<std::int32_t> seen;
        for (const auto& [token, count] : count_picks(probabilities, item.settings, 2000)) {
            seen.insert(token);
        }
        CHECK(seen == item.left);
    }
}

TEST_CASE("tokens come as often as their probability, reshaped by the temperature, says",
          "[engine][sampler]") {
    const std::vector<double> probabilities{0.5, 0.3, 0.15, 0.05};
    const double temperature = GENERATE(0.5, 1.0, 2.0);
    const double top_p = GENERATE(1.0, 0.99999);  // with and without the way through the heap
    const int draws = 20'000;
    const auto counts = count_picks(probabilities,
                                    {.temperature = static_cast<float>(temperature),
                                     .top_p = static_cast<float>(top_p),
                                     .seed = 11},
                                    draws);
    double sum = 0.0;
    for (const double probability : probabilities) {
        sum += std::pow(probability, 1.0 / temperature);
    }
    for (std::size_t i = 0; i < probabilities.size(); ++i) {
        const double expected = std::pow(probabilities[i], 1.0 / temperature) / sum;
        const double deviation = std::sqrt(expected * (1.0 - expected) / draws);
        const double seen = static_cast<double>(counts.at(static_cast<std::int32_t>(i))) / draws;
        CHECK(std::abs(seen - expected) < 4.5 * deviation);
    }
}

TEST_CASE("the same seed and position draw the same number, others another", "[engine][sampler]") {
    std::set<double> seen;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        for (std::int32_t position = 0; position < 20; ++position) {
            const double number = uniform_at(seed, position);
            CHECK(number == uniform_at(seed, position));
            CHECK(number >= 0.0);
            CHECK(number < 1.0);
            seen.insert(number);
        }
    }
    CHECK(seen.size() == 400);
}

TEST_CASE("a very low temperature is greedy", "[engine][sampler]") {
    const auto counts = count_picks({0.3, 0.31, 0.29, 0.1}, {.temperature = 1e-6F}, 100);
    CHECK(counts == std::map<std::int32_t, int>{{1, 100}});
}

TEST_CASE("vocabularies of every length find the best and its probability", "[engine][sampler]") {
    std::mt19937 random(5);
    for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 31U, 33U, 1000U}) {
        INFO(size);
        std::vector<float> logits(size);
        for (std::size_t best = 0; best < size; best += 1 + size / 40) {
            double sum = 0.0;
            for (std::size_t i = 0; i < size; ++i) {
                logits[i] = static_cast<float>(random() % 30'000) / 100.0F - 290.0F;
                if (i == best) logits[i] = 10.5F;
                sum += std::exp(static_cast<double>(logits[i]) - 10.5);
            }
            const Pick pick = Sampler(static_cast<std::int32_t>(size)).pick(logits, {});
            CHECK(static_cast<std::size_t>(pick.token) == best);
            CHECK(pick.probability == Approx(1.0 / sum).epsilon(2e-6));
        }
    }
}

TEST_CASE("the likeliest others are named where they are wanted", "[engine][sampler]") {
    struct Case {
        std::vector<double> probabilities;
        std::vector<std::int32_t> rivals;
    };
    const Case cases[] = {
        {{0.1, 0.6, 0.3}, {2, 0}},
        {{0.2, 0.4, 0.2, 0.2}, {0, 2, 3}},         // ties in the order of the vocabulary
        {{0.1, 0.15, 0.4, 0.05, 0.3}, {4, 1, 0}},  // no more than three
        {{0.985, 0.009, 0.006}, {}},               // too unlikely
        {{1.0}, {}},
    };
    const std::size_t distance = GENERATE(0U, 40U);  // beyond one look's width
    for (const Case& item : cases) {
        std::vector<float> logits = logits_of(item.probabilities);
        logits.insert(logits.begin() + 1, distance, -80.0F);
        const auto moved = [&](std::int32_t token) {
            return token == 0 ? 0 : token + static_cast<std::int32_t>(distance);
        };
        Sampler sampler(static_cast<std::int32_t>(logits.size()));
        CHECK(sampler.pick(logits, {}).rivals[0].probability == 0.0F);
        const Pick pick = sampler.pick(logits, {{}, 0, nullptr, true});
        for (std::size_t i = 0; i < pick.rivals.size(); ++i) {
            if (i >= item.rivals.size()) {
                CHECK(pick.rivals[i].probability == 0.0F);
                continue;
            }
            CHECK(pick.rivals[i].token == moved(item.rivals[i]));
            const double expected = item.probabilities[static_cast<std::size_t>(item.rivals[i])];
            CHECK(pick.rivals[i].probability == Approx(expected).epsilon(1e-5));
        }
    }
}

TEST_CASE("a logit that is not finite is said, and no token picked", "[engine][sampler]") {
    const float bad = GENERATE(std::numeric_limits<float>::quiet_NaN(),
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity());
    const std::size_t place = GENERATE(0U, 1U, 15U, 16U, 31U, 32U, 34U);
    const float temperature = GENERATE(0.0F, 1.0F);
    std::vector<float> logits(35, 2.0F);
    logits[place] = bad;
    const Pick pick = Sampler(35).pick(logits, {{.temperature = temperature}, 8});
    CHECK(pick.token == Pick::kNotFinite);
}

TEST_CASE("what may not be picked is not, and does not count", "[engine][sampler]") {
    const std::vector<float> logits = logits_of({0.48, 0.2, 0.02, 0.25, 0.05});
    const std::uint32_t mask = 0b10010;  // the second and the fifth token
    Sampler sampler(5);
    const Pick best = sampler.pick(logits, {.settings = {}, .position = 0, .allowed = &mask});
    CHECK(best.token == 1);
    CHECK(best.probability == Approx(0.8).epsilon(1e-5));
    const SamplingSettings wild = GENERATE(SamplingSettings{.temperature = 1.5F},
                                           SamplingSettings{.temperature = 1.5F, .top_k = 4},
                                           SamplingSettings{.temperature = 1.5F, .top_p = 0.99F});
    std::map<std::int32_t, int> counts;
    for (int position = 0; position < 400; ++position) {
        ++counts[sampler.pick(logits, {wild, position, &mask}).token];
    }
    CHECK(counts.size() == 2);
    CHECK(counts[1] > counts[4]);
    CHECK(counts[4] > 0);
}

}  // namespace
}  // namespace hearth::engine

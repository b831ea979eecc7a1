// Picking on the device against the host's sampler.
#include "kernels/cuda/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/engine/sampler.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

using compute::Pick;
using compute::PickOrder;
using compute::SamplingSettings;

std::vector<float> random_logits(std::size_t count, unsigned seed) {
    std::mt19937 random(seed_of(seed));
    std::normal_distribution<float> normal(0.0F, 3.0F);
    std::vector<float> logits(count);
    for (float& logit : logits) {
        logit = normal(random);
    }
    return logits;
}

std::vector<Pick> pick_rows(const std::vector<float>& logits,
                            std::vector<PickOrder> orders,
                            int vocab_size) {
    const DeviceArray<float> device_logits(logits);
    const auto words = static_cast<std::size_t>(compute::mask_words(vocab_size));
    std::vector<std::uint32_t> masks(orders.size() * words);
    for (std::size_t row = 0; row < orders.size(); ++row) {
        if (orders[row].allowed == nullptr) continue;
        std::copy_n(orders[row].allowed, words, masks.data() + row * words);
    }
    const DeviceArray<std::uint32_t> device_masks(masks);
    bool has_masks = false;
    for (std::size_t row = 0; row < orders.size(); ++row) {
        if (orders[row].allowed == nullptr) continue;
        orders[row].allowed = device_masks.data() + row * words;
        has_masks = true;
    }
    const DeviceArray<PickOrder> device_orders(orders);
    const DeviceArray<PickSlice> slices(orders.size() *
                                        static_cast<std::size_t>(slices_of(vocab_size)));
    const DeviceArray<Pick> picks(orders.size());
    const PickArgs args{.logits = device_logits.data(),
                        .orders = device_orders.data(),
                        .slices = slices.data(),
                        .picks = picks.data(),
                        .vocab_size = vocab_size,
                        .has_masks = has_masks};
    require(pick(args, static_cast<int>(orders.size()), kStream));
    return picks.read();
}

/// Each row's pick and its rivals are those of the host's sampler.
void check_as_host(const std::vector<float>& logits,
                   const std::vector<PickOrder>& orders,
                   int vocab_size) {
    const std::vector<Pick> picks = pick_rows(logits, orders, vocab_size);
    engine::Sampler sampler(vocab_size);
    const auto width = static_cast<std::size_t>(vocab_size);
    for (std::size_t row = 0; row < orders.size(); ++row) {
        INFO("row " << row << " of " << vocab_size);
        const Pick expected =
            sampler.pick(std::span(logits).subspan(row * width, width), orders[row]);
        CHECK(picks[row].token == expected.token);
        CHECK(picks[row].probability == Approx(expected.probability).epsilon(1e-4));
        for (std::size_t i = 0; i < expected.rivals.size(); ++i) {
            CHECK(picks[row].rivals[i].token == expected.rivals[i].token);
            CHECK(picks[row].rivals[i].probability ==
                  Approx(expected.rivals[i].probability).epsilon(1e-4));
        }
    }
}

TEST_CASE("a device picks what the host picks", "[cuda][sample]") {
    const int vocab_size = GENERATE(1, 37, 513, 5000);
    const SamplingSettings settings[] = {
        {},
        {.temperature = 1.0F, .seed = 3},
        {.temperature = 0.7F, .top_k = 5, .seed = 4},
        {.temperature = 1.5F, .top_p = 0.8F, .seed = 5},
        {.temperature = 1.0F, .min_p = 0.2F, .seed = 6},
        {.temperature = 2.0F, .top_k = 40, .top_p = 0.9F, .min_p = 0.01F, .seed = 7},
        {.temperature = 1.0F, .top_k = 100000, .top_p = 0.001F, .seed = 8},
    };
    // Every third token; at least one.
    std::vector<std::uint32_t> mask(static_cast<std::size_t>(compute::mask_words(vocab_size)));
    for (int token = 0; token < vocab_size; token += 3) {
        mask[static_cast<std::size_t>(token / 32)] |= 1U << static_cast<unsigned>(token % 32);
    }
    std::vector<float> logits;
    std::vector<PickOrder> orders;
    for (int position = 0; position < 6; ++position) {
        for (const SamplingSettings& one : settings) {
            const auto row = random_logits(static_cast<std::size_t>(vocab_size),
                                           static_cast<unsigned>(orders.size()));
            logits.insert(logits.end(), row.begin(), row.end());
            orders.push_back({one, position, position % 2 == 0 ? nullptr : mask.data()});
        }
    }
    check_as_host(logits, orders, vocab_size);
}

TEST_CASE("a device names the rivals that the host names", "[cuda][sample]") {
    const int vocab_size = GENERATE(1, 2, 3, 37, 9000);
    std::vector<std::uint32_t> mask(static_cast<std::size_t>(compute::mask_words(vocab_size)));
    for (int token = 0; token < vocab_size; token += 2) {
        compute::allow(mask.data(), token);
    }
    std::vector<float> logits;
    std::vector<PickOrder> orders;
    for (int i = 0; i < 24; ++i) {
        auto row = random_logits(static_cast<std::size_t>(vocab_size), static_cast<unsigned>(i));
        // Likely ones: in one slice, in several, and some that weigh the same.
        for (int likely = 0; likely < 1 + i % 6; ++likely) {
            const auto place =
                static_cast<std::size_t>((i * 7 + likely * (i % 2 == 0 ? 1 : 1777)) % vocab_size);
            row[place] = 18.0F + static_cast<float>(likely % 3) * 0.5F;
        }
        logits.insert(logits.end(), row.begin(), row.end());
        orders.push_back({i % 4 == 3 ? SamplingSettings{.temperature = 1.0F} : SamplingSettings{},
                          i,
                          i % 5 == 4 ? mask.data() : nullptr,
                          i % 8 != 7});
    }
    check_as_host(logits, orders, vocab_size);
}

TEST_CASE("rows beyond the step's are left alone", "[cuda][sample]") {
    constexpr int kVocab = 40;
    std::vector<float> values(3 * kVocab);
    for (const std::size_t best : {7U, 40U + 9U, 80U + 11U}) {
        values[best] = 1.0F;
    }
    const DeviceArray<float> logits(values);
    const DeviceArray<PickOrder> orders(
        std::vector<PickOrder>{{}, {{.temperature = 1.0F, .top_k = 1}, 4}, {}});
    const DeviceArray<PickSlice> slices(3);
    const DeviceArray<Pick> picks(3);
    const DeviceArray<std::int32_t> count(std::vector<std::int32_t>{2});
    require(pick({.logits = logits.data(),
                  .orders = orders.data(),
                  .slices = slices.data(),
                  .picks = picks.data(),
                  .vocab_size = kVocab,
                  .count = count.data()},
                 3,
                 kStream));
    CHECK(picks.read()[0].token == 7);
    CHECK(picks.read()[1].token == 9);
    CHECK(std::isnan(picks.read()[2].probability));
}

TEST_CASE("tokens that weigh the same are kept and found in the vocabulary's order",
          "[cuda][sample]") {
    constexpr int kVocab = 600;
    std::vector<float> logits(kVocab, 1.0F);
    logits[500] = 2.0F;
    std::vector<PickOrder> orders(300);
    for (std::size_t i = 0; i < orders.size(); ++i) {
        orders[i] = {{.temperature = 1.0F, .top_k = 4, .seed = 9}, static_cast<std::int32_t>(i)};
    }
    std::vector<float> rows;
    for (std::size_t i = 0; i < orders.size(); ++i) {
        rows.insert(rows.end(), logits.begin(), logits.end());
    }
    std::vector<int> counts(kVocab);
    for (const Pick& pick : pick_rows(rows, orders, kVocab)) {
        ++counts[static_cast<std::size_t>(pick.token)];
    }
    CHECK(counts[0] > 20);
    CHECK(counts[1] > 20);
    CHECK(counts[2] > 20);
    CHECK(counts[500] > 80);
    CHECK(counts[0] + counts[1] + counts[2] + counts[500] == 300);
    CHECK(pick_rows(std::vector<float>(kVocab, 1.0F), {PickOrder{}}, kVocab)[0].token == 0);
}

TEST_CASE("a logit that is not finite spoils its own row", "[cuda][sample]") {
    constexpr int kVocab = 4500;
    const float bad = GENERATE(std::numeric_limits<float>::quiet_NaN(),
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity());
    const std::size_t place = GENERATE(0U, 4095U, 4096U, 4499U);
    std::vector<float> logits(2 * kVocab, 0.5F);
    logits[kVocab + place] = bad;
    logits[17] = 1.0F;
    const auto picks =
        pick_rows(logits, {PickOrder{}, PickOrder{{.temperature = 1.0F}, 3}}, kVocab);
    CHECK(picks[0].token == 17);
    CHECK(picks[1].token == Pick::kNotFinite);
}

}  // namespace
}  // namespace hearth::cuda::test

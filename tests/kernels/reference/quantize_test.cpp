// Blocks written by hand from the layouts in core/compute/blocks.h, then what quantising loses.
#include "kernels/reference/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/dtype.h"
#include "core/compute/half.h"
#include "kernels/reference/dequantize.h"

namespace hearth::reference {
namespace {

using compute::Dtype;

std::vector<std::byte> to_bytes(const std::vector<int>& numbers) {
    std::vector<std::byte> bytes;
    for (const int number : numbers) {
        bytes.push_back(static_cast<std::byte>(number));
    }
    return bytes;
}

std::vector<float> decode(Dtype dtype, const std::vector<std::byte>& bytes) {
    const compute::DtypeTraits& layout = compute::traits(dtype);
    const std::size_t blocks = bytes.size() / static_cast<std::size_t>(layout.bytes);
    std::vector<float> values(blocks * static_cast<std::size_t>(layout.elements));
    dequantize(dtype, bytes, values);
    return values;
}

std::vector<std::byte> encode(Dtype dtype, const std::vector<float>& values) {
    const auto count = static_cast<std::int64_t>(values.size());
    std::vector<std::byte> bytes(static_cast<std::size_t>(compute::row_bytes(dtype, count)));
    quantize(dtype, values, bytes);
    return bytes;
}

std::vector<float> random_values(std::size_t count, unsigned seed, float scale) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0F, scale);
    std::vector<float> values(count);
    for (float& value : values) {
        value = normal(random);
    }
    return values;
}

double relative_error(const std::vector<float>& truth, const std::vector<float>& other) {
    double error = 0;
    double norm = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
        error += std::pow(static_cast<double>(other[i]) - static_cast<double>(truth[i]), 2);
        norm += std::pow(static_cast<double>(truth[i]), 2);
    }
    return std::sqrt(error / norm);
}

constexpr int kHalfOne[2] = {0x00, 0x3C};
constexpr int kHalfQuarter[2] = {0x00, 0x34};

/// d = 1 followed by `rest`.
std::vector<int> with_d(const std::vector<int>& rest) {
    std::vector<int> all(kHalfOne, kHalfOne + 2);
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
}

std::vector<int> counting(int count, int first, int step) {
    std::vector<int> numbers;
    for (int i = 0; i < count; ++i) {
        numbers.push_back((first + i * step) & 0xFF);
    }
    return numbers;
}

}  // namespace

TEST_CASE("plain floats decode as their bits say", "[reference][quantize]") {
    const std::vector<float> expected = {1.0F, -2.0F};
    CHECK(decode(Dtype::f32, to_bytes({0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0})) == expected);
    CHECK(decode(Dtype::f16, to_bytes({0, 0x3C, 0, 0xC0})) == expected);
    CHECK(decode(Dtype::bf16, to_bytes({0x80, 0x3F, 0, 0xC0})) == expected);
}

TEST_CASE("Q4_0 keeps the first half of a block in the low nibbles", "[reference][quantize]") {
    // Byte i holds i low and 15 - i high.
    std::vector<int> bytes = counting(16, 0xF0, 1 - 0x10);
    const std::vector<float> values = decode(Dtype::q4_0, to_bytes(with_d(bytes)));
    for (int i = 0; i < 16; ++i) {
        CHECK(values[static_cast<std::size_t>(i)] == static_cast<float>(i - 8));
        CHECK(values[static_cast<std::size_t>(i + 16)] == static_cast<float>(7 - i));
    }
}

TEST_CASE("Q5_0 and Q5_1 take the fifth bit from the high word", "[reference][quantize]") {
    std::vector<int> rest = {0x01, 0x00, 0x02, 0x80};  // elements 0, 17 and 31
    const std::vector<int> nibbles(16, 0x53);
    rest.insert(rest.end(), nibbles.begin(), nibbles.end());
    const std::vector<float> q5_0 = decode(Dtype::q5_0, to_bytes(with_d(rest)));
    rest.insert(rest.begin(), kHalfQuarter, kHalfQuarter + 2);
    const std::vector<float> q5_1 = decode(Dtype::q5_1, to_bytes(with_d(rest)));
    for (std::size_t i = 0; i < 32; ++i) {
        const int q = (i < 16 ? 3 : 5) + (i == 0 || i == 17 || i == 31 ? 16 : 0);
        CHECK(q5_0[i] == static_cast<float>(q - 16));
        CHECK(q5_1[i] == static_cast<float>(q) + 0.25F);
    }
}

TEST_CASE("Q8_0 is a signed byte times d", "[reference][quantize]") {
    const std::vector<float> values = decode(Dtype::q8_0, to_bytes(with_d(counting(32, -128, 8))));
    CHECK(values.front() == -128.0F);
    CHECK(values.back() == 120.0F);
}

TEST_CASE("MXFP4 is a power of two times a float of four bits", "[reference][quantize]") {
    std::vector<int> bytes = {128};  // 2^1
    for (int i = 0; i < 16; ++i) {
        bytes.push_back(i | (15 - i) << 4);
    }
    const float values_of[8] = {0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
    const std::vector<float> values = decode(Dtype::mxfp4, to_bytes(bytes));
    for (std::size_t i = 0; i < 16; ++i) {
        const float value = 2.0F * values_of[i % 8] * (i < 8 ? 1.0F : -1.0F);
        CHECK(values[i] == value);
        CHECK(values[31 - i] == value);
    }
    const auto with_exponent = [&](int exponent) {
        bytes[0] = exponent;
        return decode(Dtype::mxfp4, to_bytes(bytes))[7];  // the code of 6
    };
    CHECK(with_exponent(0) == 6.0F * 0x1p-127F);
    CHECK(with_exponent(1) == 6.0F * 0x1p-126F);
    CHECK(with_exponent(254) == std::numeric_limits<float>::infinity());  // 6 * 2^127
    CHECK(with_exponent(124) == 0.75F);
}

TEST_CASE("MXFP4 rounds to the nearest of its numbers, ties to even", "[reference][quantize]") {
    const std::vector<std::pair<float, float>> cases = {{4.0F, 4.0F},
                                                        {7.9F, 6.0F},
                                                        {0.25F, 0.0F},
                                                        {0.26F, 0.5F},
                                                        {0.75F, 1.0F},
                                                        {1.25F, 1.0F},
                                                        {1.26F, 1.5F},
                                                        {1.75F, 2.0F},
                                                        {2.5F, 2.0F},
                                                        {2.6F, 3.0F},
                                                        {3.5F, 4.0F},
                                                        {5.0F, 4.0F},
                                                        {5.1F, 6.0F},
                                                        {-5.1F, -6.0F},
                                                        {-0.2F, 0.0F}};
    std::vector<float> values(32, 0.0F);
    for (std::size_t i = 0; i < cases.size(); ++i) {
        values[i] = cases[i].first;
    }
    const auto bytes = encode(Dtype::mxfp4, values);
    CHECK(bytes.front() == std::byte{127});  // the largest lies from 4 to 8
    const std::vector<float> back = decode(Dtype::mxfp4, bytes);
    for (std::size_t i = 0; i < cases.size(); ++i) {
        INFO(cases[i].first);
        CHECK(back[i] == cases[i].second);
    }
}

TEST_CASE("Q4_K and Q5_K unpack eight 6-bit scales and minima", "[reference][quantize]") {
    // Scales 1 2 3 63 33 17 48 5, minima 0 7 63 1 32 18 9 60, packed by hand.
    const std::vector<int> scales = {129, 66, 195, 63, 128, 71, 63, 193, 1, 33, 144, 197};
    const int scale_of[8] = {1, 2, 3, 63, 33, 17, 48, 5};
    const int min_of[8] = {0, 7, 63, 1, 32, 18, 9, 60};
    std::vector<int> bytes = with_d({kHalfQuarter[0], kHalfQuarter[1]});
    bytes.insert(bytes.end(), scales.begin(), scales.end());
    const std::vector<int> nibbles(128, 0x92);
    std::vector<int> bytes5 = bytes;
    const std::vector<int> high(32, 0x41);  // runs 0 and 6 have the fifth bit
    bytes5.insert(bytes5.end(), high.begin(), high.end());
    bytes.insert(bytes.end(), nibbles.begin(), nibbles.end());
    bytes5.insert(bytes5.end(), nibbles.begin(), nibbles.end());
    const std::vector<float> q4 = decode(Dtype::q4_k, to_bytes(bytes));
    const std::vector<float> q5 = decode(Dtype::q5_k, to_bytes(bytes5));
    for (int i = 0; i < 256; ++i) {
        const int run = i / 32;
        const int q = run % 2 == 0 ? 2 : 9;
        const float offset = 0.25F * static_cast<float>(min_of[run]);
        const int q_high = q + (run == 0 || run == 6 ? 16 : 0);
        CHECK(q4[static_cast<std::size_t>(i)] == static_cast<float>(scale_of[run] * q) - offset);
        CHECK(q5[static_cast<std::size_t>(i)] ==
              static_cast<float>(scale_of[run] * q_high) - offset);
    }
}

TEST_CASE("Q6_K joins nibbles and bit pairs", "[reference][quantize]") {
    std::vector<int> bytes(64, 0x21);              // first half: runs 0, 1 low 1; runs 2, 3 low 2
    bytes.insert(bytes.end(), 64, 0x43);           // second half: 3 and 4
    bytes.insert(bytes.end(), 32, 0b11'10'01'00);  // run r of the first half: high bits r
    bytes.insert(bytes.end(), 32, 0b00'01'10'11);  // run r of the second half: 3 - r
    const std::vector<int> scales = counting(16, -8, 1);
    bytes.insert(bytes.end(), scales.begin(), scales.end());
    bytes.insert(bytes.end(), kHalfQuarter, kHalfQuarter + 2);
    const std::vector<float> values = decode(Dtype::q6_k, to_bytes(bytes));
    for (int i = 0; i < 256; ++i) {
        const int run = i % 128 / 32;
        const int low = (i < 128 ? 1 : 3) + run / 2;
        const int high = i < 128 ? run : 3 - run;
        const int scale = i / 16 - 8;
        CHECK(values[static_cast<std::size_t>(i)] ==
              0.25F * static_cast<float>(scale * (low + 16 * high - 32)));
    }
}

TEST_CASE("Q4_0 rounds by the signed extreme over -8", "[reference][quantize]") {
    std::vector<float> values(32, 0.0F);
    values[0] = 4.0F;    // the first of equal magnitudes decides: d = -0.5
    values[1] = -4.0F;   // 8 + 8.5 is clipped to 15: comes back as -3.5
    values[2] = 0.25F;   // -0.5 + 8.5 = 8.0: comes back as 0
    values[3] = -0.25F;  // 0.5 + 8.5 = 9.0: comes back as -0.5
    const std::vector<float> back = decode(Dtype::q4_0, encode(Dtype::q4_0, values));
    CHECK(back[0] == 4.0F);
    CHECK(back[1] == -3.5F);
    CHECK(back[2] == 0.0F);
    CHECK(back[3] == -0.5F);
    CHECK(back[4] == 0.0F);
}

TEST_CASE("encoding decoded Q4_0, Q5_0, Q8_0 and MXFP4 weights changes nothing",
          "[reference][quantize]") {
    for (const Dtype dtype :
         {Dtype::q4_0, Dtype::q5_0, Dtype::q8_0, Dtype::mxfp4, Dtype::f16, Dtype::bf16}) {
        for (const float scale : {1e-6F, 0.02F, 1.0F, 300.0F}) {
            const auto once = decode(dtype, encode(dtype, random_values(32 * 200, 7, scale)));
            INFO(compute::traits(dtype).name << " at scale " << scale);
            CHECK(decode(dtype, encode(dtype, once)) == once);
        }
    }
}

TEST_CASE("what each type loses on normal weights stays under its bound", "[reference][quantize]") {
    struct Row {
        Dtype dtype;
        double bound;
    };
    const Row rows[] = {{Dtype::f32, 0.0},
                        {Dtype::f16, 0.0003},
                        {Dtype::bf16, 0.002},
                        {Dtype::q8_0, 0.0056},
                        {Dtype::q4_0, 0.088},
                        {Dtype::q5_0, 0.044},
                        {Dtype::q5_1, 0.039},
                        {Dtype::mxfp4, 0.13},
                        {Dtype::q4_k, 0.0735},
                        {Dtype::q5_k, 0.0365},
                        {Dtype::q6_k, 0.0178}};
    const std::vector<float> values = random_values(256 * 100, 11, 0.02F);
    for (const Row& row : rows) {
        const double error = relative_error(values, decode(row.dtype, encode(row.dtype, values)));
        INFO(compute::traits(row.dtype).name << " " << error);
        CHECK(error <= row.bound);
    }
}

TEST_CASE("blocks of one value, of none and of one outlier survive", "[reference][quantize]") {
    const Dtype types[] = {
        Dtype::q8_0, Dtype::q4_0, Dtype::q5_0, Dtype::q5_1, Dtype::q4_k, Dtype::q5_k, Dtype::q6_k};
    for (const Dtype dtype : types) {
        INFO(compute::traits(dtype).name);
        for (const float value : {0.0F, 0.75F, -0.75F}) {
            const std::vector<float> values(256, value);
            for (const float back : decode(dtype, encode(dtype, values))) {
                CHECK(back == Approx(value).epsilon(0.02));
            }
        }
        std::vector<float> spike(256, 0.0F);
        spike[77] = -5.0F;
        const std::vector<float> back = decode(dtype, encode(dtype, spike));
        CHECK(back[77] == Approx(-5.0F).epsilon(0.02));
        CHECK(back[78] == Approx(0.0F).margin(0.0025));  // the scale is a half
    }
}

TEST_CASE("values that are not finite give some block and no crash", "[reference][quantize]") {
    std::vector<float> values(256, 0.5F);
    values[3] = std::numeric_limits<float>::quiet_NaN();
    values[40] = std::numeric_limits<float>::infinity();
    values[90] = -1e38F;
    values[200] = 1e-44F;
    for (const Dtype dtype : {Dtype::q8_0,
                              Dtype::q4_0,
                              Dtype::q5_0,
                              Dtype::q5_1,
                              Dtype::mxfp4,
                              Dtype::q4_k,
                              Dtype::q5_k,
                              Dtype::q6_k,
                              Dtype::f16,
                              Dtype::bf16}) {
        CHECK(decode(dtype, encode(dtype, values)).size() == 256);
    }
}

TEST_CASE("activations are rounded in blocks of 32, ties to even", "[reference][quantize]") {
    std::vector<float> values(96, 0.0F);
    // Steps of 1/2: the largest is 127 of them.
    const float first[] = {63.5F, 0.25F, 0.75F, -0.25F, -0.75F, 0.3F, -20.2F};
    const float expected[] = {63.5F, 0.0F, 1.0F, 0.0F, -1.0F, 0.5F, -20.0F};
    std::ranges::copy(first, values.begin());
    values[40] = 0.003F;
    std::vector<float> out(96, 7.0F);
    round_activations(values, out);
    for (std::size_t i = 0; i < std::size(expected); ++i) {
        INFO("at " << i);
        CHECK(out[i] == expected[i]);
    }
    CHECK(out[40] == Approx(0.003F));  // a block has a step of its own
    CHECK(out[41] == 0.0F);
    CHECK(out[95] == 0.0F);
    values[70] = std::numeric_limits<float>::infinity();
    values[2] = std::numeric_limits<float>::quiet_NaN();
    round_activations(values, values);
    CHECK(std::isnan(values[0]));
    CHECK(values[40] == Approx(0.003F));
    CHECK(std::isnan(values[95]));
}

}  // namespace hearth::reference

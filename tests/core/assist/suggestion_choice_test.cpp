#include "core/assist/suggestion_choice.h"

#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::assist {
namespace {

CopyOffer copy_of(std::string text, std::int32_t match, std::int32_t agreeing = 1) {
    CopyOffer offer;
    offer.text = text;
    offer.evidence = {.text = std::move(text), .match_characters = match, .agreeing = agreeing};
    return offer;
}

ModelLine line_of(std::string_view text, double probability) {
    return {.text = text, .tokens = {.log_probability = std::log(probability), .token_count = 3}};
}

Choice choose_one(const ModelLine& line,
                  std::span<const CopyOffer> copies,
                  double probability_min) {
    return choose({&line, 1}, copies, probability_min);
}

double changed_probability(CopyCandidate copy, const auto& change) {
    change(copy);
    return copy_probability(copy);
}

TEST_CASE("a copy is the likelier the more speaks for it", "[assist][choice]") {
    const CopyCandidate plain = {.text = "value;", .match_characters = 16, .agreeing = 1};
    const auto with = [&](const auto& change) { return changed_probability(plain, change); };
    const double base = copy_probability(plain);
    CHECK(base > 0.0);
    CHECK(with([](CopyCandidate& c) { c.match_characters = 64; }) > base);
    CHECK(with([](CopyCandidate& c) { c.agreeing = 4; }) > base);
    CHECK(with([](CopyCandidate& c) { c.fits_line_below = true; }) > base);
    CHECK(with([](CopyCandidate& c) { c.disagreeing = 1; }) < base);
    CHECK(with([](CopyCandidate& c) { c.text = std::string(80, 'x'); }) < base);
    CHECK(with([](CopyCandidate& c) {
              c.match_characters = 512;
              c.agreeing = 8;
              c.fits_line_below = true;
          }) > kCertainCopy);
    CHECK(base < kCertainCopy);
}

TEST_CASE("a line with the same lines around it elsewhere is the likelier the more there are",
          "[assist][choice]") {
    const CopyCandidate plain = {.text = "value;", .frame = {.lines = 3, .agreeing = 1}};
    const auto with = [&](const auto& change) { return changed_probability(plain, change); };
    const double base = copy_probability(plain);
    CHECK(base > 0.0);
    CHECK(with([](CopyCandidate& c) { c.frame.lines = 7; }) > base);
    CHECK(with([](CopyCandidate& c) { c.frame.agreeing = 4; }) > base);
    CHECK(with([](CopyCandidate& c) { c.frame.disagreeing = 1; }) < base);
    CHECK(with([](CopyCandidate& c) { c.frame = {}; }) == 0.0);
    // What was found in both ways is as likely as by the better one.
    const CopyCandidate matched = {.text = "value;", .match_characters = 64, .agreeing = 8};
    CHECK(with([&](CopyCandidate& c) {
              c.match_characters = 64;
              c.agreeing = 8;
          }) == std::max(base, copy_probability(matched)));
}

TEST_CASE("a model's line is never likelier for a further token", "[assist][choice]") {
    double last = 1.0;
    for (int tokens = 0; tokens < 400; ++tokens) {
        const double probability =
            model_probability({.log_probability = tokens * -2.0, .token_count = tokens});
        CHECK(probability <= last);
        CHECK(probability >= 0.0);
        last = probability;
    }
    CHECK(model_probability({}) > 0.99);
}

TEST_CASE("the likelier of model and copy is shown", "[assist][choice]") {
    const std::vector<CopyOffer> strong = {copy_of("a;", 200, 8)};
    const std::vector<CopyOffer> weak = {copy_of("a long way to go on from here;", 3)};
    CHECK(choose_one(line_of("b;", 0.5), strong, 0.0).text == "a;");
    CHECK(choose_one(line_of("b;", 0.5), strong, 0.0).source == Source::copy);
    CHECK(choose_one(line_of("b;", 0.5), weak, 0.0).text == "b;");
    CHECK(choose_one(line_of("b;", 0.5), weak, 0.0).source == Source::model);
    CHECK(choose({}, weak, 0.0).source == Source::copy);
    CHECK(choose_one(line_of("b;", 0.5), {}, 0.0).source == Source::model);
    CHECK(choose({}, {}, 0.0).source == Source::none);
    CHECK(choose_one(line_of("  ", 0.5), {}, 0.0).source == Source::none);
}

TEST_CASE("a line that both suggest is likelier than either says", "[assist][choice]") {
    const std::vector<CopyOffer> copies = {copy_of("a();", 20)};
    const Choice both = choose_one(line_of("a();  ", 0.4), copies, 0.0);
    CHECK(both.source == Source::both);
    CHECK(both.text == "a();");
    CHECK(both.probability > 0.4);
    CHECK(both.probability > copy_probability(copies[0].evidence));
    CHECK(both.probability < 1.0);
}

TEST_CASE("the likeliest of several lines is shown, and a copy helps one of them",
          "[assist][choice]") {
    const std::vector<ModelLine> lines = {
        line_of("a();", 0.3), line_of("b();", 0.4), line_of("c();", 0.2)};
    CHECK(choose(lines, {}, 0.0).text == "b();");
    const std::vector<CopyOffer> copies = {copy_of("a();", 20)};
    CHECK(choose(lines, copies, 0.0).text == "a();");
    CHECK(choose(lines, copies, 0.0).source == Source::both);
}

TEST_CASE("what is not likely enough is not shown", "[assist][choice]") {
    const std::vector<CopyOffer> copies = {copy_of("a();", 3)};
    const Choice refused = choose_one(line_of("b();", 0.2), copies, 0.9);
    CHECK(refused.source == Source::none);
    CHECK(refused.text.empty());
    CHECK(refused.probability >= 0.2);
    CHECK(refused.probability < 0.9);
}

TEST_CASE("the likeliest copy need not be the first, and a faulty one is none",
          "[assist][choice]") {
    std::vector<CopyOffer> copies = {copy_of("first();", 20), copy_of("second();", 20, 6)};
    CHECK(choose({}, copies, 0.0).text == "second();");
    copies[1].fault = Fault::unbalanced;
    CHECK(choose({}, copies, 0.0).text == "first();");
    CHECK(choose_one(line_of("second();", 0.9), copies, 0.0).source == Source::model);
}

}  // namespace
}  // namespace hearth::assist

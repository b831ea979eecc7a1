#include "training/evaluation/gate_fan.h"

#include <cmath>

#include <catch2/catch.hpp>

namespace {

using namespace hearth;
using namespace hearth::evaluation;
using engine::FinishReason;

/// Has enough at a stop letter; says all that it was fed, and at the end that it ended.
class UntilGate final : public assist::TextGate {
  public:
    explicit UntilGate(char stop) : stop_(stop) {}
    std::string finish(FinishReason /*reason*/) override { return "|"; }

  private:
    assist::GateAnswer take(std::string_view text) override {
        return {.text = std::string(text), .is_enough = text.find(stop_) != std::string_view::npos};
    }
    const char stop_;
};

TEST_CASE("each gate of a fan sees the same tokens up to its own end", "[training][gate_fan]") {
    GateFan fan;
    const UntilGate& first = fan.add(std::make_unique<UntilGate>('b'));
    const UntilGate& second = fan.add(std::make_unique<UntilGate>('z'));
    CHECK_FALSE(fan.feed("a", 0.5F).is_enough);
    CHECK_FALSE(fan.feed("b", 0.25F).is_enough);
    CHECK_FALSE(fan.feed("c", 0.125F).is_enough);
    CHECK(fan.finish(FinishReason::stop_token).empty());
    CHECK(fan.text(0) == "ab");
    CHECK(fan.text(1) == "abc|");
    CHECK(first.evidence().token_count == 2);
    CHECK(first.evidence().log_probability == Approx(std::log(0.125)));
    CHECK(second.evidence().log_probability == Approx(std::log(1.0 / 64)));
}

TEST_CASE("a fan has enough when all its gates have", "[training][gate_fan]") {
    GateFan fan;
    fan.add(std::make_unique<UntilGate>('a'));
    fan.add(std::make_unique<UntilGate>('b'));
    CHECK_FALSE(fan.feed("a", 1.0F).is_enough);
    const assist::GateAnswer last = fan.feed("b", 1.0F);
    CHECK(last.is_enough);
    CHECK(last.text.empty());
    CHECK(fan.text(0) == "a");
    CHECK(fan.text(1) == "ab");
}

}  // namespace

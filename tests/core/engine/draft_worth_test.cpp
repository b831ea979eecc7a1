#include "core/engine/draft_worth.h"

#include <catch2/catch.hpp>

namespace hearth::engine {
namespace {

/// Steps of a machine on which a step takes `plain` or `drafting` milliseconds and gives one token,
/// or one and every now and then two.
struct Machine {
    double plain_ms = 10.0, drafting_ms = 15.0;
    std::int32_t drafted_tokens = 2;

    /// Returns how many of `steps` steps were drafted.
    int run(DraftWorth& worth, std::size_t sequences, int steps) const {
        int drafted = 0;
        for (int i = 0; i < steps; ++i) {
            const bool is_drafted = worth.should_draft(sequences);
            drafted += is_drafted ? 1 : 0;
            const double ms = is_drafted ? drafting_ms : plain_ms;
            worth.note(sequences,
                       is_drafted ? drafted_tokens : 1,
                       std::chrono::duration_cast<Duration>(
                           std::chrono::duration<double, std::milli>(ms)));
        }
        return drafted;
    }
};

TEST_CASE("both ways are tried first, then the better one is kept", "[engine][draft_worth]") {
    constexpr int kTrial = DraftWorth::kTrialSteps;
    DraftWorth winning;
    const Machine good{.drafting_ms = 15.0};
    CHECK(good.run(winning, 1, kTrial) == 0);
    CHECK(good.run(winning, 1, kTrial) == kTrial);
    CHECK(good.run(winning, 1, 40) == 40);
    DraftWorth losing;
    const Machine bad{.drafting_ms = 25.0};
    CHECK(bad.run(losing, 1, 2 * kTrial) == kTrial);
    CHECK(bad.run(losing, 1, 40) == 0);
}

TEST_CASE("what loses is tried ever more seldom", "[engine][draft_worth]") {
    DraftWorth worth;
    const Machine bad{.drafting_ms = 25.0};
    bad.run(worth, 1, 2 * DraftWorth::kTrialSteps);
    CHECK(bad.run(worth, 1, 20'000) == 13 * DraftWorth::kTrialSteps);
    // It is found out when that changes, at the latest at the next trial.
    const Machine good{.drafting_ms = 12.0};
    const int steps = DraftWorth::kPeriodMax + DraftWorth::kTrialSteps;
    good.run(worth, 1, steps);
    CHECK(good.run(worth, 1, 50) == 50);
}

TEST_CASE("guesses that turn wrong are given up at once", "[engine][draft_worth]") {
    DraftWorth worth;
    Machine machine{.drafting_ms = 15.0};
    machine.run(worth, 1, 2 * DraftWorth::kTrialSteps + 20);
    machine.drafted_tokens = 1;
    CHECK(machine.run(worth, 1, 30) < 10);
}

TEST_CASE("what steps of several sequences cost is another matter", "[engine][draft_worth]") {
    DraftWorth worth;
    const Machine good{.drafting_ms = 15.0};
    const Machine bad{.drafting_ms = 25.0};
    good.run(worth, 1, 20);
    bad.run(worth, 8, 20);
    CHECK(worth.should_draft(1));
    CHECK_FALSE(worth.should_draft(8));
    CHECK_FALSE(worth.should_draft(15));
    CHECK(good.run(worth, 1000, 40) > 30);
}

}  // namespace
}  // namespace hearth::engine

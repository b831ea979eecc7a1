// The policy of experts on the host: a table of steps in, fetches out, and a random walk.
#include "kernels/cuda/expert_slots.h"

#include <algorithm>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/kernels/cuda/test_seed.h"

namespace hearth::cuda {
namespace {

using Experts = std::vector<int>;
using Fetch = ExpertSlots::Fetch;

std::vector<std::uint8_t> flags(int expert_count, const Experts& experts) {
    std::vector<std::uint8_t> used(static_cast<std::size_t>(expert_count), 0);
    for (const int expert : experts) {
        used[static_cast<std::size_t>(expert)] = 1;
    }
    return used;
}

struct Line {
    Experts used;
    std::vector<Fetch> fetches;  ///< begun after the step, and ended before the next
};

TEST_CASE("the last used take the slots of the least recently used", "[cuda][expert_slots]") {
    constexpr int kNobody = ExpertSlots::kNobody;
    const std::vector<Line> lines = {
        {{5, 2}, {{2, 0, kNobody}, {5, 1, kNobody}}},  // empty slots first, ties by number
        {{5}, {}},                                     // nothing that was used is missing
        {{7}, {{7, 0, 2}}},                            // 2 is longer ago than 5
        {{5, 7}, {}},                                  // 2 was used, but before both
        {{1, 5, 7}, {}},                               // no later than they: they stay
        {{5}, {}},                                     // 7 and 1 are of one step
        {{1}, {{1, 0, 7}}},                            // now 1 is later
    };
    ExpertSlots slots(8, 2);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        INFO("line " << i);
        slots.note(flags(8, lines[i].used));
        for (const Fetch& expected : lines[i].fetches) {
            const auto fetch = slots.begin_fetch();
            REQUIRE(fetch);
            CHECK(*fetch == expected);
            slots.end_fetch(*fetch);
        }
        CHECK_FALSE(slots.begin_fetch());
    }
}

TEST_CASE("an expert on its way is not fetched again, and nobody takes its slot",
          "[cuda][expert_slots]") {
    ExpertSlots slots(4, 1);
    slots.note(flags(4, {3}));
    const auto fetch = slots.begin_fetch();
    REQUIRE(fetch);
    CHECK_FALSE(slots.is_full(fetch->slot));
    slots.note(flags(4, {0}));
    CHECK_FALSE(slots.begin_fetch());
    slots.end_fetch(*fetch);
    CHECK(slots.is_full(fetch->slot));
    CHECK(slots.begin_fetch()->evicted == 3);
}

TEST_CASE("whatever is used, each expert has at most one slot and only older ones make way",
          "[cuda][expert_slots]") {
    std::mt19937 random(test::seed_of(7));
    for (int walk = 0; walk < 20; ++walk) {
        const int experts = 2 + static_cast<int>(random() % 30);
        const int slot_count = std::min(1 + static_cast<int>(random() % 5), experts - 1);
        ExpertSlots slots(experts, slot_count);
        std::vector<int> last_use(static_cast<std::size_t>(experts), 0);
        std::vector<Fetch> on_the_way;
        for (int step = 1; step < 300; ++step) {
            Experts used;
            for (int expert = 0; expert < experts; ++expert) {
                if (random() % 4 != 0) continue;
                used.push_back(expert);
                last_use[static_cast<std::size_t>(expert)] = step;
            }
            slots.note(flags(experts, used));
            while (random() % 3 != 0) {
                const auto fetch = slots.begin_fetch();
                if (!fetch) break;
                REQUIRE(last_use[static_cast<std::size_t>(fetch->expert)] > 0);
                if (fetch->evicted != ExpertSlots::kNobody) {
                    REQUIRE(last_use[static_cast<std::size_t>(fetch->evicted)] <
                            last_use[static_cast<std::size_t>(fetch->expert)]);
                }
                on_the_way.push_back(*fetch);
            }
            while (!on_the_way.empty() && random() % 2 == 0) {
                slots.end_fetch(on_the_way.front());
                on_the_way.erase(on_the_way.begin());
            }
            std::vector<int> seen;
            int waiting = 0;
            for (int slot = 0; slot < slot_count; ++slot) {
                const int expert = slots.expert_in(slot);
                if (expert == ExpertSlots::kNobody) continue;
                REQUIRE(std::ranges::count(seen, expert) == 0);
                seen.push_back(expert);
                waiting += slots.is_full(slot) ? 0 : 1;
            }
            REQUIRE(waiting == static_cast<int>(on_the_way.size()));
        }
    }
}

}  // namespace
}  // namespace hearth::cuda

#include "core/engine/kv_cache.h"

#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include <catch2/catch.hpp>

namespace hearth::engine {
namespace {

using Tokens = std::vector<std::int32_t>;
using compute::kBlockTokens;

Tokens counting(std::int32_t count, std::int32_t first = 0) {
    Tokens tokens(static_cast<std::size_t>(count));
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
}

Tokens joined(Tokens head, const Tokens& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
}

/// A sequence's life on a cache alone: what the engine would do with it, without an engine. The
/// rows of a store are played by numbers that depend on every token up to theirs.
class Fixture {
  public:
    explicit Fixture(std::int32_t block_count)
        : cache(block_count, [this](std::int32_t from, std::int32_t to) {
              copies.emplace_back(from, to);
              rows_[to] = rows_[from];
          }) {}

    struct Held {
        Tokens tokens;
        BlockTable table;
    };

    Held* reserve(const Tokens& tokens) {
        auto held = std::make_unique<Held>();
        held->tokens = tokens;
        if (!cache.try_reserve(held->tokens, held->table)) return nullptr;
        held_.push_back(std::move(held));
        check_rules();
        return held_.back().get();
    }

    /// Computes up to `count` tokens, which checks that every earlier row is the right one.
    void compute(Held& held, std::int32_t count) {
        for (std::int32_t i = held.table.computed_tokens; i < count; ++i) {
            row(held, i) = prefix_number(held.tokens, i);
        }
        cache.commit(held.tokens, held.table, count);
        check_rules();
        for (std::int32_t i = 0; i < count; ++i) {
            REQUIRE(row(held, i) == prefix_number(held.tokens, i));
        }
    }

    void release(Held* held, Rows rows = Rows::keep) {
        cache.release(held->tokens, held->table, rows);
        std::erase_if(held_, [&](const auto& other) { return other.get() == held; });
        check_rules();
    }

    /// The whole life: computed and released.
    void remember(const Tokens& tokens) {
        Held* held = reserve(tokens);
        REQUIRE(held != nullptr);
        compute(*held, static_cast<std::int32_t>(tokens.size()));
        release(held);
    }

    void check_rules() {
        std::vector<const BlockTable*> tables;
        for (const auto& held : held_) {
            tables.push_back(&held->table);
        }
        REQUIRE(cache.is_consistent(tables));
    }

    [[nodiscard]] const auto& held() const { return held_; }

    KvCache cache;
    std::vector<std::pair<std::int32_t, std::int32_t>> copies;

  private:
    static std::uint64_t prefix_number(const Tokens& tokens, std::int32_t index) {
        std::uint64_t number = 1;
        for (std::int32_t i = 0; i <= index; ++i) {
            number = number * 6364136223846793005U +
                     static_cast<std::uint64_t>(tokens[static_cast<std::size_t>(i)]) + 1;
        }
        return number;
    }
    std::uint64_t& row(const Held& held, std::int32_t index) {
        const std::int32_t block =
            held.table.blocks.at(static_cast<std::size_t>(index / kBlockTokens));
        return rows_[block][index % kBlockTokens];
    }

    std::vector<std::unique_ptr<Held>> held_;
    std::map<std::int32_t, std::map<std::int32_t, std::uint64_t>> rows_;
};

struct MatchCase {
    const char* name;
    Tokens remembered;
    Tokens asked;
    std::int32_t matched;
    std::size_t copies;
};

TEST_CASE("a prompt finds as many of its tokens as are known, but never its last",
          "[engine][kv_cache]") {
    const MatchCase cases[] = {
        {"nothing in common", counting(40), counting(40, 100), 0, 0},
        {"the same prompt, ending inside a block", counting(40), counting(40), 39, 1},
        {"the same prompt, ending with a block", counting(32), counting(32), 31, 1},
        {"one token more than known", counting(40), counting(41), 40, 1},
        {"one token more than a known whole block", counting(32), counting(33), 32, 0},
        {"a shorter prompt ends inside a full block", counting(40), counting(21), 20, 1},
        {"the prompts part inside the first block",
         counting(40),
         joined(counting(5), counting(20, 50)),
         5,
         1},
        {"the prompts part with a block",
         counting(40),
         joined(counting(16), counting(20, 50)),
         16,
         0},
        {"the prompts part inside the partial end",
         counting(40),
         joined(counting(35), counting(9, 50)),
         35,
         1},
        {"a single token is always computed", counting(40), counting(1), 0, 0},
        {"known tokens in another place are not a prefix", counting(40), counting(20, 16), 0, 0},
    };
    for (const MatchCase& item : cases) {
        INFO(item.name);
        Fixture fixture(16);
        fixture.remember(item.remembered);
        CHECK(fixture.cache.match_prefix(item.asked) == item.matched);
        Fixture::Held* held = fixture.reserve(item.asked);
        REQUIRE(held != nullptr);
        CHECK(held->table.computed_tokens == item.matched);
        CHECK(fixture.copies.size() == item.copies);
        fixture.compute(*held, static_cast<std::int32_t>(item.asked.size()));
    }
}

TEST_CASE("one more typed token recomputes one token", "[engine][kv_cache]") {
    Fixture fixture(16);
    for (std::int32_t count = 50; count < 120; ++count) {
        const Tokens tokens = counting(count);
        if (count > 50) CHECK(fixture.cache.match_prefix(tokens) == count - 1);
        fixture.remember(tokens);
    }
}

TEST_CASE("ends that a longer one made superfluous do not push out others", "[engine][kv_cache]") {
    Fixture fixture(5);
    fixture.remember(counting(16, 100));
    for (std::int32_t count = 17; count <= 32; ++count) {
        fixture.remember(counting(count));
    }
    CHECK(fixture.cache.match_prefix(counting(17, 100)) == 16);
}

TEST_CASE("the block that is copied is not the next to be overwritten", "[engine][kv_cache]") {
    Fixture fixture(3);
    fixture.remember(counting(12));
    fixture.remember(counting(10, 100));
    fixture.remember(counting(10, 200));
    Fixture::Held* held = fixture.reserve(joined(counting(8), counting(4, 50)));
    CHECK(held->table.computed_tokens == 8);
    CHECK(fixture.cache.match_prefix(counting(13)) == 12);
    CHECK(fixture.cache.match_prefix(counting(11, 100)) == 0);
}

TEST_CASE("full blocks can be shared as soon as they are computed", "[engine][kv_cache]") {
    Fixture fixture(16);
    Fixture::Held* first = fixture.reserve(counting(70));
    fixture.compute(*first, 40);
    CHECK(fixture.cache.match_prefix(counting(70)) == 32);
    Fixture::Held* second = fixture.reserve(counting(70));
    CHECK(second->table.blocks[0] == first->table.blocks[0]);
    CHECK(second->table.blocks[1] == first->table.blocks[1]);
    CHECK(second->table.blocks[2] != first->table.blocks[2]);
    fixture.compute(*second, 70);
    fixture.compute(*first, 70);
}

TEST_CASE("a prompt that was cut off in the middle leaves what it computed", "[engine][kv_cache]") {
    Fixture fixture(16);
    Fixture::Held* first = fixture.reserve(counting(100));
    fixture.compute(*first, 55);
    fixture.release(first);
    CHECK(fixture.cache.match_prefix(counting(100)) == 55);
    CHECK(fixture.cache.idle_count() == 16);
}

TEST_CASE("two that compute the same tokens end up with one copy", "[engine][kv_cache]") {
    Fixture fixture(8);
    Fixture::Held* first = fixture.reserve(counting(40));
    Fixture::Held* second = fixture.reserve(counting(40));
    CHECK(fixture.cache.idle_count() == 2);
    fixture.compute(*first, 40);
    fixture.compute(*second, 40);
    CHECK(fixture.cache.idle_count() == 4);
    CHECK(first->table.blocks[1] == second->table.blocks[1]);
    CHECK(first->table.blocks[2] != second->table.blocks[2]);
    fixture.release(first);
    fixture.release(second);
    CHECK(fixture.cache.idle_count() == 8);
}

TEST_CASE("a reservation that does not fit changes nothing", "[engine][kv_cache]") {
    Fixture fixture(6);
    fixture.remember(counting(20));
    Fixture::Held* held = fixture.reserve(counting(48, 100));
    REQUIRE(held != nullptr);
    const std::int32_t idle = fixture.cache.idle_count();
    // Four blocks in all: one known and idle, two free.
    CHECK(fixture.reserve(counting(64)) == nullptr);
    CHECK(fixture.cache.idle_count() == idle);
    CHECK(fixture.cache.match_prefix(counting(64)) == 20);
    CHECK(fixture.reserve(counting(48)) != nullptr);
}

TEST_CASE("a sequence as long as the cache can use its own partial end", "[engine][kv_cache]") {
    Fixture fixture(4);
    fixture.remember(counting(40));
    Fixture::Held* held = fixture.reserve(counting(64));
    REQUIRE(held != nullptr);
    CHECK(held->table.computed_tokens == 40);
    fixture.compute(*held, 64);
    CHECK(fixture.cache.idle_count() == 0);
}

TEST_CASE("the last block left is taken over with its rows instead of copied",
          "[engine][kv_cache]") {
    Fixture fixture(3);
    fixture.remember(counting(40));
    Fixture::Held* held = fixture.reserve(counting(48));
    REQUIRE(held != nullptr);
    CHECK(held->table.computed_tokens == 40);
    CHECK(fixture.copies.empty());
    fixture.compute(*held, 48);
}

TEST_CASE("free blocks go before kept ones, and old kept ones before new ones",
          "[engine][kv_cache]") {
    Fixture fixture(8);
    fixture.remember(counting(32));
    fixture.remember(counting(32, 100));
    REQUIRE(fixture.reserve(counting(64, 200)) != nullptr);
    CHECK(fixture.cache.match_prefix(counting(33)) == 32);
    CHECK(fixture.cache.match_prefix(counting(33, 100)) == 32);

    SECTION("the oldest loses its end first") {
        REQUIRE(fixture.reserve(counting(16, 300)) != nullptr);
        CHECK(fixture.cache.match_prefix(counting(33)) == 16);
        CHECK(fixture.cache.match_prefix(counting(33, 100)) == 32);
    }
    SECTION("use makes new") {
        fixture.release(fixture.reserve(counting(32)));
        REQUIRE(fixture.reserve(counting(16, 300)) != nullptr);
        CHECK(fixture.cache.match_prefix(counting(33, 100)) == 16);
    }
}

TEST_CASE("room is added a block at a time until there is none", "[engine][kv_cache]") {
    Fixture fixture(3);
    Fixture::Held* held = fixture.reserve(counting(17));
    CHECK(fixture.cache.try_extend(held->table, 32));
    CHECK(held->table.blocks.size() == 2);
    CHECK(fixture.cache.try_extend(held->table, 33));
    CHECK(fixture.cache.idle_count() == 0);
    CHECK_FALSE(fixture.cache.try_extend(held->table, 49));
}

TEST_CASE("rows that are not to be trusted are forgotten, but for those in use",
          "[engine][kv_cache]") {
    Fixture fixture(8);
    fixture.remember(counting(32));
    Fixture::Held* shared = fixture.reserve(counting(33));
    Fixture::Held* failed = fixture.reserve(counting(60));
    fixture.compute(*failed, 60);
    fixture.release(failed, Rows::distrust);
    CHECK(fixture.cache.match_prefix(counting(60)) == 32);
    fixture.release(shared, Rows::distrust);
    CHECK(fixture.cache.match_prefix(counting(60)) == 0);
    CHECK(fixture.cache.idle_count() == 8);
}

/// Forty random steps, and the end of all that holds blocks then.
void walk(std::uint32_t seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t end) {
        return static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(end));
    };
    const std::int32_t block_count = 6 + below(8);
    Fixture fixture(block_count);
    const auto any = [&] {
        return fixture.held()[static_cast<std::size_t>(below(fixture.held().size()))].get();
    };
    for (int step = 0; step < 40; ++step) {
        const std::size_t count = fixture.held().size();
        const std::int32_t choice = below(10);
        if (choice < 3 && count < 5) {
            // Few different tokens and few places where prompts part: matches of every length.
            Tokens tokens(static_cast<std::size_t>(1 + below(90)), 7);
            for (int part = below(3); part > 0; --part) {
                tokens[static_cast<std::size_t>(below(tokens.size()))] = below(3);
            }
            fixture.reserve(tokens);
        } else if (choice < 7 && count > 0) {
            Fixture::Held* held = any();
            const auto left =
                held->tokens.size() - static_cast<std::size_t>(held->table.computed_tokens);
            fixture.compute(*held, held->table.computed_tokens + (left == 0 ? 0 : 1 + below(left)));
        } else if (choice < 8 && count > 0) {
            Fixture::Held* held = any();
            const auto token_count = static_cast<std::int32_t>(held->tokens.size());
            if (fixture.cache.try_extend(held->table, token_count + 1)) {
                held->tokens.push_back(below(3));
            }
            fixture.check_rules();
        } else if (count > 0) {
            fixture.release(any(), below(8) == 0 ? Rows::distrust : Rows::keep);
        }
    }
    while (!fixture.held().empty()) {
        fixture.release(fixture.held().back().get());
    }
    REQUIRE(fixture.cache.idle_count() == block_count);
}

TEST_CASE("ten thousand random walks lose no block, share no writer and mix up no row",
          "[engine][kv_cache]") {
    for (std::uint32_t seed = 0; seed < 10'000; ++seed) {
        INFO("seed " << seed);
        walk(seed);
    }
}

}  // namespace
}  // namespace hearth::engine

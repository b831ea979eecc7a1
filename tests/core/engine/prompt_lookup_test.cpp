#include "core/engine/prompt_lookup.h"

#include <vector>

#include <catch2/catch.hpp>

namespace hearth::engine {
namespace {

using Tokens = std::vector<std::int32_t>;

Tokens guess(const PromptLookup& lookup, const Tokens& tokens, std::size_t tokens_max = 16) {
    const auto found = lookup.guess(tokens, tokens_max);
    return {found.begin(), found.end()};
}

TEST_CASE("what followed the longest run before is the guess", "[engine][prompt_lookup]") {
    const PromptLookup lookup;
    CHECK(guess(lookup, {}).empty());
    CHECK(guess(lookup, {1, 2, 3}).empty());
    CHECK(guess(lookup, {1, 2, 3, 4, 5, 9, 2, 3}).empty());  // two tokens say too little
    CHECK(guess(lookup, {1, 2, 3, 4, 5, 9, 1, 2, 3}) == Tokens{4, 5, 9, 1});
    CHECK(guess(lookup, {1, 2, 3, 4, 5, 9, 1, 2, 3}, 1) == Tokens{4});
    CHECK(guess(lookup, {1, 2, 3, 4, 5, 9, 1, 2, 3}, 0).empty());
    // The latest of equals, but a longer run before the latest.
    CHECK(guess(lookup, {1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3}, 1) == Tokens{8});
    CHECK(guess(lookup, {5, 1, 2, 3, 7, 6, 1, 2, 3, 8, 5, 1, 2, 3}, 1) == Tokens{7});
    // Far back is not looked at.
    Tokens far = {1, 2, 3, 7};
    far.resize(PromptLookup::kReachMax, 9);
    far.insert(far.end(), {1, 2, 3});
    CHECK(guess(lookup, far).empty());
    far.erase(far.begin() + 8, far.begin() + 16);
    CHECK(guess(lookup, far, 1) == Tokens{7});
    // A run may overlap what it is compared with.
    CHECK(guess(lookup, {4, 4, 4, 4}) == Tokens{4});
}

TEST_CASE("guesses that are right get longer, wrong ones rarer", "[engine][prompt_lookup]") {
    PromptLookup lookup;
    Tokens tokens;
    for (int round = 0; round < 2; ++round) {
        for (std::int32_t i = 0; i < 60; ++i) {
            tokens.push_back(i);
        }
    }
    CHECK(guess(lookup, tokens).size() == 4);
    lookup.note(4, 4);
    CHECK(guess(lookup, tokens).size() == 8);
    lookup.note(8, 8);
    lookup.note(16, 16);
    CHECK(guess(lookup, tokens).size() == PromptLookup::kGuessMax);
    lookup.note(16, 1);
    CHECK(guess(lookup, tokens).size() == 2);
    tokens.resize(64);  // a run of four
    CHECK(guess(lookup, tokens).empty());
    lookup.note(2, 1);
    CHECK(guess(lookup, tokens).size() == 2);
    for (int i = 0; i < 5; ++i) {
        lookup.note(2, 0);
    }
    for (std::int32_t i = 4; i < 60; ++i) {
        tokens.push_back(i);
    }
    CHECK(guess(lookup, tokens).empty());
}

}  // namespace
}  // namespace hearth::engine

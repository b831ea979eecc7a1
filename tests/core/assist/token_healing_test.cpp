#include "core/assist/token_healing.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/sampling.h"
#include "tests/support/word_tokenizer.h"

namespace hearth::assist {
namespace {

using test::WordTokenizer;
using tokenizer::TokenId;

/// "what stays|what is written anew".
std::string cut(const WordTokenizer& tokenizer, std::string_view text) {
    std::vector<TokenId> prefix = tokenizer.encode(text).value();
    const std::string healed = TokenHealing(tokenizer).cut(prefix);
    return tokenizer.decode(prefix) + "|" + healed;
}

TEST_CASE("the prompt leaves out what may become a longer token", "[assist][token_healing]") {
    const WordTokenizer tokenizer(
        {"get", " get", " getB", " =", "el", "em", "element", "  ", "    ", "\xA9x", "\n  "});
    CHECK(cut(tokenizer, "x = get") == "x =| get");
    CHECK(cut(tokenizer, "x = getB") == "x = getB|");
    CHECK(cut(tokenizer, "an elem") == "an |elem");
    CHECK(cut(tokenizer, "a ") == "a| ");
    CHECK(cut(tokenizer, "a;\n") == "a;\n|");
    CHECK(cut(tokenizer, "a;\n    ") == "a;\n  |  ");  // none of another line
    CHECK(cut(tokenizer, "z") == "z|");
    CHECK(cut(tokenizer, "") == "|");
    CHECK(cut(tokenizer, "\xC3\xA9") == "\xC3\xA9|");  // not from the middle of a character
}

TEST_CASE("a special token ends what is written anew", "[assist][token_healing]") {
    const WordTokenizer tokenizer({"el", "em", "element"});
    std::vector<TokenId> prefix = {*tokenizer.find("el"), WordTokenizer::kEnd, 'e'};
    CHECK(TokenHealing(tokenizer).cut(prefix) == "e");
    CHECK(prefix.size() == 2);
}

bool are_consistent(std::string_view a, std::string_view b) {
    return a.starts_with(b) || b.starts_with(a);
}

TEST_CASE("a guided answer begins with the text, in any tokens that do",
          "[assist][token_healing]") {
    std::mt19937 random(7);
    const auto below = [&](std::size_t count) { return random() % count; };
    const auto random_text = [&](std::size_t size_max) {
        std::string text;
        for (std::size_t size = 1 + below(size_max); size > 0; --size) {
            text += "ab_"[below(3)];
        }
        return text;
    };
    for (int round = 0; round < 200; ++round) {
        std::vector<std::string> words;
        for (int i = 0; i < 30; ++i) {
            words.push_back(random_text(6));
        }
        const WordTokenizer tokenizer(words);
        const TokenHealing healing(tokenizer);
        const std::string text = random_text(12);
        std::vector<TokenId> prefix = tokenizer.encode(text).value();
        const std::string healed = healing.cut(prefix);
        REQUIRE(tokenizer.decode(prefix) + healed == text);
        const auto guide = healing.guide(healed);
        REQUIRE((guide == nullptr) == healed.empty());
        std::string said;
        while (guide != nullptr && !guide->allowed().empty()) {
            const auto mask = guide->allowed();
            std::vector<TokenId> choices;
            for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
                const bool is_right =
                    !tokenizer.is_special(id) &&
                    are_consistent(healed.substr(said.size()), tokenizer.token_bytes(id));
                REQUIRE(compute::is_allowed(mask.data(), id) == is_right);
                if (is_right) choices.push_back(id);
            }
            const TokenId next = choices.at(below(choices.size()));
            said += tokenizer.token_bytes(next);
            guide->accept(next);
        }
        CHECK(said.starts_with(healed));
    }
}

}  // namespace
}  // namespace hearth::assist

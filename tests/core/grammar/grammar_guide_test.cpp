#include "core/grammar/grammar_guide.h"

#include <atomic>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/grammar/recogniser.h"
#include "tests/support/word_tokenizer.h"

namespace hearth::grammar {
namespace {

using test::WordTokenizer;
using tokenizer::TokenId;

/// Whether `text` can still become one that follows the grammar.
bool is_beginning(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
    Recogniser recogniser(grammar);
    auto state = recogniser.start();
    for (const char byte : text) {
        state = recogniser.next(state, static_cast<std::uint8_t>(byte));
        if (state == Recogniser::kDead) return false;
    }
    return true;
}

bool is_whole(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
    Recogniser recogniser(grammar);
    auto state = recogniser.start();
    for (const char byte : text) {
        state = recogniser.next(state, static_cast<std::uint8_t>(byte));
    }
    return recogniser.is_complete(state);
}

TEST_CASE("a mask holds the tokens that the grammar allows, and no others", "[grammar][guide]") {
    const auto grammar = Grammar::parse(
                             "root ::= item (\",\" item)* \";\"?\n"
                             "item ::= [0-9]{1,3} | \"[\" root \"]\" | \"null\" | \"\\u00e9\"+")
                             .value();
    const WordTokenizer tokenizer({"12",
                                   "123",
                                   "1234",
                                   ",1",
                                   "],",
                                   "]]",
                                   "[[",
                                   "nu",
                                   "ull",
                                   "null",
                                   "null;",
                                   "null,n",
                                   "\xC3\xA9",
                                   "\xA9\xC3",
                                   "x",
                                   "[x",
                                   "0,[1",
                                   ";"});
    const auto order = std::make_shared<tokenizer::TokenOrder>(tokenizer);
    std::mt19937 random(5);
    for (int round = 0; round < 100; ++round) {
        const auto guide = make_guide(grammar, tokenizer, order);
        std::string text;
        for (int step = 0; step < 30; ++step) {
            REQUIRE(guide->is_active());
            const auto mask = guide->allowed();
            std::vector<TokenId> choices;
            for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
                const bool is_right =
                    tokenizer.is_special(token)
                        ? is_whole(grammar, text)
                        : is_beginning(grammar, text + std::string(tokenizer.token_bytes(token)));
                INFO("behind '" << text << "' token " << tokenizer.token_bytes(token));
                REQUIRE(compute::is_allowed(mask.data(), token) == is_right);
                if (is_right && !tokenizer.is_special(token)) choices.push_back(token);
            }
            if (choices.empty()) break;
            const TokenId next = choices[random() % choices.size()];
            text += tokenizer.token_bytes(next);
            guide->accept(next);
        }
    }
}

TEST_CASE("a token that does not fit ends the guiding", "[grammar][guide]") {
    const auto grammar = Grammar::parse("root ::= \"ab\"").value();
    const WordTokenizer tokenizer({"ab"});
    const auto guide =
        make_guide(grammar, tokenizer, std::make_shared<tokenizer::TokenOrder>(tokenizer));
    guide->accept('x');
    CHECK(guide->allowed().empty());
    CHECK_FALSE(guide->is_active());
    guide->accept('a');
    guide->accept('a');
    CHECK(guide->allowed().empty());
}

/// Memory runs out where a token's bytes are looked for.
class ShortOfMemory final : public WordTokenizer {
  public:
    ShortOfMemory() : WordTokenizer({}) {}
    [[nodiscard]] std::string_view token_bytes(TokenId id) const override {
        if (is_short) throw std::bad_alloc();
        return WordTokenizer::token_bytes(id);
    }
    std::atomic<bool> is_short = false;
};

TEST_CASE("a guide whose memory runs out says so and allows what comes", "[grammar][guide]") {
    const auto grammar = Grammar::parse("root ::= \"a\"*").value();
    ShortOfMemory tokenizer;
    const auto guide =
        make_guide(grammar, tokenizer, std::make_shared<tokenizer::TokenOrder>(tokenizer));
    CHECK_FALSE(guide->has_failed());
    tokenizer.is_short = true;
    guide->accept('a');
    CHECK(guide->allowed().empty());
    CHECK(guide->has_failed());
    CHECK_FALSE(guide->is_active());
    guide->accept('a');
}

TEST_CASE("where nothing fits the text has to end", "[grammar][guide]") {
    const auto grammar = Grammar::parse("root ::= \"a\"").value();
    const WordTokenizer tokenizer({});
    const auto guide =
        make_guide(grammar, tokenizer, std::make_shared<tokenizer::TokenOrder>(tokenizer));
    guide->accept('a');
    const auto mask = guide->allowed();
    for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
        CHECK(compute::is_allowed(mask.data(), token) == (token == WordTokenizer::kEnd));
    }
}

}  // namespace
}  // namespace hearth::grammar

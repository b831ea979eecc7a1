#include "core/tokenizer/bpe.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace hearth::tokenizer {
namespace {

/// Token of byte b is b.
std::array<TokenId, 256> plain_bytes() {
    std::array<TokenId, 256> tokens{};
    for (std::size_t byte = 0; byte < 256; ++byte) {
        tokens[byte] = static_cast<TokenId>(byte);
    }
    return tokens;
}

std::vector<TokenId> encode(const Bpe& bpe, const std::string& piece) {
    std::vector<TokenId> tokens = {-7};  // what is there stays
    bpe.encode(piece, tokens);
    CHECK(tokens.front() == -7);
    tokens.erase(tokens.begin());
    return tokens;
}

/// The definition: as long as any rule applies, the first one of the list, at its leftmost place.
std::vector<TokenId> encode_slowly(const std::vector<MergeRule>& rules, const std::string& piece) {
    std::vector<TokenId> tokens;
    for (const char c : piece) {
        tokens.push_back(static_cast<unsigned char>(c));
    }
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (const MergeRule& rule : rules) {
            for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
                if (tokens[i] != rule.left || tokens[i + 1] != rule.right) continue;
                tokens[i] = rule.merged;
                tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(i) + 1);
                is_changed = true;
                break;
            }
            if (is_changed) break;
        }
    }
    return tokens;
}

/// Rules over 'a', 'b', 'c' in random order of rank, each joining tokens that are there.
std::vector<MergeRule> random_rules(std::mt19937& random) {
    std::vector<TokenId> tokens = {'a', 'b', 'c'};
    std::set<std::pair<TokenId, TokenId>> seen;
    std::vector<MergeRule> rules;
    while (rules.size() < 25) {
        const TokenId left = tokens[random() % tokens.size()];
        const TokenId right = tokens[random() % tokens.size()];
        if (!seen.insert({left, right}).second) continue;
        const auto merged = static_cast<TokenId>(300 + rules.size());
        rules.push_back({left, right, merged});
        tokens.push_back(merged);
    }
    if (random() % 2 == 0) std::shuffle(rules.begin(), rules.end(), random);
    return rules;
}

}  // namespace

TEST_CASE("the rule of lowest rank is applied first, at its leftmost place", "[tokenizer][bpe]") {
    const std::vector<MergeRule> rules = {{'b', 'c', 300}, {'a', 'b', 301}, {301, 'c', 302}};
    const Bpe bpe(plain_bytes(), rules);
    CHECK(encode(bpe, "abc") == std::vector<TokenId>{'a', 300});
    CHECK(encode(bpe, "ab") == std::vector<TokenId>{301});
    CHECK(encode(bpe, "").empty());
    CHECK(encode(bpe, "x") == std::vector<TokenId>{'x'});
    const Bpe doubles(plain_bytes(), std::vector<MergeRule>{{'a', 'a', 300}, {300, 300, 301}});
    CHECK(encode(doubles, "aaaaa") == std::vector<TokenId>{301, 'a'});
    CHECK(encode(doubles, "aaa") == std::vector<TokenId>{300, 'a'});
}

TEST_CASE("of two rules for one pair the first counts", "[tokenizer][bpe]") {
    const Bpe bpe(plain_bytes(), std::vector<MergeRule>{{'a', 'b', 300}, {'a', 'b', 301}});
    CHECK(encode(bpe, "ab") == std::vector<TokenId>{300});
}

TEST_CASE("any piece merges as the definition says, short or long", "[tokenizer][bpe]") {
    std::mt19937 random(3);
    for (int round = 0; round < 60; ++round) {
        const std::vector<MergeRule> rules = random_rules(random);
        const Bpe bpe(plain_bytes(), rules);
        for (const std::size_t size : {1U, 2U, 5U, 20U, 21U, 22U, 40U, 63U, 64U, 65U, 66U, 300U}) {
            std::string piece;
            for (std::size_t i = 0; i < size; ++i) {
                piece += static_cast<char>('a' + random() % 3);
            }
            REQUIRE(encode(bpe, piece) == encode_slowly(rules, piece));
        }
    }
}

TEST_CASE("a byte without a token becomes the replacement character", "[tokenizer][bpe]") {
    std::array<TokenId, 256> bytes = plain_bytes();
    bytes[0xFF] = kNoToken;
    const Bpe bpe(bytes, std::vector<MergeRule>{{0xEF, 0xBF, 300}, {300, 0xBD, 301}});
    CHECK(encode(bpe, "a\xFF") == std::vector<TokenId>{'a', 301});
    CHECK(encode(bpe, std::string(30, '\xFF')) == std::vector<TokenId>(30, 301));
    CHECK(encode(bpe, std::string(100, '\xFF')) == std::vector<TokenId>(100, 301));
    bytes[0xEF] = kNoToken;
    CHECK(encode(Bpe(bytes, {}), "a\xFF") == std::vector<TokenId>{'a'});
}

TEST_CASE("a very long piece takes no quadratic time", "[tokenizer][bpe]") {
    std::vector<MergeRule> rules = {{'a', 'a', 300}};
    for (TokenId id = 300; id < 320; ++id) {
        rules.push_back({id, id, id + 1});
    }
    // 2^20 bytes collapse into one token of that length.
    CHECK(encode(Bpe(plain_bytes(), rules), std::string(1U << 20, 'a')) ==
          std::vector<TokenId>{319});
}

}  // namespace hearth::tokenizer

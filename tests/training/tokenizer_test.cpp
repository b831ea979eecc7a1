#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "training/samples/random.h"
#include "training/tokenizer/bpe_trainer.h"
#include "training/tokenizer/encoder.h"
#include "training/tokenizer/tokenizer_file.h"

namespace {

using namespace hearth::training;
using Merge = TokenizerFile::Merge;

TokenizerFile make_file(const std::vector<Merge>& merges) {
    auto file = TokenizerFile::make("qwen2", merges, hearth_special_names());
    REQUIRE(file);
    return *file;
}

/// The merges that the definition gives: all pairs counted anew for each merge.
std::vector<Merge> merges_by_definition(const WordCounts& counts, std::size_t vocab_size) {
    std::vector<std::pair<std::vector<TokenId>, std::uint32_t>> words;
    for (const auto& [word, count] : counts) {
        std::vector<TokenId> tokens;
        for (const char byte : word) {
            tokens.push_back(static_cast<unsigned char>(byte));
        }
        words.emplace_back(tokens, count);
    }
    std::vector<Merge> merges;
    std::vector<std::string> texts;
    for (unsigned byte = 0; byte < 256; ++byte) {
        texts.push_back({static_cast<char>(byte)});
    }
    while (texts.size() < vocab_size) {
        std::map<Merge, std::uint64_t> pairs;
        for (const auto& [tokens, count] : words) {
            for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
                pairs[{tokens[i], tokens[i + 1]}] += count;
            }
        }
        const auto best = std::max_element(pairs.begin(), pairs.end(), [](auto& a, auto& b) {
            return a.second < b.second;  // the first of equal ones: the smaller ids
        });
        if (best == pairs.end() || best->second < 2) break;
        const auto [left, right] = best->first;
        merges.emplace_back(left, right);
        const std::string text = texts[left] + texts[right];
        const auto known = std::find(texts.begin(), texts.end(), text);
        const auto merged = static_cast<TokenId>(known - texts.begin());
        if (known == texts.end()) texts.push_back(text);
        for (auto& [tokens, count] : words) {
            for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
                if (tokens[i] != left || tokens[i + 1] != right) continue;
                tokens[i] = merged;
                tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            }
        }
    }
    return merges;
}

TEST_CASE("the most frequent pairs become tokens, longest words last", "[training][tokenizer]") {
    // ab: 5 + 3 = 8 times, then (ab)c: 3 times; "xy" only once, so it stays two tokens.
    const WordCounts counts = {{"ab", 5}, {"abc", 3}, {"xy", 1}};
    CHECK(train_merges(counts, 300) == std::vector<Merge>{{'a', 'b'}, {256, 'c'}});
    CHECK(train_merges(counts, 257) == std::vector<Merge>{{'a', 'b'}});
    CHECK(train_merges(counts, 256).empty());
    CHECK(train_merges({}, 300).empty());
}

TEST_CASE("runs of one letter merge from the left", "[training][tokenizer]") {
    // aaaaa: aa aa a, then (aa)(aa), then all of it
    CHECK(train_merges({{"aaaaa", 4}}, 300) ==
          std::vector<Merge>{{'a', 'a'}, {256, 'a'}, {256, 257}});
}

TEST_CASE("merges are those of counting everything anew", "[training][tokenizer]") {
    Random random(7);
    for (int round = 0; round < 30; ++round) {
        WordCounts counts;
        for (int i = 0; i < 40; ++i) {
            std::string word;
            const std::size_t size = 1 + random.below(12);
            for (std::size_t k = 0; k < size; ++k) {
                word += static_cast<char>('a' + random.below(3));
            }
            counts[word] += static_cast<std::uint32_t>(1 + random.below(9));
        }
        CHECK(train_merges(counts, 300) == merges_by_definition(counts, 300));
    }
}

TEST_CASE("a text is split into words by the rules of qwen2", "[training][tokenizer]") {
    WordCounts counts;
    count_words("if (x1 != 'a')\n    return y;\n\n\tdon't", counts);
    const std::vector<std::string> words = {"if",
                                            " (",
                                            "x",
                                            "1",
                                            " !=",
                                            " '",
                                            "a",
                                            "')\n",
                                            "   ",
                                            " return",
                                            " y",
                                            ";\n\n",
                                            "\tdon",
                                            "'t"};
    CHECK(counts.size() == words.size());
    for (const std::string& word : words) {
        INFO(word);
        CHECK(counts.count(word) == 1);
    }
}

TEST_CASE("every text comes back from its tokens", "[training][tokenizer]") {
    WordCounts counts;
    count_words("for (int i = 0; i < count; ++i) { total += values[i]; }\n", counts);
    count_words("for (int i = 0; i < count; ++i) { total -= values[i]; }\n", counts);
    const TokenizerFile file = make_file(train_merges(counts, 400));
    Encoder encoder(file);
    for (const std::string text : {"",
                                   "for (int i = 0; i < 10; ++i) {\n\n  \t total;\r\n}",
                                   "na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80 x",
                                   "broken \xFF\xC3 bytes\xE6",
                                   "<|endoftext|><|fim_middle|>"}) {
        INFO(text);
        std::string decoded;
        for (const TokenId token : encoder.encode(text)) {
            CHECK_FALSE(file.is_special(token));
            decoded += file.token_bytes(token);
        }
        CHECK(decoded == text);
    }
    CHECK(encoder.encode("for").size() == 1);
    CHECK(encoder.encode(std::string(200, ' ')).size() <= 200);
}

TEST_CASE("merges are applied in the order in which they were learnt", "[training][tokenizer]") {
    // "bc" came before "ab": abc is a + bc although ab stands first.
    const TokenizerFile file = make_file({{'b', 'c'}, {'a', 'b'}});
    Encoder encoder(file);
    CHECK(encoder.encode("abc") == std::vector<TokenId>{'a', 256});
    CHECK(encoder.encode("abd") == std::vector<TokenId>{257, 'd'});
}

TEST_CASE("special tokens follow the merges", "[training][tokenizer]") {
    const TokenizerFile file = make_file({{'a', 'b'}});
    CHECK(file.vocab_size() == 256 + 1 + 64);
    CHECK(file.find_special("<|endoftext|>") == TokenId{257});
    CHECK(file.find_special("<|bug|>") == TokenId{266});
    CHECK(file.find_special("<|reserved_53|>") == TokenId{320});
    CHECK_FALSE(file.find_special("<|reserved_54|>"));
    CHECK(file.token_bytes(256) == "ab");
    CHECK(file.token_bytes(258) == "<|fim_prefix|>");
    CHECK(file.is_special(257));
    CHECK_FALSE(file.is_special(256));
}

TEST_CASE("two merges of one text make one token", "[training][tokenizer]") {
    const TokenizerFile file = make_file({{'a', 'b'}, {'b', 'c'}, {'a', 257}, {256, 'c'}});
    CHECK(file.special_count() + 256 + 3 == file.vocab_size());
    CHECK(file.merged_id(3) == file.merged_id(2));
}

TEST_CASE("a tokenizer file is read as it was written", "[training][tokenizer]") {
    const TokenizerFile file = make_file({{' ', ' '}, {256, '\n'}, {0xC3, 0xA9}, {'x', 0}});
    std::stringstream stream;
    file.write(stream);
    CHECK(stream.str().find("\n\xC4\xA0\xC4\xA0 \xC4\x8A\n") != std::string::npos);
    const auto again = TokenizerFile::parse(stream);
    REQUIRE(again);
    CHECK(again->merges() == file.merges());
    CHECK(again->gguf_tokens() == file.gguf_tokens());
    CHECK(again->gguf_merges() == file.gguf_merges());
    CHECK(again->pre_tokenizer() == "qwen2");
    CHECK(again->vocab_size() == file.vocab_size());
}

TEST_CASE("a broken tokenizer file is refused with its line", "[training][tokenizer]") {
    const std::string good =
        "hearth-tokenizer 1\npre qwen2\nmerges 2\na b\nab c\nspecials 1\n<|endoftext|>\n";
    std::istringstream whole(good);
    CHECK(TokenizerFile::parse(whole));
    std::size_t line_end = good.find('\n');
    while (line_end + 1 < good.size()) {
        std::istringstream cut(good.substr(0, line_end + 1));
        CHECK_FALSE(TokenizerFile::parse(cut));
        line_end = good.find('\n', line_end + 1);
    }
    const std::pair<const char*, const char*> cases[] = {
        {"hearth-tokenizer 2\n", "line 1"},
        {"hearth-tokenizer 1\nqwen2\n", "line 2"},
        {"hearth-tokenizer 1\npre qwen2\nmerges two\n", "line 3"},
        {"hearth-tokenizer 1\npre qwen2\nmerges -1\n", "line 3"},
        {"hearth-tokenizer 1\npre qwen2\nmerges 1\nab\n", "line 4"},
        {"hearth-tokenizer 1\npre qwen2\nmerges 1\nab c\n", "line 4"},
        {"hearth-tokenizer 1\npre qwen2\nmerges 1\na b\nspecials 1\n\n", "line 6"},
    };
    for (const auto& [text, place] : cases) {
        INFO(text);
        std::istringstream stream(text);
        const auto file = TokenizerFile::parse(stream);
        REQUIRE_FALSE(file);
        CHECK(file.error().text.find(place) != std::string::npos);
    }
}

TEST_CASE("a tokenizer has at most 65536 tokens, whatever they are made of",
          "[training][tokenizer]") {
    CHECK(TokenizerFile::make("qwen2", {}, std::vector<std::string>(65536 - 256, "<|x|>")));
    CHECK_FALSE(TokenizerFile::make("qwen2", {}, std::vector<std::string>(65537 - 256, "<|x|>")));
}

}  // namespace

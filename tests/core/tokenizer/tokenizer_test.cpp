#include "core/tokenizer/tokenizer.h"

#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/core/tokenizer/small_vocabulary.h"

namespace hearth::tokenizer {
namespace {

constexpr int kControl = SmallVocabulary::kControl;
constexpr int kUserDefined = SmallVocabulary::kUserDefined;
constexpr int kNormal = SmallVocabulary::kNormal;

using Tokens = std::vector<TokenId>;

/// 256 "ab", 257 " a", 258 "<|", 259 "<|im_end|>", 260 "<|im", 261 "<think>", 262 "ööö".
SmallVocabulary with_specials() {
    SmallVocabulary vocabulary;
    vocabulary.add_merge("a", "b");
    vocabulary.add_merge("Ġ", "a");
    vocabulary.add_merge("<", "|");
    vocabulary.add("<|im_end|>", kControl);
    vocabulary.add("<|im", kControl);
    vocabulary.add("<think>", kUserDefined);
    vocabulary.add("ööö", kUserDefined);
    return vocabulary;
}

Tokens bytes_of(std::string_view text) {
    Tokens tokens;
    for (const char c : text) {
        tokens.push_back(static_cast<unsigned char>(c));
    }
    return tokens;
}

std::string random_bytes(std::mt19937& random) {
    std::string text;
    for (auto i = random() % 40; i > 0; --i) {
        text += static_cast<char>(random());
    }
    return text;
}

}  // namespace

TEST_CASE("text becomes the tokens of its pieces", "[tokenizer]") {
    const auto tokenizer = with_specials().load().value();
    CHECK(tokenizer->encode("ab aab").value() == Tokens{256, 257, 256});
    CHECK(tokenizer->encode("").value().empty());
    CHECK(tokenizer->decode(Tokens{256, 257, 10}) == "ab a\n");
    CHECK(tokenizer->vocab_size() == 263);
    CHECK(tokenizer->pre_tokenizer() == "qwen2");
    CHECK(tokenizer->token_bytes(257) == " a");
    CHECK(tokenizer->token_bytes(259) == "<|im_end|>");
    CHECK(tokenizer->token_bytes(-1).empty());
    CHECK(tokenizer->token_bytes(263).empty());
    CHECK(tokenizer->find(" a") == 257);
    CHECK(tokenizer->find("<|im_end|>") == 259);
    CHECK(!tokenizer->find("Ġa"));
}

TEST_CASE("special tokens are taken from trusted text only, the longest first", "[tokenizer]") {
    const auto tokenizer = with_specials().load().value();
    const EncodeOptions trusted{.parses_special = true};
    CHECK(tokenizer->encode("ab<|im_end|>ab", trusted).value() == Tokens{256, 259, 256});
    CHECK(tokenizer->encode("<|im_end<|im", trusted).value() ==
          Tokens{260, '_', 'e', 'n', 'd', 260});
    CHECK(tokenizer->encode("<think><|x", trusted).value() == Tokens{261, 258, 'x'});
    CHECK(tokenizer->encode("<|im_end|>").value() ==
          Tokens{258, 'i', 'm', '_', 'e', 'n', 'd', '|', '>'});
    CHECK(tokenizer->encode("<think>").value() == bytes_of("<think>"));
    // A user-defined token that is no marker is a word of the vocabulary.
    CHECK(tokenizer->encode("aööö").value() == Tokens{'a', 262});
    CHECK(tokenizer->is_special(259));
    CHECK(!tokenizer->is_special(261));
    CHECK(!tokenizer->is_special(256));
    CHECK(!tokenizer->is_special(-1));
}

TEST_CASE("any bytes come back the same", "[tokenizer]") {
    for (const char* const pre : {"gpt-2", "qwen2", "deepseek-coder"}) {
        SmallVocabulary vocabulary = with_specials();
        vocabulary.pre = pre;
        const auto tokenizer = vocabulary.load().value();
        std::mt19937 random(1);
        for (int i = 0; i < 3000; ++i) {
            const std::string text = random_bytes(random);
            REQUIRE(tokenizer->decode(tokenizer->encode(text).value()) == text);
            const auto trusted = tokenizer->encode(text, {.parses_special = true});
            REQUIRE(tokenizer->decode(trusted.value()) == text);
        }
    }
}

TEST_CASE("an unknown pre-tokenizer is an error of encode alone", "[tokenizer]") {
    for (const char* const pre : {"", "default", "brand-new"}) {
        SmallVocabulary vocabulary;
        vocabulary.pre = pre;
        const auto tokenizer = vocabulary.load();
        REQUIRE(tokenizer);
        CHECK((*tokenizer)->decode(Tokens{'a'}) == "a");
        const auto tokens = (*tokenizer)->encode("a");
        REQUIRE(!tokens);
        CHECK(tokens.error().code == ErrorCode::unsupported);
        CHECK_THAT(tokens.error().text, Catch::Contains("'" + std::string(pre) + "'"));
    }
}

TEST_CASE("a vocabulary that is none is refused", "[tokenizer]") {
    struct Row {
        const char* what;
        void (*damage)(SmallVocabulary&);
        ErrorCode code;
        const char* text;
    };
    const Row rows[] = {
        {"another kind", [](auto& v) { v.model = "llama"; }, ErrorCode::unsupported, "'llama'"},
        {"no tokens", [](auto& v) { v.texts.clear(); }, ErrorCode::corrupt, "no tokens"},
        {"fewer kinds", [](auto& v) { v.kinds.pop_back(); }, ErrorCode::corrupt, "255 token types"},
        {"merge of one", [](auto& v) { v.merges = {"ab"}; }, ErrorCode::corrupt, "merge 0"},
        {"merge of none", [](auto& v) { v.merges = {""}; }, ErrorCode::corrupt, "merge 0"},
        {"merge of strangers", [](auto& v) { v.merges = {"a b"}; }, ErrorCode::corrupt, "merge 0"},
    };
    for (const Row& row : rows) {
        SmallVocabulary vocabulary;
        row.damage(vocabulary);
        const auto tokenizer = vocabulary.load();
        INFO(row.what);
        REQUIRE(!tokenizer);
        CHECK(tokenizer.error().code == row.code);
        CHECK_THAT(tokenizer.error().text, Catch::Contains(row.text));
    }
    const std::vector<std::byte> empty = formats::GgufWriter().to_bytes();
    const auto none = Tokenizer::from_gguf(**formats::GgufFile::parse(empty, "x.gguf"));
    CHECK(none.error().code == ErrorCode::corrupt);
}

TEST_CASE("a damaged vocabulary is refused or works, and never crashes", "[tokenizer]") {
    const std::vector<std::byte> whole = with_specials().to_bytes();
    std::mt19937 random(9);
    int loaded_count = 0;
    for (int trial = 0; trial < 3000; ++trial) {
        std::vector<std::byte> bytes = whole;
        for (int i = 0; i < 4; ++i) {
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        }
        const auto file = formats::GgufFile::parse(bytes, "x.gguf");
        if (!file) continue;
        const auto tokenizer = Tokenizer::from_gguf(**file);
        if (!tokenizer) continue;
        ++loaded_count;
        const auto tokens = (*tokenizer)->encode("ab <|im_end|> ö\xFF", {.parses_special = true});
        if (!tokens) continue;
        for (const TokenId token : *tokens) {
            CHECK((token >= 0 && token < (*tokenizer)->vocab_size()));
        }
    }
    CHECK(loaded_count > 0);
}

TEST_CASE("roles are found by the names of each family", "[tokenizer]") {
    struct Row {
        const char *prefix, *suffix, *middle, *end;
    };
    const Row rows[] = {
        {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>"},
        {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>"},
        {"<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<|endoftext|>"},
        {"<PRE>", "<SUF>", "<MID>", "</s>"},
        {"▁<PRE>", "▁<SUF>", "▁<MID>", "</s>"},
        {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>"},
    };
    for (const Row& row : rows) {
        SmallVocabulary vocabulary;
        vocabulary.add(row.middle, kUserDefined);
        vocabulary.add(row.prefix, kUserDefined);
        vocabulary.add(row.suffix, kControl);
        vocabulary.add(row.end, kControl);
        const auto tokenizer = vocabulary.load().value();
        INFO(row.prefix);
        CHECK(tokenizer->special().fim_middle == 256);
        CHECK(tokenizer->special().fim_prefix == 257);
        CHECK(tokenizer->special().fim_suffix == 258);
        CHECK(tokenizer->special().end_of_text == 259);
        CHECK(!tokenizer->special().fim_pad);
        CHECK(!tokenizer->special().adds_begin_of_text);
        CHECK(tokenizer->end_tokens().size() == 1);
        CHECK(tokenizer->is_special(257));
        CHECK(tokenizer->encode(row.prefix, {.parses_special = true}).value() == Tokens{257});
        CHECK(tokenizer->encode(row.prefix).value() == bytes_of(row.prefix));
    }
}

TEST_CASE("ids in the metadata win over names, if the vocabulary has them", "[tokenizer]") {
    SmallVocabulary vocabulary;
    const TokenId named = vocabulary.add("<|fim_prefix|>", kControl);
    const TokenId other = vocabulary.add("<|other|>", kControl);
    const TokenId pad = vocabulary.add("<|fim_pad|>", kControl);
    const TokenId turn = vocabulary.add("<|im_end|>", kControl);
    vocabulary.add("</s>", kNormal);
    vocabulary.ids = {{"fim_pre_token_id", static_cast<std::uint32_t>(other)},
                      {"eot_token_id", 0xFFFFFFFF},
                      {"eos_token_id", static_cast<std::uint32_t>(other)}};
    const auto tokenizer = vocabulary.load().value();
    CHECK(tokenizer->special().fim_prefix == other);
    CHECK(tokenizer->special().end_of_turn == turn);
    CHECK(tokenizer->is_special(named));
    const auto ends = tokenizer->end_tokens();
    CHECK(Tokens(ends.begin(), ends.end()) == Tokens{other, turn, pad});
}

TEST_CASE("a file without token types finds roles by name alone", "[tokenizer]") {
    SmallVocabulary vocabulary;
    const TokenId end = vocabulary.add("<|endoftext|>", kNormal);
    vocabulary.kinds.clear();
    const auto tokenizer = vocabulary.load().value();
    CHECK(tokenizer->special().end_of_text == end);
    CHECK(tokenizer->is_special(end));
    CHECK(tokenizer->encode("<|endoftext|>", {.parses_special = true}).value() == Tokens{end});
}

TEST_CASE("the real deepseek-coder vocabulary encodes text and gives it back", "[tokenizer]") {
    const std::filesystem::path path =
        std::filesystem::path(HEARTH_SOURCE_DIR) / "../shared/data/logits/ds2-tiny-v3-Q8_0.gguf";
    if (!std::filesystem::exists(path)) {
        std::cout << "skipped: no reference model " << path << "\n";
        return;
    }
    const auto file = formats::GgufFile::load(path.string());
    REQUIRE(file);
    const auto tokenizer = Tokenizer::from_gguf(**file).value();
    CHECK(tokenizer->vocab_size() == 32256);
    CHECK(tokenizer->pre_tokenizer() == "deepseek-coder");
    CHECK(tokenizer->special().begin_of_text == 32013);
    CHECK(tokenizer->special().adds_begin_of_text);
    CHECK(tokenizer->special().fim_prefix == 32016);
    CHECK(tokenizer->special().fim_suffix == 32015);
    CHECK(tokenizer->special().fim_middle == 32017);
    const auto ends = tokenizer->end_tokens();
    CHECK(Tokens(ends.begin(), ends.end()) == Tokens{32014, 32021});

    const std::string text = "def f(x):\n    return \"für 中文 \U0001F600\"  # 123\r\n\t\n";
    const Tokens tokens = tokenizer->encode(text).value();
    CHECK(tokenizer->decode(tokens) == text);
    CHECK(tokens.size() < text.size() * 2 / 3);
    // Bytes that the vocabulary has no token for: C0, C1 and F5 to FF never occur in UTF-8.
    CHECK(tokenizer->decode(tokenizer->encode("a\xFF").value()) == "a�");

    // The ids of the model's own tokenizer; it finds its added word "ü" in any text.
    CHECK(tokenizer->encode("ied 4 ½ months").value() == Tokens{1050, 207, 19, 207, 19192, 4217});
    CHECK(tokenizer->encode("Führer").value() == Tokens{37, 32009, 71, 6247});
    CHECK(tokenizer->encode(" this is 🦙.cpp").value() ==
          Tokens{437, 317, 12394, 99, 234, 13, 14789});

    // A word that is one token and one piece comes back as that token.
    for (const char* const word : {"return", " return", "\n", ";", " namespace", "中"}) {
        const auto id = tokenizer->find(word);
        INFO(word);
        REQUIRE(id);
        CHECK(tokenizer->encode(word).value() == Tokens{*id});
    }
}

}  // namespace hearth::tokenizer

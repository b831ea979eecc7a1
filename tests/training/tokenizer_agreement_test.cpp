// The tokens that training sees are the tokens that the daemon makes: one vocabulary, written as a
// GGUF file and read back by core/tokenizer, against the encoder that fills the shards.
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/formats/gguf_writer.h"
#include "core/tokenizer/tokenizer.h"
#include "training/samples/random.h"
#include "training/tokenizer/bpe_trainer.h"
#include "training/tokenizer/encoder.h"

namespace {

using namespace hearth;
using namespace hearth::training;

constexpr std::int32_t kNormalToken = 1;
constexpr std::int32_t kControlToken = 3;

std::shared_ptr<const tokenizer::Tokenizer> load_as_gguf(const TokenizerFile& file) {
    std::vector<std::int32_t> kinds(file.vocab_size(), kNormalToken);
    std::fill(kinds.end() - static_cast<std::ptrdiff_t>(file.special_count()),
              kinds.end(),
              kControlToken);
    formats::GgufWriter writer;
    writer.add_string("tokenizer.ggml.model", "gpt2");
    writer.add_string("tokenizer.ggml.pre", file.pre_tokenizer());
    writer.add_strings("tokenizer.ggml.tokens", file.gguf_tokens());
    writer.add_i32s("tokenizer.ggml.token_type", kinds);
    writer.add_strings("tokenizer.ggml.merges", file.gguf_merges());
    const std::vector<std::byte> bytes = writer.to_bytes();
    const auto gguf = formats::GgufFile::parse(bytes, "agreement.gguf");
    REQUIRE(gguf);
    auto loaded = tokenizer::Tokenizer::from_gguf(**gguf);
    REQUIRE(loaded);
    return *loaded;
}

const std::string kText =
    "def caf\xC3\xA9(self, values):\n    \"\"\"Adds \xE6\x97\xA5\xE6\x9C\xAC values.\"\"\"\n"
    "\tif not values or len(values) >= 128:\r\n        return self.values[0] != None  # don't\n\n\n"
    "for (int i = 0; i < count; ++i) { total += values[i]; }\n"
    "for (int i = 0; i < count; --i) { total -= values[i]; }\n"
    "\xF0\x9F\x98\x80 \xE3\x8A\x97 \xE2\x84\xB9 \xC2\xA0x  \xE3\x80\x80y \xD9\xA3\xD9\xA4 I'LL\n";

TEST_CASE("training and run time make the same tokens", "[training][tokenizer]") {
    WordCounts counts;
    for (int i = 0; i < 3; ++i) {
        count_words(kText, counts);
    }
    const auto file =
        TokenizerFile::make("qwen2", train_merges(counts, 460), hearth_special_names());
    REQUIRE(file);
    REQUIRE(file->merges().size() > 100);
    const auto runtime = load_as_gguf(*file);
    Encoder encoder(*file);
    const auto check_same = [&](const std::string& text) {
        const auto expected = runtime->encode(text);
        REQUIRE(expected);
        const std::vector<TokenId> tokens = encoder.encode(text);
        INFO(text);
        CHECK(std::vector<tokenizer::TokenId>(tokens.begin(), tokens.end()) == *expected);
    };
    check_same(kText);
    check_same("");
    check_same("<|file_sep|>a.c\n<|fim_middle|>");
    check_same(std::string(300, ' ') + std::string(300, '\n') + std::string(300, 'a'));
    // Every cut, those inside characters too, and random mixtures of pieces.
    Random random(11);
    for (std::size_t size = 0; size <= kText.size(); ++size) {
        check_same(kText.substr(0, size));
        check_same(kText.substr(size));
    }
    for (int i = 0; i < 300; ++i) {
        std::string text;
        for (int k = 0; k < 12; ++k) {
            text += kText.substr(random.below(kText.size()), random.below(6));
        }
        check_same(text);
    }
}

TEST_CASE("run time knows the roles of our special tokens", "[training][tokenizer]") {
    const auto file = TokenizerFile::make("qwen2", {{'a', 'b'}}, hearth_special_names());
    REQUIRE(file);
    const auto runtime = load_as_gguf(*file);
    REQUIRE(runtime->vocab_size() == static_cast<std::int32_t>(file->vocab_size()));
    for (const std::string& name : hearth_special_names()) {
        INFO(name);
        const auto id = file->find_special(name);
        REQUIRE(id);
        CHECK(runtime->find(name) == tokenizer::TokenId{*id});
        CHECK(runtime->is_special(*id));
    }
    const tokenizer::SpecialTokens& roles = runtime->special();
    const auto id_of = [&](const char* name) { return runtime->find(name); };
    CHECK(roles.fim_prefix == id_of("<|fim_prefix|>"));
    CHECK(roles.fim_middle == id_of("<|fim_middle|>"));
    CHECK(roles.fim_suffix == id_of("<|fim_suffix|>"));
    CHECK(roles.file_sep == id_of("<|file_sep|>"));
    CHECK(roles.repo_name == id_of("<|repo_name|>"));
}

}  // namespace

// Any bytes as the file of a tokenizer: what is accepted encodes text, special names and broken
// bytes into tokens that it has.
#include "core/tokenizer/stream_decoder.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/utf8_check.h"
#include "tests/support/tiny_vocabulary.h"

namespace {

using namespace hearth;
using tokenizer::TokenId;
using tokenizer::Tokenizer;

/// Every byte twice, around words that vocabularies are full of, and the file's own first tokens.
std::string make_text(const Tokenizer& tokenizer) {
    std::string text = "for (int i = 0; i < 10; ++i) { return else; }\n  ";
    for (int byte = 0; byte < 512; ++byte) {
        text.push_back(static_cast<char>(byte));
    }
    for (TokenId id = 0; id < std::min(tokenizer.vocab_size(), 64); ++id) {
        text += tokenizer.token_bytes(id);
    }
    return text;
}

/// Whether each byte has a token: then every text comes back.
bool has_all_bytes(const Tokenizer& tokenizer) {
    for (int byte = 0; byte < 256; ++byte) {
        const std::string one(1, static_cast<char>(byte));
        if (tokenizer.decode(*tokenizer.encode(one)) != one) return false;
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto file = formats::GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    if (!file) return 0;
    const auto loaded = Tokenizer::from_gguf(**file);
    if (!loaded) {
        HEARTH_ASSERT(!loaded.error().text.empty());
        return 0;
    }
    const Tokenizer& tokenizer = **loaded;
    for (const TokenId id : tokenizer.end_tokens()) {
        HEARTH_ASSERT(id >= 0 && id < tokenizer.vocab_size());
    }
    const std::string text = make_text(tokenizer);
    if (!tokenizer.encode("")) return 0;  // a pre-tokenizer that is not known
    const bool is_lossless = has_all_bytes(tokenizer);
    for (const bool parses_special : {false, true}) {
        const auto tokens = tokenizer.encode(text, {.parses_special = parses_special});
        HEARTH_ASSERT(tokens.has_value());
        tokenizer::StreamDecoder decoder(tokenizer);
        for (const TokenId token : *tokens) {
            HEARTH_ASSERT(token >= 0 && token < tokenizer.vocab_size());
            HEARTH_ASSERT(fuzz::is_utf8(decoder.feed(token)));
        }
        HEARTH_ASSERT(fuzz::is_utf8(decoder.finish()));
        if (is_lossless) HEARTH_ASSERT(tokenizer.decode(*tokens) == text);
    }
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    const test::TinyVocabulary whole = test::make_tiny_vocabulary();
    test::TinyVocabulary small;
    small.tokens = {"a", "b", "c", "\xC4\xA0", "ab", "abc", "<|end|>", "[x]", "word"};
    small.types = {1, 1, 1, 1, 1, 1, 3, 4, 4};
    small.merges = {"a b", "ab c"};
    std::vector<std::string> seeds;
    formats::GgufWriter writer;
    test::add_tokenizer(writer, whole, "qwen2");
    seeds.push_back(to_text(writer.to_bytes()));
    for (const char* const pre_tokenizer : {"qwen2", "gpt-2", "deepseek-coder"}) {
        formats::GgufWriter little;
        little.add_string("tokenizer.ggml.model", "gpt2");
        little.add_string("tokenizer.ggml.pre", pre_tokenizer);
        little.add_strings("tokenizer.ggml.tokens", small.tokens);
        little.add_i32s("tokenizer.ggml.token_type", small.types);
        little.add_strings("tokenizer.ggml.merges", small.merges);
        little.add_u32("tokenizer.ggml.eos_token_id", 6);
        little.add_u32("tokenizer.ggml.fim_pre_token_id", 7);
        seeds.push_back(to_text(little.to_bytes()));
    }
    return seeds;
}

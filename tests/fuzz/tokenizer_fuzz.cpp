// Any text through the tokenizer: encode and decode give it back, nothing of it becomes a special
// token unless that was asked for, and what a stream shows is whole characters that join to the
// same.
#include <array>

#include "core/tokenizer/stream_decoder.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/utf8_check.h"
#include "tests/support/tiny_vocabulary.h"

namespace {

using namespace hearth;
using tokenizer::TokenId;
using tokenizer::Tokenizer;

constexpr std::array<const char*, 3> kPreTokenizers = {"qwen2", "gpt-2", "deepseek-coder"};

std::shared_ptr<const Tokenizer> make_tokenizer(const char* pre_tokenizer) {
    formats::GgufWriter writer;
    test::add_tokenizer(writer, test::make_tiny_vocabulary(), pre_tokenizer);
    const auto bytes = writer.to_bytes();
    const auto file = formats::GgufFile::parse(bytes, "tiny.gguf");
    return Tokenizer::from_gguf(*file.value()).value();
}

/// What a reader of the stream has seen at its end.
std::string stream(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
    tokenizer::StreamDecoder decoder(tokenizer);
    std::string seen;
    for (const TokenId token : tokens) {
        const std::string piece = decoder.feed(token);
        HEARTH_ASSERT(fuzz::is_utf8(piece));
        seen += piece;
    }
    return seen + decoder.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::array<std::shared_ptr<const Tokenizer>, 3> kTokenizers = {
        make_tokenizer(kPreTokenizers[0]),
        make_tokenizer(kPreTokenizers[1]),
        make_tokenizer(kPreTokenizers[2])};
    fuzz::Input input(fuzz::to_text(data, size));
    const std::uint8_t choice = input.byte();
    const Tokenizer& tokenizer = *kTokenizers[choice % kTokenizers.size()];
    const bool parses_special = choice >= 0x80;
    const std::string_view text = input.rest();

    const auto tokens = tokenizer.encode(text, {.parses_special = parses_special});
    HEARTH_ASSERT(tokens.has_value());
    HEARTH_ASSERT(tokenizer.decode(*tokens) == text);
    bool has_special = false;
    for (const TokenId token : *tokens) {
        HEARTH_ASSERT(token >= 0 && token < tokenizer.vocab_size());
        has_special = has_special || tokenizer.is_special(token);
    }
    HEARTH_ASSERT(parses_special || !has_special);

    const std::string seen = stream(tokenizer, *tokens);
    HEARTH_ASSERT(fuzz::is_utf8(seen));
    if (fuzz::is_utf8(text) && !has_special) HEARTH_ASSERT(seen == text);
    return 0;
}

std::vector<std::string> fuzz::seeds() {
    std::vector<std::string> seeds;
    const std::vector<std::string> texts = {
        "int main() {\n    return 0;\n}\n",
        "def f(x):\r\n\tif x == 1234567: pass  # don't\n\n\n",
        "na\xC3\xAFve \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\xA6\x8A \xE2\x80\xA8 e\xCC\x81",
        "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|><|endoftext|><|not one|>",
        "\xFF\xC3(\xE4\xB8 \xF0\x9F\xA6",
    };
    for (std::size_t i = 0; i < texts.size(); ++i) {
        seeds.push_back(static_cast<char>(i % kPreTokenizers.size()) + texts[i]);
        seeds.push_back(static_cast<char>(0x81 + i) + texts[i]);
    }
    return seeds;
}

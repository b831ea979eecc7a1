#include "tests/support/tiny_vocabulary.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace hearth::test {
namespace {

/// GPT-2's letter for each byte: printable bytes stand for themselves, the others for U+0100 on.
std::vector<std::string> byte_letters() {
    const auto is_plain = [](int byte) {
        return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    };
    std::vector<std::string> letters;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
        const int code = is_plain(byte) ? byte : next++;
        std::string letter;
        if (code < 0x80) {
            letter = static_cast<char>(code);
        } else {
            letter += static_cast<char>(0xC0 | (code >> 6));
            letter += static_cast<char>(0x80 | (code & 0x3F));
        }
        letters.push_back(letter);
    }
    return letters;
}

/// Each pair is merged in this order.
constexpr std::array<std::pair<const char*, const char*>, 36> kMerges = {{
    {" ", " "},   {"  ", "  "},  {"i", "n"},  {"r", "e"},    {"e", "r"},     {"o", "n"},
    {" ", "="},   {"t", "u"},    {"tu", "r"}, {"re", "tur"}, {"retur", "n"}, {"i", "f"},
    {"o", "r"},   {"f", "or"},   {"in", "t"}, {"l", "e"},    {"s", "e"},     {"e", "l"},
    {"el", "se"}, {"d", "e"},    {"de", "f"}, {"(", ")"},    {"a", "n"},     {"c", "on"},
    {"s", "t"},   {"con", "st"}, {"v", "o"},  {"i", "d"},    {"vo", "id"},   {"u", "t"},
    {"a", "t"},   {"u", "n"},    {"c", "h"},  {"a", "r"},    {"ch", "ar"},   {"=", "="},
}};

constexpr std::array<const char*, 12> kSpecials = {"<|endoftext|>",
                                                   "<|fim_prefix|>",
                                                   "<|fim_middle|>",
                                                   "<|fim_suffix|>",
                                                   "<|fim_pad|>",
                                                   "<|repo_name|>",
                                                   "<|file_sep|>",
                                                   "<|explain|>",
                                                   "<|fix|>",
                                                   "<|bug|>",
                                                   "<|im_start|>",
                                                   "<|im_end|>"};

std::uint32_t id_of(const TinyVocabulary& vocabulary, const std::string& token) {
    const auto found = std::ranges::find(vocabulary.tokens, token);
    if (found == vocabulary.tokens.end()) throw std::logic_error("no token " + token);
    return static_cast<std::uint32_t>(found - vocabulary.tokens.begin());
}

}  // namespace

TinyVocabulary make_tiny_vocabulary() {
    const auto letters = byte_letters();
    const auto spell = [&letters](std::string_view text) {
        std::string spelled;
        for (const char c : text) {
            spelled += letters[static_cast<unsigned char>(c)];
        }
        return spelled;
    };
    TinyVocabulary vocabulary;
    const auto add = [&vocabulary](std::string token, std::int32_t type, bool is_printable) {
        vocabulary.tokens.push_back(std::move(token));
        vocabulary.types.push_back(type);
        vocabulary.is_printable.push_back(is_printable);
    };
    for (int byte = 0; byte < 256; ++byte) {
        add(letters[static_cast<std::size_t>(byte)],
            1,
            byte == '\n' || (byte >= 0x20 && byte < 0x7F));
    }
    for (const auto& [left, right] : kMerges) {
        add(spell(std::string(left) + right), 1, true);
        vocabulary.merges.push_back(spell(left) + " " + spell(right));
    }
    for (const char* special : kSpecials) {
        add(special, 3, false);
    }
    return vocabulary;
}

void add_tokenizer(formats::GgufWriter& writer,
                   const TinyVocabulary& vocabulary,
                   const std::string& pre_tokenizer) {
    writer.add_string("tokenizer.ggml.model", "gpt2");
    writer.add_string("tokenizer.ggml.pre", pre_tokenizer);
    writer.add_strings("tokenizer.ggml.tokens", vocabulary.tokens);
    writer.add_i32s("tokenizer.ggml.token_type", vocabulary.types);
    writer.add_strings("tokenizer.ggml.merges", vocabulary.merges);
    writer.add_bool("tokenizer.ggml.add_bos_token", false);
    const std::array<std::pair<const char*, const char*>, 7> roles = {{
        {"eos", "<|endoftext|>"},
        {"fim_pre", "<|fim_prefix|>"},
        {"fim_mid", "<|fim_middle|>"},
        {"fim_suf", "<|fim_suffix|>"},
        {"fim_pad", "<|fim_pad|>"},
        {"fim_rep", "<|repo_name|>"},
        {"fim_sep", "<|file_sep|>"},
    }};
    for (const auto& [role, token] : roles) {
        writer.add_u32(std::string("tokenizer.ggml.") + role + "_token_id",
                       id_of(vocabulary, token));
    }
}

}  // namespace hearth::test

// A byte-level vocabulary that fits on a page, as GGUF metadata.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/formats/gguf_writer.h"
#include "core/tokenizer/byte_text.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::tokenizer {

/// Starts with the 256 bytes in order; `add` appends, merges must join what is there.
struct SmallVocabulary {
    static constexpr int kNormal = 1;
    static constexpr int kControl = 3;
    static constexpr int kUserDefined = 4;

    std::vector<std::string> texts;
    std::vector<std::int32_t> kinds;
    std::vector<std::string> merges;
    std::string pre = "qwen2";
    std::string model = "gpt2";
    std::vector<std::pair<std::string, std::uint32_t>> ids;  ///< further keys, without their start

    SmallVocabulary() {
        for (int byte = 0; byte < 256; ++byte) {
            add(to_byte_text(std::string(1, static_cast<char>(byte))), kNormal);
        }
    }

    TokenId add(std::string text, int kind) {
        texts.push_back(std::move(text));
        kinds.push_back(kind);
        return static_cast<TokenId>(texts.size() - 1);
    }
    TokenId add_merge(const std::string& left, const std::string& right) {
        merges.push_back(left + " " + right);
        return add(left + right, kNormal);
    }

    [[nodiscard]] std::vector<std::byte> to_bytes() const {
        formats::GgufWriter writer;
        writer.add_string("tokenizer.ggml.model", model);
        if (!pre.empty()) writer.add_string("tokenizer.ggml.pre", pre);
        writer.add_strings("tokenizer.ggml.tokens", texts);
        if (!kinds.empty()) writer.add_i32s("tokenizer.ggml.token_type", kinds);
        writer.add_strings("tokenizer.ggml.merges", merges);
        for (const auto& [key, id] : ids) {
            writer.add_u32("tokenizer.ggml." + key, id);
        }
        return writer.to_bytes();
    }

    [[nodiscard]] Result<std::shared_ptr<const Tokenizer>> load() const {
        const std::vector<std::byte> bytes = to_bytes();
        HEARTH_TRY(const auto file, formats::GgufFile::parse(bytes, "small.gguf"));
        return Tokenizer::from_gguf(*file);  // which keeps nothing of the file
    }
};

}  // namespace hearth::tokenizer

// A tokenizer whose vocabulary a test chooses.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace hearth::test {

/// Bytes, words of the test's own, and one special token. Text is cut into the longest tokens, from
/// the left.
class WordTokenizer : public tokenizer::Tokenizer {
  public:
    explicit WordTokenizer(const std::vector<std::string>& words) {
        for (int byte = 0; byte < 256; ++byte) {
            tokens_.push_back(std::string(1, static_cast<char>(byte)));
        }
        tokens_.emplace_back("<|end|>");
        tokens_.insert(tokens_.end(), words.begin(), words.end());
    }

    [[nodiscard]] Result<std::vector<tokenizer::TokenId>> encode(
        std::string_view text, tokenizer::EncodeOptions /*options*/ = {}) const override {
        std::vector<tokenizer::TokenId> ids;
        while (!text.empty()) {
            tokenizer::TokenId best = static_cast<unsigned char>(text.front());
            for (tokenizer::TokenId id = kEnd + 1; id < vocab_size(); ++id) {
                const std::string_view word = token_bytes(id);
                if (text.starts_with(word) && word.size() > token_bytes(best).size()) best = id;
            }
            ids.push_back(best);
            text.remove_prefix(token_bytes(best).size());
        }
        return ids;
    }
    [[nodiscard]] std::string_view token_bytes(tokenizer::TokenId id) const override {
        return tokens_.at(static_cast<std::size_t>(id));
    }
    [[nodiscard]] std::int32_t vocab_size() const override {
        return static_cast<std::int32_t>(tokens_.size());
    }
    [[nodiscard]] std::optional<tokenizer::TokenId> find(std::string_view text) const override {
        const auto found = std::ranges::find(tokens_, text);
        if (found == tokens_.end()) return std::nullopt;
        return static_cast<tokenizer::TokenId>(found - tokens_.begin());
    }
    [[nodiscard]] bool is_special(tokenizer::TokenId id) const override { return id == kEnd; }
    [[nodiscard]] std::span<const tokenizer::TokenId> end_tokens() const override { return ends_; }
    [[nodiscard]] const tokenizer::SpecialTokens& special() const override { return special_; }
    [[nodiscard]] std::string_view pre_tokenizer() const override { return "words"; }

    static constexpr tokenizer::TokenId kEnd = 256;

  private:
    std::vector<std::string> tokens_;
    tokenizer::SpecialTokens special_;
    const std::array<tokenizer::TokenId, 1> ends_ = {kEnd};
};

}  // namespace hearth::test

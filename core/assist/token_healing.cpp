#include "core/assist/token_healing.h"

#include <algorithm>

#include "core/assist/prompt_window.h"

namespace hearth::assist {

using tokenizer::TokenId;

/// Its mask holds the tokens that the rest of the text begins with, and those that begin with it.
class TokenHealing::Guide final : public engine::TokenGuide {
  public:
    Guide(const TokenHealing& healing, std::string text)
        : healing_(healing),
          text_(std::move(text)) {
        fill_mask();
    }

    [[nodiscard]] bool is_active() const override { return !mask_.empty(); }
    [[nodiscard]] std::span<const std::uint32_t> allowed() const override { return mask_; }
    void accept(TokenId token) override {
        const std::size_t size = healing_.tokenizer_.token_bytes(token).size();
        text_.erase(0, std::min(size, text_.size()));
        fill_mask();
    }

  private:
    void fill_mask() {
        mask_.clear();
        if (text_.empty()) return;
        mask_.resize(
            static_cast<std::size_t>(compute::mask_words(healing_.tokenizer_.vocab_size())));
        const std::string_view text = text_;
        for (const TokenId token : healing_.order_.starting_with(text)) {
            compute::allow(mask_.data(), token);
        }
        for (std::size_t size = 1; size < text.size(); ++size) {
            for (const TokenId token : healing_.order_.starting_with(text.substr(0, size))) {
                if (healing_.tokenizer_.token_bytes(token).size() != size) break;
                compute::allow(mask_.data(), token);
            }
        }
        // A vocabulary without this byte: the answer goes as it goes.
        if (std::ranges::count(mask_, 0U) == std::ssize(mask_)) mask_.clear();
    }

    const TokenHealing& healing_;
    std::string text_;  ///< what is still to come
    std::vector<std::uint32_t> mask_;
};

std::string TokenHealing::cut(std::vector<TokenId>& prefix) const {
    std::string text;
    std::string healed;
    std::size_t count = 0;
    for (std::size_t i = 1; i <= std::min(kTokensMax, prefix.size()); ++i) {
        const TokenId token = prefix[prefix.size() - i];
        text.insert(0, tokenizer_.token_bytes(token));
        if (tokenizer_.is_special(token) || text.find('\n') != std::string::npos) break;
        const auto longer = order_.starting_with(text);
        const bool is_open =
            !longer.empty() && tokenizer_.token_bytes(longer.back()).size() > text.size();
        if (!is_open || next_character_start(text, 0) != 0) continue;
        count = i;
        healed = text;
    }
    prefix.resize(prefix.size() - count);
    return healed;
}

std::shared_ptr<engine::TokenGuide> TokenHealing::guide(std::string text) const {
    if (text.empty()) return nullptr;
    return std::make_shared<Guide>(*this, std::move(text));
}

}  // namespace hearth::assist

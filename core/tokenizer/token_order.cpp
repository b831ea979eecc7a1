#include "core/tokenizer/token_order.h"

#include <algorithm>
#include <utility>

namespace hearth::tokenizer {

TokenOrder::TokenOrder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
        if (!tokenizer.is_special(token) && !tokenizer.token_bytes(token).empty()) {
            tokens_.push_back(token);
        }
    }
    std::ranges::sort(
        tokens_, {}, [&](TokenId token) { return std::pair(tokenizer.token_bytes(token), token); });
}

std::span<const TokenId> TokenOrder::starting_with(std::string_view text) const {
    const auto head = [&](TokenId token) {
        return tokenizer_.token_bytes(token).substr(0, text.size());
    };
    return {std::ranges::lower_bound(tokens_, text, {}, head),
            std::ranges::upper_bound(tokens_, text, {}, head)};
}

}  // namespace hearth::tokenizer

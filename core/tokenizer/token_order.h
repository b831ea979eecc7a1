// TokenOrder: all tokens of ordinary text by their bytes, so that those with one beginning stand
// together.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace hearth::tokenizer {

/// Thread: any; fixed after construction. The tokenizer outlives it.
class TokenOrder {
  public:
    explicit TokenOrder(const Tokenizer& tokenizer);

    [[nodiscard]] std::span<const TokenId> tokens() const { return tokens_; }
    /// Those that begin with `text`, the shortest first.
    [[nodiscard]] std::span<const TokenId> starting_with(std::string_view text) const;

  private:
    const Tokenizer& tokenizer_;
    std::vector<TokenId> tokens_;
};

}  // namespace hearth::tokenizer

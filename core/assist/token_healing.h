// Token healing. The last tokens of a text that ends at a cursor are those of a text that ends
// there: "getEl" is cut otherwise than "getElement", and what a model knows of the word hangs on
// the latter's tokens. So the prompt leaves the tokens out that may become others, and the answer
// has to begin with their bytes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/request.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::assist {

/// Thread: any; fixed after construction. The tokenizer outlives it and its guides.
class TokenHealing {
  public:
    explicit TokenHealing(const tokenizer::Tokenizer& tokenizer);

    /// Takes tokens from the end of `prefix` that may be the beginning of a longer one, at most
    /// kTokensMax and none from another line, and returns their bytes: whole characters.
    [[nodiscard]] std::string cut(std::vector<tokenizer::TokenId>& prefix) const;

    /// Lets an answer begin with `text` alone, cut into tokens as the model likes best; null where
    /// `text` is empty.
    [[nodiscard]] std::shared_ptr<engine::TokenGuide> guide(std::string text) const;

    static constexpr std::size_t kTokensMax = 4;

  private:
    class Guide;

    /// Those of `sorted_` that begin with `text`.
    [[nodiscard]] std::span<const tokenizer::TokenId> starting_with(std::string_view text) const;

    const tokenizer::Tokenizer& tokenizer_;
    std::vector<tokenizer::TokenId> sorted_;  ///< all tokens of ordinary text, by their bytes
};

}  // namespace hearth::assist

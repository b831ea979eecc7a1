// Token healing. The last tokens of a text that ends at a cursor are those of a text that ends
// there: "getEl" is cut otherwise than "getElement", and what a model knows of the word hangs on
// the latter's tokens. So the prompt leaves the tokens out that may become others, and the answer
// has to begin with their bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/request.h"
#include "core/tokenizer/token_order.h"

namespace hearth::assist {

/// Thread: any; fixed after construction. The tokenizer outlives it and its guides.
class TokenHealing {
  public:
    explicit TokenHealing(const tokenizer::Tokenizer& tokenizer)
        : tokenizer_(tokenizer),
          order_(tokenizer) {}

    /// Takes tokens from the end of `prefix` that may be the beginning of a longer one, at most
    /// kTokensMax and none from another line, and returns their bytes: whole characters.
    [[nodiscard]] std::string cut(std::vector<tokenizer::TokenId>& prefix) const;

    /// Lets an answer begin with `text` alone, cut into tokens as the model likes best; null where
    /// `text` is empty.
    [[nodiscard]] std::shared_ptr<engine::TokenGuide> guide(std::string text) const;

    static constexpr std::size_t kTokensMax = 4;

  private:
    class Guide;

    const tokenizer::Tokenizer& tokenizer_;
    const tokenizer::TokenOrder order_;
};

}  // namespace hearth::assist

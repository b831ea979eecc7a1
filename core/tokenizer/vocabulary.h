// The tokens of a file with their kinds. Private to core/tokenizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/result.h"
#include "core/formats/gguf.h"
#include "core/tokenizer/tokenizer.h"

namespace hearth::tokenizer {

/// Kinds of tokens, numbered as in `tokenizer.ggml.token_type`.
enum class TokenKind : std::uint8_t {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6,
};

struct Vocabulary {
    std::vector<std::string> bytes;  ///< by id; the name of a token that is not byte text
    std::vector<TokenKind> kinds;    ///< by id
    bool has_kinds = false;          ///< false: the file says none, all are normal
    /// By bytes; of equals a token that is not normal wins, then the lower id. Borrows from
    /// `bytes`.
    std::unordered_map<std::string_view, TokenId> ids;

    [[nodiscard]] bool holds(std::int64_t id) const {
        return id >= 0 && static_cast<std::size_t>(id) < bytes.size();
    }
    [[nodiscard]] std::optional<TokenId> find(std::string_view text) const {
        const auto found = ids.find(text);
        return found == ids.end() ? std::nullopt : std::optional(found->second);
    }
};

}  // namespace hearth::tokenizer

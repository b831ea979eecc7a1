// Merges the bytes of one piece into tokens by ranked rules. Private to core/tokenizer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace hearth::tokenizer {

inline constexpr TokenId kNoToken = -1;

/// `left` next to `right` becomes `merged`; a rule's rank is its place in the list.
struct MergeRule {
    TokenId left;
    TokenId right;
    TokenId merged;
};

/// Thread: any; immutable.
class Bpe {
  public:
    /// `byte_tokens` gives the token of each byte, kNoToken where the vocabulary has none: such a
    /// byte is encoded as U+FFFD.
    Bpe(const std::array<TokenId, 256>& byte_tokens, std::span<const MergeRule> rules);

    /// Appends the tokens of `piece`: while any rule applies, the one of lowest rank is applied at
    /// its leftmost place. Takes O(n log n) time for n bytes.
    void encode(std::string_view piece, std::vector<TokenId>& tokens) const;

  private:
    struct Slot {
        std::uint64_t pair = kEmpty;
        std::uint32_t rank = kNoRank;
        TokenId merged = kNoToken;
    };
    static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
    static constexpr std::uint32_t kNoRank = ~std::uint32_t{0};
    static const Slot kNoSlot;

    [[nodiscard]] const Slot& find(TokenId left, TokenId right) const;
    [[nodiscard]] std::size_t first_slot(std::uint64_t pair) const;
    void merge_short(std::span<TokenId> symbols, std::vector<TokenId>& tokens) const;
    void merge_long(std::span<TokenId> symbols, std::vector<TokenId>& tokens) const;

    std::array<TokenId, 256> byte_tokens_;
    std::vector<TokenId> replacement_;  ///< the byte tokens of U+FFFD
    std::vector<Slot> slots_;           ///< a power of two, at most half full
};

}  // namespace hearth::tokenizer

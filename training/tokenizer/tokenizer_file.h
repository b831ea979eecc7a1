// The tokenizer that the corpus gave: byte letters, merges in order, special tokens. A plain text
// file, described in training/README.md, that Python and C++ read in a few lines.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace hearth::training {

using TokenId = std::uint16_t;

/// Merge i joins two tokens that exist before it. Ids: 0-255 are the bytes, then each merge whose
/// text is new gets the next id, then the special tokens follow.
class TokenizerFile {
  public:
    using Merge = std::pair<TokenId, TokenId>;

    /// Errors: invalid_argument (a merge of a token that does not exist yet, more than 65536 ids).
    static Result<TokenizerFile> make(std::string pre_tokenizer,
                                      const std::vector<Merge>& merges,
                                      std::vector<std::string> special_names);
    /// Errors: not_found, corrupt (line named).
    static Result<TokenizerFile> load(const std::string& path);
    static Result<TokenizerFile> parse(std::istream& stream);
    void write(std::ostream& stream) const;

    [[nodiscard]] const std::string& pre_tokenizer() const { return pre_tokenizer_; }
    [[nodiscard]] std::size_t vocab_size() const { return ordinary_.size() + specials_.size(); }
    [[nodiscard]] std::size_t special_count() const { return specials_.size(); }
    [[nodiscard]] bool is_special(TokenId id) const { return id >= ordinary_.size(); }
    /// The bytes of an ordinary token, the name of a special one.
    [[nodiscard]] const std::string& token_bytes(TokenId id) const;
    [[nodiscard]] std::optional<TokenId> find_special(std::string_view name) const;
    [[nodiscard]] const std::vector<Merge>& merges() const { return merges_; }
    /// The id that merge `index` makes.
    [[nodiscard]] TokenId merged_id(std::size_t index) const { return merged_ids_[index]; }

    /// As GGUF stores them (`tokenizer.ggml.tokens`, `.merges`): bytes as printable letters.
    [[nodiscard]] std::vector<std::string> gguf_tokens() const;
    [[nodiscard]] std::vector<std::string> gguf_merges() const;

  private:
    std::string pre_tokenizer_;
    std::vector<std::string> ordinary_;
    std::vector<std::string> specials_;
    std::vector<Merge> merges_;
    std::vector<TokenId> merged_ids_;
};

/// The field's printable alphabet for bytes: visible Latin-1 stands for itself, the others follow
/// from U+0100 on.
std::string to_byte_letters(std::string_view bytes);

/// The special tokens of hearth's own models, 64 in all, in id order.
std::vector<std::string> hearth_special_names();

}  // namespace hearth::training

// Text to token ids with a TokenizerFile; words seen before come from a cache, so that encoding a
// corpus is a hash lookup per word.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "training/tokenizer/bpe_trainer.h"
#include "training/tokenizer/tokenizer_file.h"

namespace hearth::training {

/// Thread: one at a time (the cache grows).
class Encoder {
  public:
    /// `file` outlives the encoder.
    explicit Encoder(const TokenizerFile& file);

    /// Appends the tokens of `text`; special tokens in the text are ordinary text.
    void encode(std::string_view text, std::vector<TokenId>& tokens);
    std::vector<TokenId> encode(std::string_view text);

    [[nodiscard]] const TokenizerFile& file() const { return *file_; }

  private:
    std::vector<TokenId> merge_word(std::string_view word) const;

    const TokenizerFile* file_;
    std::vector<std::string_view> words_;  // of the text that is being encoded
    std::unordered_map<std::uint32_t, std::uint32_t> rank_of_pair_;
    std::unordered_map<std::string, std::vector<TokenId>, StringHash, std::equal_to<>> cache_;
};

}  // namespace hearth::training

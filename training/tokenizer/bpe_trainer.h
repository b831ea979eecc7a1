// Learns byte-level BPE merges from word counts: again and again the most frequent pair of
// neighbours becomes one token. Only the pairs that a merge touches are counted anew.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "training/tokenizer/tokenizer_file.h"

namespace hearth::training {

struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
        return std::hash<std::string_view>{}(text);
    }
};

/// How often each pre-token occurs.
using WordCounts = std::unordered_map<std::string, std::uint32_t, StringHash, std::equal_to<>>;

/// Adds the pre-tokens of `text` (qwen2 rules).
void count_words(std::string_view text, WordCounts& counts);

/// The merges that make `vocab_size` ordinary tokens (bytes included), fewer if no pair is left
/// that occurs twice. Ties go to the pair with the smaller ids, so equal counts give equal merges.
std::vector<TokenizerFile::Merge> train_merges(const WordCounts& counts, std::size_t vocab_size);

}  // namespace hearth::training

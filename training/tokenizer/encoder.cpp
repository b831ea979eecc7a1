#include "training/tokenizer/encoder.h"

#include "core/tokenizer/pre_tokenizer.h"

namespace hearth::training {
namespace {

constexpr std::uint32_t kNoRank = UINT32_MAX;
constexpr std::size_t kCachedWordBytesMax = 64;

std::uint32_t pair_key(TokenId left, TokenId right) {
    return (static_cast<std::uint32_t>(left) << 16U) | right;
}

}  // namespace

Encoder::Encoder(const TokenizerFile& file) : file_(&file) {
    for (std::size_t i = 0; i < file.merges().size(); ++i) {
        const auto& [left, right] = file.merges()[i];
        rank_of_pair_.try_emplace(pair_key(left, right), static_cast<std::uint32_t>(i));
    }
}

void Encoder::encode(std::string_view text, std::vector<TokenId>& tokens) {
    tokenizer::split(text, tokenizer::PreTokenizer::qwen2, words_);
    for (const std::string_view word : words_) {
        if (word.size() > kCachedWordBytesMax) {
            const std::vector<TokenId> merged = merge_word(word);
            tokens.insert(tokens.end(), merged.begin(), merged.end());
            continue;
        }
        auto found = cache_.find(word);
        if (found == cache_.end()) {
            found = cache_.emplace(word, merge_word(word)).first;
        }
        tokens.insert(tokens.end(), found->second.begin(), found->second.end());
    }
}

std::vector<TokenId> Encoder::encode(std::string_view text) {
    std::vector<TokenId> tokens;
    encode(text, tokens);
    return tokens;
}

std::vector<TokenId> Encoder::merge_word(std::string_view word) const {
    std::vector<TokenId> tokens;
    for (const char byte : word) {
        tokens.push_back(static_cast<unsigned char>(byte));
    }
    while (tokens.size() > 1) {
        std::uint32_t best = kNoRank;
        std::size_t place = 0;
        for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
            const auto found = rank_of_pair_.find(pair_key(tokens[i], tokens[i + 1]));
            if (found != rank_of_pair_.end() && found->second < best) {
                best = found->second;
                place = i;
            }
        }
        if (best == kNoRank) break;
        tokens[place] = file_->merged_id(best);
        tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
    return tokens;
}

}  // namespace hearth::training
